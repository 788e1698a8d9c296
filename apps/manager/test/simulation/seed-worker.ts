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
  parentPort?.postMessage(await runSeed(seed, kinds === undefined ? {} : { kinds }));
