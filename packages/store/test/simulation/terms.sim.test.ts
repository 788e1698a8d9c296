import { describe, expect, test } from "vitest";

import { runHistory, type HistoryReport } from "./allocations.ts";

async function run(from: number, count: number, unchecked = false): Promise<Map<number, HistoryReport>> {
  const reports = new Map<number, HistoryReport>();
  for (let seed = from; seed < from + count; seed++) reports.set(seed, await runHistory(seed, { unchecked }));
  return reports;
}

describe("three managers in a seed, with elections, cuts, restarts and late state machines at any moment", () => {
  // In parts, so that each has the time of a test.
  test.each([1, 501, 1_001, 1_501])(
    "give nothing twice, and no command takes effect that lacks an earlier one: 2,000 histories, 500 from seed %d",
    async (from) => {
      const reports = await run(from, 500);
      const broken = [...reports].filter(([, { violation }]) => violation !== undefined);
      expect(broken.map(([seed, { violation }]) => `seed ${seed}: ${violation}`).join("\n")).toBe("");
      // The histories are no idle ones.
      const mean = (of: (report: HistoryReport) => number): number =>
        [...reports.values()].reduce((sum, report) => sum + of(report), 0) / reports.size;
      expect(mean(({ terms }) => terms)).toBeGreaterThan(3);
      expect(mean(({ written }) => written)).toBeGreaterThan(5);
    },
  );

  test("do both where commands are not checked as they are applied", async () => {
    const reports = await run(1, 150, true);
    const violations = [...reports.values()].map(({ violation }) => violation ?? "");
    expect(violations.filter((text) => text.includes("given twice")).length).toBeGreaterThan(0);
    expect(violations.filter((text) => text.includes("was computed on")).length).toBeGreaterThan(0);
  });
});
