import { describe, expect, test } from "vitest";

import { checkLinearizable, readHistory, simulate, writeHistory } from "../../src/testing/index.ts";
import { replayCommand, runSeeds, type SeedResult } from "./seeds.ts";

describe("a cluster in a seed", () => {
  test("keeps all sixteen invariants in 600 worlds of faults", async () => {
    const results: SeedResult[] = [];
    await runSeeds({ from: 1, count: 600, workers: 2 }, (result) => void results.push(result));
    const broken = results.filter(({ violation }) => violation !== undefined);
    const lines = broken.map(({ seed, violation }) => `seed ${seed}: ${violation}\n  ${replayCommand(seed)}`);
    expect(lines.join("\n")).toBe("");
    expect(results).toHaveLength(600);
    expect(results.filter(({ judged }) => !judged).length).toBeLessThan(results.length / 100);
    // The worlds are no idle ones.
    const sum = (of: (result: SeedResult) => number): number => results.reduce((total, one) => total + of(one), 0);
    expect(sum(({ committed }) => committed) / results.length).toBeGreaterThan(30);
    expect(sum(({ operations }) => operations) / results.length).toBeGreaterThan(50);
  });

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
