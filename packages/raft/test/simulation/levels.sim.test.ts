/** Groups of members that run programs of two levels, until the higher one is made the active level. */
import { expect, test } from "vitest";

import { replayCommand, runSeeds, type SeedResult } from "./seeds.ts";

test("members of two levels keep all invariants in 500 worlds, whichever leads, and through the raise of the level", async () => {
  const results: SeedResult[] = [];
  const plan = { mixedPrograms: true, chaosMs: 6_000 };
  await runSeeds({ from: 1, count: 500, workers: 2, plan }, (result) => void results.push(result));
  const broken = results.filter(({ violation }) => violation !== undefined);
  const lines = broken.map(({ seed, violation }) => `${violation}\n  ${replayCommand(seed)} --mixed-programs`);
  expect(lines.join("\n")).toBe("");
  expect(results).toHaveLength(500);
  for (const program of ["present", "next"] as const) {
    expect(results.filter(({ led }) => led.has(program)).length).toBeGreaterThan(250);
  }
  expect(results.filter(({ oldProgramsRefused }) => oldProgramsRefused > 0).length).toBeGreaterThan(30);
}, 1_800_000);
