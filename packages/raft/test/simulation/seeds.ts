/** Many seeds at once, on worker threads. */
import { Worker } from "node:worker_threads";

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

export interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly workers: number;
  /** Changes what the seeds decide. */
  readonly plan?: Partial<Plan>;
}

/** Runs seeds `from … from + count − 1` and hands each result on as it comes. */
export async function runSeeds(
  { from, count, workers, plan = {} }: SeedRange,
  each: (result: SeedResult) => void,
): Promise<void> {
  const run = (first: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const seeds = { first, end: from + count, step: workers, plan };
      const worker = new Worker(new URL("seed-worker.ts", import.meta.url), {
        workerData: seeds,
        execArgv: ["--conditions=warren-source"],
      });
      worker.on("message", each);
      worker.on("error", reject);
      worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
    });
  await Promise.all(Array.from({ length: Math.min(workers, count) }, (_, at) => run(from + at)));
}

/** How a seed is run again. */
export function replayCommand(seed: number): string {
  return `tools/pnpm --filter @warren/raft simulate --seed ${seed} --trace`;
}
