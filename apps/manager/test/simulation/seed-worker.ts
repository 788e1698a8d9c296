import { parentPort, workerData } from "node:worker_threads";
import { runSeed } from "./seed.ts";
import type { TroubleKind } from "./troubles.ts";

const { first, end, step, kinds } = workerData as {
  first: number;
  end: number;
  step: number;
  kinds?: readonly TroubleKind[];
};
for (let seed = first; seed < end; seed += step)
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage(await runSeed(seed, kinds === undefined ? {} : { kinds }));
