import { parentPort, workerData } from "node:worker_threads";

import { simulate } from "../../src/testing/index.ts";
import type { SeedResult } from "./seeds.ts";

const { first, end, step } = workerData as { first: number; end: number; step: number };
for (let seed = first; seed < end; seed += step) {
  let result: SeedResult;
  try {
    const { hash, events, committed, history, violation, linearizable } = await simulate(seed);
    const judged = linearizable !== undefined;
    result = { seed, hash, events, committed, operations: history.length, judged, violation: violation?.message };
  } catch (error) {
    result = { seed, hash: 0, events: 0, committed: 0, operations: 0, judged: false, violation: String(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread has no origin
  parentPort?.postMessage(result);
}
