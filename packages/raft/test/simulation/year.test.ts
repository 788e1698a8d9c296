/** Nothing that a group keeps grows with time: a sample of `tools/soak raft-year`. */
import { expect, test } from "vitest";

import { growth, runTicks } from "./year.ts";

test.each([
  [1, 0],
  [1, 7],
  [3, 0],
  [3, 7],
  [5, 11],
])(
  "%i members that are asked something every %i ticks hold no more after twice the time",
  { timeout: 300_000 },
  async (members, proposeEvery) => {
    const found = await runTicks({ members, ticks: Math.floor(40_000 / members), proposeEvery });
    // A lone voter's rounds alone were 60 bytes a tick.
    expect(growth(found)).toBeLessThan((20_000 / members) * 20);
  },
);
