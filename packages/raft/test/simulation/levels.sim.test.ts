/** Groups of members that run programs of two levels, until the higher one is made the active level. */
import { expect, test } from "vitest";

import type { SimulationReport } from "../../src/testing/index.ts";
import { simulate } from "../../src/testing/index.ts";
import { replayCommand } from "./seeds.ts";

const plan = { mixedPrograms: true };

test("members of two levels keep all invariants in 500 worlds, whichever leads, and through the raise of the level", async () => {
  const reports: SimulationReport[] = [];
  for (let seed = 1; seed <= 500; seed++) reports.push(await simulate(seed, { plan }));
  const broken = reports.filter(({ violation }) => violation !== undefined);
  const lines = broken.map(({ seed, violation }) => `${violation?.message}\n  ${replayCommand(seed)} --mixed-programs`);
  expect(lines.join("\n")).toBe("");
  for (const program of ["present", "next"] as const) {
    expect(reports.filter(({ led }) => led.has(program)).length).toBeGreaterThan(250);
  }
  expect(reports.filter(({ oldProgramsRefused }) => oldProgramsRefused > 0).length).toBeGreaterThan(50);
});
