/** The state machine that simulated members run: a register a key. */
import type { Command, Result, StateMachine } from "../../node/index.ts";

/** What a client asks of a key. `put` answers with the value before, `append` with the value after, `cas` with yes or no. */
export type Action =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "append"; readonly key: string; readonly value: string }
  | { readonly kind: "cas"; readonly key: string; readonly expect: string; readonly value: string };

export function encodeAction(operation: number, action: Action): Uint8Array {
  return Buffer.from(JSON.stringify({ operation, ...action }));
}

export function decodeAction(data: Uint8Array): Action & { readonly operation: number } {
  return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as Action & {
    operation: number;
  };
}

/** Carries out an action on a state; its answer. */
export function perform(state: Map<string, string>, action: Action): string {
  const before = state.get(action.key) ?? "";
  switch (action.kind) {
    case "put":
      state.set(action.key, action.value);
      return before;
    case "append":
      state.set(action.key, before + action.value);
      return before + action.value;
    case "cas":
      if (before !== action.expect) return "no";
      state.set(action.key, action.value);
      return "yes";
  }
}

export function imageOf(state: ReadonlyMap<string, string>): string {
  return JSON.stringify([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export interface MachineObserver {
  applied(index: number, data: Uint8Array, result: string): void;
  restored(image: string): void;
}

export class RegisterMachine implements StateMachine {
  readonly state: Map<string, string> = new Map();
  private readonly observer: MachineObserver;
  /** How long an application takes; nothing: it is done at once. */
  private readonly pause: () => Promise<void> | undefined;

  constructor(observer: MachineObserver, pause: () => Promise<void> | undefined) {
    this.observer = observer;
    this.pause = pause;
  }

  apply(batch: readonly Command[]): readonly Result[] | Promise<readonly Result[]> {
    const pause = this.pause();
    return pause === undefined ? this.applyNow(batch) : pause.then(() => this.applyNow(batch));
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const image = Buffer.from(imageOf(this.state));
    return (async function* halves(): AsyncGenerator<Uint8Array, void, void> {
      yield image.subarray(0, image.length >> 1);
      yield image.subarray(image.length >> 1);
    })();
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const image = Buffer.concat(parts).toString();
    this.state.clear();
    for (const [key, value] of JSON.parse(image) as [string, string][]) this.state.set(key, value);
    this.observer.restored(image);
  }

  private applyNow(batch: readonly Command[]): readonly Result[] {
    return batch.map(({ index, data }) => {
      const result = perform(this.state, decodeAction(data));
      this.observer.applied(index, data, result);
      return Buffer.from(result);
    });
  }
}
