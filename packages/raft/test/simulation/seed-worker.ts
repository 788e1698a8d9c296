import { parentPort, workerData } from "node:worker_threads";

import { simulate, type Plan } from "../../src/testing/index.ts";
import type { SeedResult } from "./seeds.ts";

const { first, end, step, plan } = workerData as { first: number; end: number; step: number; plan: Partial<Plan> };
for (let seed = first; seed < end; seed += step) {
  let result: SeedResult;
  try {
    const report = await simulate(seed, { plan });
    const { hash, events, committed, history, violation, linearizable, led, oldProgramsRefused, powerCuts } = report;
    const judged = linearizable !== undefined;
    const operations = history.length;
    result = {
      seed,
      hash,
      events,
      committed,
      operations,
      judged,
      led,
      oldProgramsRefused,
      powerCuts,
      violation: violation?.message,
    };
  } catch (error) {
    const nothing = { hash: 0, events: 0, committed: 0, operations: 0, judged: false, led: new Set<never>() };
    result = { seed, ...nothing, oldProgramsRefused: 0, powerCuts: new Map(), violation: String(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread has no origin
  parentPort?.postMessage(result);
}
