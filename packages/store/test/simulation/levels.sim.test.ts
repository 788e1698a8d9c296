import { expect, test } from "vitest";

import { runLevels, type LevelsReport } from "./levels.ts";

/** The outcome of each seed; a failed seed is named. */
async function run(gated: boolean): Promise<LevelsReport> {
  const broken: string[] = [];
  let sum: LevelsReport = { violation: undefined, later: 0, passed: 0, heldBack: 0, refused: 0 };
  for (let seed = 1; seed <= 500; seed++) {
    const report = await runLevels(seed, gated);
    if (report.violation !== undefined) broken.push(`seed ${seed}: ${report.violation}`);
    sum = {
      violation: undefined,
      later: sum.later + report.later,
      passed: sum.passed + report.passed,
      heldBack: sum.heldBack + report.heldBack,
      refused: sum.refused + report.refused,
    };
  }
  expect(broken.join("\n")).toBe("");
  return sum;
}

test("managers of an earlier program store and pass on all that a later one writes: 500 seeds", async () => {
  const { later, passed, refused } = await run(false);
  expect(refused).toBe(0);
  expect(later).toBeGreaterThan(500);
  expect(passed).toBeGreaterThan(100);
});

test("in groups of level 1 and 2 nothing of level 2 is written before every manager can, and level 1 is refused after: 500 seeds", async () => {
  const { later, heldBack, refused } = await run(true);
  expect(later).toBeGreaterThan(100);
  expect(heldBack).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(50);
});
