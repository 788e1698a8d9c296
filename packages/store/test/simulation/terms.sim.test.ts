import { describe, expect, test } from "vitest";

import { runHistory, type HistoryReport } from "./allocations.ts";

async function run(from: number, count: number, unchecked = false): Promise<Map<number, HistoryReport>> {
  const reports = new Map<number, HistoryReport>();
  for (let seed = from; seed < from + count; seed++) reports.set(seed, await runHistory(seed, { unchecked }));
  return reports;
}

describe("three simulated managers, with elections, partitions, restarts and slow state machines at any moment", () => {
  // In parts, so that each has the time of a test.
  test.each([1, 501, 1_001, 1_501])(
    "allocate nothing twice, and no command takes effect that missed an earlier one: 2,000 histories, 500 from seed %d",
    async (from) => {
      const reports = await run(from, 500);
      const broken = [...reports].filter(([, { violation }]) => violation !== undefined);
      expect(broken.map(([seed, { violation }]) => `seed ${seed}: ${violation}`).join("\n")).toBe("");
      // The histories are eventful enough to prove something.
      const mean = (of: (report: HistoryReport) => number): number =>
        [...reports.values()].reduce((sum, report) => sum + of(report), 0) / reports.size;
      expect(mean(({ terms }) => terms)).toBeGreaterThan(3);
      expect(mean(({ written }) => written)).toBeGreaterThan(5);
    },
  );

  test("do both where commands are not checked when they are applied", async () => {
    const reports = await run(1, 150, true);
    const violations = [...reports.values()].map(({ violation }) => violation ?? "");
    expect(violations.filter((text) => text.includes("given twice")).length).toBeGreaterThan(0);
    expect(violations.filter((text) => text.includes("was computed on")).length).toBeGreaterThan(0);
  });
});
