import { parentPort, Worker, workerData } from "node:worker_threads";

export interface SeedRange {
  readonly from: number;
  readonly count: number;
  /** Threads that share the seeds. */
  readonly workers: number;
}

interface Share {
  readonly first: number;
  readonly end: number;
  readonly step: number;
  readonly options: object;
}

/**
 * Seeds that one thread runs before another takes its place. A process that a simulation kills lets go of nothing, so that a
 * thread's memory grows with each of them.
 */
const seedsOfAThread = 500;

/**
 * Runs seeds `from … from + count − 1` on threads, and hands each result on as it comes.
 *
 * @param script a thread's program, which calls `serveSeeds` with a function from a seed and `options` to a result
 * @throws what a thread ends with
 */
export async function runSeeds(
  script: URL,
  { from, count, workers }: SeedRange,
  options: object,
  each: (result: unknown) => void,
): Promise<void> {
  const end = from + count;
  const run = (first: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const share: Share = { first, end: Math.min(end, first + seedsOfAThread * workers), step: workers, options };
      const worker = new Worker(script, { workerData: share, execArgv: ["--conditions=warren-source"] });
      worker.on("message", each);
      worker.on("error", reject);
      worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
    });
  const runAll = async (first: number): Promise<void> => {
    for (let next = first; next < end; next += seedsOfAThread * workers) await run(next);
  };
  await Promise.all(Array.from({ length: Math.min(workers, count) }, (_, at) => runAll(from + at)));
}

/** A thread of `runSeeds`: its share of the seeds, one after the other. */
export async function serveSeeds(run: (seed: number, options: never) => Promise<unknown>): Promise<void> {
  const { first, end, step, options } = workerData as Share;
  for (let seed = first; seed < end; seed += step) {
    const result = await run(seed, options as never);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
    parentPort?.postMessage(result);
  }
}
