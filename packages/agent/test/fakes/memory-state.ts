import type { Random } from "@warren/std";
import type { AgentState, StateChange } from "../../src/index.ts";

/** A disk that outlives processes. A write of a killed one is there as a whole or not at all. */
export class MemoryDisk {
  readonly entries: Map<string, Uint8Array> = new Map();
  /** Writes that fail, as on a full disk. */
  failures = 0;
  writes = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  open(killed: AbortSignal = new AbortController().signal): AgentState {
    return {
      load: () => Promise.resolve(new Map(this.entries)),
      write: async (changes) => {
        await new Promise((resolve) => setImmediate(resolve));
        if (killed.aborted && this.#random.int(2) === 0) return;
        if (this.failures > 0) {
          this.failures -= 1;
          throw new Error("ENOSPC: no space left on device");
        }
        this.writes += 1;
        this.#apply(changes);
      },
      close: () => Promise.resolve(),
    };
  }

  #apply(changes: readonly StateChange[]): void {
    for (const { key, value } of changes)
      if (value === undefined) this.entries.delete(key);
      else this.entries.set(key, Uint8Array.from(value));
  }
}
