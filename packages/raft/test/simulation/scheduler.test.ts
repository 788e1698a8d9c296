import { clockContract } from "@warren/std/testing";
import { describe, test } from "vitest";

import { MachineClock, Process, Scheduler } from "../../src/testing/simulation/scheduler.ts";

describe.each([1, 0.97, 1.03])("a simulated machine's clock that runs %f times as fast as the world's", (rate) => {
  test.each(clockContract)("$title", ({ run }) => {
    const scheduler = new Scheduler();
    return run({
      clock: new MachineClock(scheduler, rate).of(new Process()),
      pass: async (ms) => void (await scheduler.run(scheduler.nowMs + ms / rate, () => false)),
    });
  });
});
