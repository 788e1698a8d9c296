import { describe, expect, test } from "vitest";

import { checkLinearizable, readHistory, simulate, writeHistory } from "../../src/testing/index.ts";
import { powerCutPoints } from "../../src/testing/simulation/disk.ts";
import { replayCommand, runSeeds, type SeedResult } from "./seeds.ts";

describe("a cluster in a seed", () => {
  test("keeps all sixteen invariants in 4,000 worlds of faults, the power cut at every kind of point", async () => {
    const results: SeedResult[] = [];
    await runSeeds({ from: 1, count: 4_000, workers: 2 }, (result) => void results.push(result));
    const broken = results.filter(({ violation }) => violation !== undefined);
    const lines = broken.map(({ seed, violation }) => `seed ${seed}: ${violation}\n  ${replayCommand(seed)}`);
    expect(lines.join("\n")).toBe("");
    expect(results).toHaveLength(4_000);
    // A history that the checker gives up on is not a good one.
    expect(results.filter(({ judged }) => !judged).map(({ seed }) => seed)).toEqual([]);
    const cuts = new Map<string, number>();
    for (const { powerCuts } of results) {
      for (const [point, times] of powerCuts) cuts.set(point, (cuts.get(point) ?? 0) + times);
    }
    expect(powerCutPoints.filter((point) => !cuts.has(point))).toEqual([]);
    // The worlds are no idle ones.
    const sum = (of: (result: SeedResult) => number): number => results.reduce((total, one) => total + of(one), 0);
    expect(sum(({ committed }) => committed) / results.length).toBeGreaterThan(30);
    expect(sum(({ operations }) => operations) / results.length).toBeGreaterThan(50);
  }, 1_800_000);

  test("does the same each time", async () => {
    const seeds = [1, 2, 3, 14, 37, 120, 666];
    const first = await Promise.all(seeds.map((seed) => simulate(seed)));
    for (const [at, seed] of seeds.entries()) {
      const again = await simulate(seed);
      expect(again.hash).toBe(first[at]?.hash);
      expect(again.events).toBe(first[at]?.events);
      expect(writeHistory(again.history)).toBe(writeHistory(first[at]?.history ?? []));
    }
    const elsewhere: SeedResult[] = [];
    await runSeeds({ from: 1, count: 3, workers: 1 }, (result) => void elsewhere.push(result));
    expect(elsewhere.map(({ hash }) => hash)).toEqual(first.slice(0, 3).map(({ hash }) => hash));
  });

  test("writes what its clients saw so that another checker can judge it", async () => {
    const { history } = await simulate(7);
    const read = readHistory(writeHistory(history));
    expect(read).toEqual(history);
    expect(checkLinearizable(read)).toEqual({ linearizable: true });
  });
});
