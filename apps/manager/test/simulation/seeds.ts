/** Many seeds at once, on worker threads. */
import { Worker } from "node:worker_threads";
import type { SeedResult } from "./seed.ts";
import type { TroubleKind } from "./troubles.ts";

export interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly workers: number;
  readonly kinds?: readonly TroubleKind[];
}

/** Runs seeds `from … from + count − 1` and hands each result on as it comes. */
export async function runSeeds(
  { from, count, workers, kinds }: SeedRange,
  each: (result: SeedResult) => void,
): Promise<void> {
  const run = (first: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("seed-worker.ts", import.meta.url), {
        workerData: { first, end: from + count, step: workers, kinds },
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
  return `tools/soak cluster --seed ${seed}`;
}
