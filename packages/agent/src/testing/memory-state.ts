import type { Random } from "@warren/std";
import type { AgentState, StateChange } from "../seams.ts";

/** A disk that outlives processes. A killed process's write is done whole or not at all. */
export class MemoryDisk {
  entries: Map<string, Uint8Array> = new Map();
  identity: { readonly nodeId: string; readonly opened: number } | undefined;
  /** Number of the next writes that fail, as on a full disk. */
  failures = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  open(killed: AbortSignal = new AbortController().signal): AgentState {
    const { identity } = this;
    return {
      nodeId: identity?.nodeId,
      opened: identity?.opened ?? 0,
      lost: undefined,
      identify: async (nodeId, opened) => {
        if (killed.aborted) return new Promise(() => undefined);
        await this.#turn();
        this.identity = { nodeId, opened };
      },
      load: () => Promise.resolve(new Map(this.entries)),
      write: async (changes) => {
        if (killed.aborted) return new Promise(() => undefined);
        // The write is done before or after the wait, so a killed process does not know whether it was.
        const early = this.failures === 0 && this.#random.int(2) === 0;
        if (early) this.#apply(changes);
        await this.#turn();
        if (!early && !killed.aborted) this.#apply(changes);
      },
      close: () => Promise.resolve(),
    };
  }

  /** A copy of the disk, for `setBack`. */
  image(): Pick<MemoryDisk, "entries" | "identity"> {
    return { entries: new Map(this.entries), identity: this.identity };
  }

  setBack({ entries, identity }: Pick<MemoryDisk, "entries" | "identity">): void {
    this.entries = new Map(entries);
    this.identity = identity;
  }

  async #turn(): Promise<void> {
    const failing = this.failures > 0;
    if (failing) this.failures -= 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (failing) throw new Error("ENOSPC: no space left on device");
  }

  #apply(changes: readonly StateChange[]): void {
    for (const { key, value } of changes)
      if (value === undefined) this.entries.delete(key);
      else this.entries.set(key, Uint8Array.from(value));
  }
}
