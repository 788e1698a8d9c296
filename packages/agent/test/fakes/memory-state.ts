import type { Random } from "@warren/std";
import type { AgentState, StateChange } from "../../src/index.ts";

/** A disk that outlives processes. A write of a killed one is there as a whole or not at all. */
export class MemoryDisk {
  readonly entries: Map<string, Uint8Array> = new Map();
  /** Writes that fail, as on a full disk. */
  failures = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  open(killed: AbortSignal = new AbortController().signal): AgentState {
    return {
      load: () => Promise.resolve(new Map(this.entries)),
      write: async (changes) => {
        if (killed.aborted) return new Promise(() => undefined);
        const failing = this.failures > 0;
        if (failing) this.failures -= 1;
        // On disk some time before it is said to be; a killed process never hears of it.
        const early = !failing && this.#random.int(2) === 0;
        if (early) this.#apply(changes);
        await new Promise((resolve) => setImmediate(resolve));
        if (failing) throw new Error("ENOSPC: no space left on device");
        if (!early && !killed.aborted) this.#apply(changes);
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
