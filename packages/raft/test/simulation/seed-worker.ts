import { serveSeeds } from "@warren/std/testing";

import { simulate, type Plan } from "../../src/testing/index.ts";
import type { SeedResult } from "./seeds.ts";

await serveSeeds(async (seed, { plan }: { readonly plan: Partial<Plan> }): Promise<SeedResult> => {
  try {
    const report = await simulate(seed, { plan });
    const { hash, events, committed, history, violation, linearizable, led, oldProgramsRefused, powerCuts } = report;
    const judged = linearizable !== undefined;
    const operations = history.length;
    const counts = { hash, events, committed, operations, judged, led, oldProgramsRefused, powerCuts };
    return { seed, ...counts, violation: violation?.message };
  } catch (error) {
    const nothing = { hash: 0, events: 0, committed: 0, operations: 0, judged: false, led: new Set<never>() };
    return { seed, ...nothing, oldProgramsRefused: 0, powerCuts: new Map(), violation: String(error) };
  }
});
