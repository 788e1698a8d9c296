/** A sample of seeds; `tools/soak cluster` runs any number. */
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import type { SeedResult } from "./seed.ts";
import { replayCommand, runSeeds } from "./seeds.ts";

test("whatever breaks in 200 clusters, each slot keeps its promises throughout, and the end is what was asked for", async () => {
  const results: SeedResult[] = [];
  await runSeeds({ from: 1, count: 200, workers: availableParallelism() }, (result) => void results.push(result));
  const broken = results.filter(({ violation }) => violation !== undefined);
  const told = broken.map(({ seed, violation, story }) =>
    [`seed ${seed}: ${violation}`, ...story.slice(-40), replayCommand(seed)].join("\n"),
  );
  expect(told.join("\n\n")).toBe("");
  expect(results).toHaveLength(200);
  // Worlds in which nothing runs would show nothing.
  expect(results.filter(({ starts }) => starts > 5).length).toBeGreaterThan(150);
});
