/** Many seeds at once, on worker threads. */
import { runSeeds as runOnThreads, type SeedRange } from "@warren/std/testing";

import type { Plan, SimulationReport } from "../../src/testing/index.ts";

/** What is left of a seed's report when it crossed threads. */
export interface SeedResult {
  readonly seed: number;
  readonly hash: number;
  readonly events: number;
  readonly committed: number;
  readonly operations: number;
  /** Whether the checker of linearizability came to a verdict. */
  readonly judged: boolean;
  /** With members of two programs: which of them led, and how often the old one was refused. */
  readonly led: SimulationReport["led"];
  readonly oldProgramsRefused: number;
  /** How often the power failed, by the kind of point. */
  readonly powerCuts: SimulationReport["powerCuts"];
  /** What was broken; undefined if nothing was. */
  readonly violation: string | undefined;
}

/** Runs very many seeds, and hands each result on as it comes. `plan` changes what they decide. */
export function runSeeds(
  { plan = {}, ...range }: SeedRange & { readonly plan?: Partial<Plan> },
  each: (result: SeedResult) => void,
): Promise<void> {
  return runOnThreads(new URL("seed-worker.ts", import.meta.url), range, { plan }, (result) =>
    each(result as SeedResult),
  );
}

/** How a seed is run again. */
export function replayCommand(seed: number): string {
  return `tools/pnpm --filter @warren/raft simulate --seed ${seed} --trace`;
}
