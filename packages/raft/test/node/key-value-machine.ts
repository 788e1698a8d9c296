import type { Command, StateMachine } from "../../src/index.ts";

/** `key=value`; answers with how often the key was written. */
export class KeyValueMachine implements StateMachine {
  state = new Map<string, string>();
  applications = new Map<string, number>();

  apply(batch: readonly Command[]): Uint8Array[] {
    return batch.map(({ data }) => {
      const [key = "", value = ""] = Buffer.from(data).toString().split("=");
      this.state.set(key, value);
      const count = (this.applications.get(key) ?? 0) + 1;
      this.applications.set(key, count);
      return Buffer.from(String(count));
    });
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const image = Buffer.from(JSON.stringify([[...this.state], [...this.applications]]));
    return (async function* chunks() {
      yield image;
    })();
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const [state, applications] = JSON.parse(Buffer.concat(parts).toString()) as [
      [string, string][],
      [string, number][],
    ];
    this.state = new Map(state);
    this.applications = new Map(applications);
  }
}

export const put = (key: string, value: string): Uint8Array => Buffer.from(`${key}=${value}`);
