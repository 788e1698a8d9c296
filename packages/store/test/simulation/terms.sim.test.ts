import { describe, expect, test } from "vitest";

import { runHistory, type HistoryReport } from "./allocations.ts";

async function run(from: number, count: number, unchecked = false): Promise<Map<number, HistoryReport>> {
  const reports = new Map<number, HistoryReport>();
  for (let seed = from; seed < from + count; seed++) reports.set(seed, await runHistory(seed, { unchecked }));
  return reports;
}

describe("three managers in a seed, with elections, cuts, restarts and late state machines at any moment", () => {
  test("give nothing twice, and no command takes effect that lacks an earlier one: 2,000 histories", async () => {
    const reports = await run(1, 2_000);
    const broken = [...reports].filter(([, { violation }]) => violation !== undefined);
    expect(broken.map(([seed, { violation }]) => `seed ${seed}: ${violation}`).join("\n")).toBe("");
    // The histories are no idle ones.
    const mean = (of: (report: HistoryReport) => number): number =>
      [...reports.values()].reduce((sum, report) => sum + of(report), 0) / reports.size;
    expect(mean(({ terms }) => terms)).toBeGreaterThan(3);
    expect(mean(({ written }) => written)).toBeGreaterThan(5);
  });

  test("do both where commands are not checked as they are applied", async () => {
    const reports = await run(1, 200, true);
    const violations = [...reports.values()].map(({ violation }) => violation ?? "");
    expect(violations.filter((text) => text.includes("given twice")).length).toBeGreaterThan(0);
    expect(violations.filter((text) => text.includes("was computed on")).length).toBeGreaterThan(0);
  });
});
