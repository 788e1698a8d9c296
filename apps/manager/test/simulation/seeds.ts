/** Many seeds at once, on worker threads. */
import { runSeeds as runOnThreads, type SeedRange } from "@warren/std/testing";
import type { SeedResult } from "./seed.ts";
import type { TroubleKind } from "./troubles.ts";

/** Runs very many seeds, and hands each result on as it comes. @param kinds of troubles; all where it is left out */
export function runSeeds(
  { kinds, ...range }: SeedRange & { readonly kinds?: readonly TroubleKind[] },
  each: (result: SeedResult) => void,
): Promise<void> {
  const options = kinds === undefined ? {} : { kinds };
  return runOnThreads(new URL("seed-worker.ts", import.meta.url), range, options, (result) =>
    each(result as SeedResult),
  );
}

/** How a seed is run again. */
export function replayCommand(seed: number): string {
  return `tools/soak cluster --seed ${seed}`;
}
