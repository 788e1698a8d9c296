/** A few worlds, quickly; thousands are in `worlds.sim.test.ts`. */
import { describe, expect, test } from "vitest";

import { readHistory, simulate, troubles, writeHistory } from "../../src/testing/index.ts";

describe("a world", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])("with every trouble there is keeps the invariants (seed %i)", async (seed) => {
    const { violation, history, committed } = await simulate(seed, {
      plan: { troubles: new Set(troubles), members: 3, chaosMs: 6_000, faultEveryMs: 200 },
    });
    expect(violation).toBeUndefined();
    expect(history.length).toBeGreaterThan(10);
    expect(committed).toBeGreaterThan(2);
    expect(readHistory(writeHistory(history))).toEqual(history);
  });

  test("reports what happens, if asked", async () => {
    const lines: string[] = [];
    await simulate(3, { trace: (line) => void lines.push(line), plan: { chaosMs: 200, troubles: new Set() } });
    expect(lines.some((line) => line.includes("start 1"))).toBe(true);
    expect(lines.some((line) => /sent \d->\d MsgApp/u.test(line))).toBe(true);
  });
});
