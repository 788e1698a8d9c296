/** A sample of seeds; `tools/soak cluster` runs any number. */
import { availableParallelism } from "node:os";
import {
  NodeSpec_Availability as Availability,
  RestartPolicy_Condition as Condition,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateNodeRequest,
} from "@warren/api";
import { expect, test } from "vitest";
import { History } from "./history.ts";
import type { SeedResult } from "./seed.ts";
import { replayCommand, runSeeds } from "./seeds.ts";
import { World } from "./world.ts";

test("whatever breaks in 100 clusters, each slot keeps its promises throughout, and the end is what was asked for", async () => {
  const results: SeedResult[] = [];
  await runSeeds({ from: 1, count: 100, workers: availableParallelism() }, (result) => void results.push(result));
  const broken = results.filter(({ violation }) => violation !== undefined);
  const told = broken.map(({ seed, violation, story }) =>
    [`seed ${seed}: ${violation}`, ...story.slice(-40), replayCommand(seed)].join("\n"),
  );
  expect(told.join("\n\n")).toBe("");
  expect(results).toHaveLength(100);
  // Worlds in which nothing runs would show nothing.
  expect(results.filter(({ starts }) => starts > 10).length).toBeGreaterThan(75);
  expect(results.reduce((sum, { restarts }) => sum + restarts, 0)).toBeGreaterThan(100);
  expect(results.reduce((sum, { moves }) => sum + moves, 0)).toBeGreaterThan(20);
});

test("seeds that found a fault of the orchestrator or of this checker hold: 831, 5028, 7283", async () => {
  const results: SeedResult[] = [];
  for (const seed of [831, 5028, 7283])
    await runSeeds({ from: seed, count: 1, workers: 1 }, (result) => void results.push(result));
  expect(results.map(({ seed, violation }) => [seed, violation])).toEqual([
    [831, undefined],
    [5028, undefined],
    [7283, undefined],
  ]);
});

test("L9: what a task's runs count while the node of its next lease stands still goes with the slot", async () => {
  for (const seed of [1, 2, 3]) {
    const world = await World.begin({ seed, managers: 1, edges: 2 });
    const { restarts } = world.observer;
    const task = {
      container: { image: "app:1", args: ["exit", "3", "1"], stopGraceMs: 2_000 },
      restart: { condition: Condition.ANY, delayMs: 500, maxAttempts: 0, windowMs: 0 },
    };
    new History(world).create("web", 1, task, { order: Order.STOP_FIRST, action: Action.PAUSE });
    await world.pass(5_000);
    const from = world.edges.find(({ running }) => running.length > 0);
    const to = world.edges.find((edge) => edge !== from);
    if (from === undefined || to === undefined) throw new Error("it runs nowhere");
    to.worker?.pause();
    const node = world.view.list("nodes").find(({ description }) => description?.hostname === from.name);
    const spec = { ...node?.spec, availability: Availability.DRAIN };
    world.call(`drain ${from.name}`, ({ nodes, context }) =>
      nodes.update(UpdateNodeRequest.fromPartial({ ref: node?.meta?.id ?? "", spec }), context),
    );
    await world.pass(10_000);
    to.worker?.resume();
    await world.pass(20_000);
    expect([from.running, restarts.moved]).toEqual([[], 1]);
    expect(world.observer.violations).toEqual([]);
    await world.close();
  }
});
