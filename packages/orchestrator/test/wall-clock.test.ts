/** No decision follows from a wall clock that is set, in a term or between two: see `ClockSteps` and ADR 0107. */
import {
  LeaseState,
  NodeSpec_Availability as Availability,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
} from "@warren/api";
import { FakeClock } from "@warren/std/testing";
import { describe, expect, test } from "vitest";
import { ClockSteps } from "../src/clock-steps.ts";
import { remaining, remainingOfDelay, remainingWall } from "../src/reading.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

const hourMs = 3_600_000;

/** A wall clock that is set, while a manager leads and before another one does. */
const cases = [
  ["an hour on", hourMs, false],
  ["an hour back", -hourMs, false],
  ["a little back", -20_000, false],
  ["an hour on for the next leader", hourMs, true],
  ["an hour back for the next leader", -hourMs, true],
] as const;

async function set(world: SimulatedCluster, stepMs: number, nextLeader: boolean): Promise<void> {
  if (nextLeader) {
    await world.stopLeading();
    world.clock.jump(stepMs);
    await world.beginTerm();
    world.lead();
  } else {
    world.clock.jump(stepMs);
    // Every service is looked at again.
    await world.changeNode("edge-1", ({ spec }) => ({
      spec: { labels: { ...spec?.labels, set: String(stepMs) }, availability: spec?.availability ?? 0 },
    }));
  }
  await world.settle();
}

describe.each(cases)("a wall clock that is set %s", (_what, stepMs, nextLeader) => {
  test("pauses no rollout for want of progress, and rolls none back", async () => {
    for (const failureAction of [Action.PAUSE, Action.ROLLBACK]) {
      const world = await SimulatedCluster.start(2);
      await world.create("web", 2, { update: { failureAction } });
      await world.advance(10_000);
      world.behaviours.set("app:2", "stall");
      await world.setImage("web", "app:2");
      await world.advance(300_000);
      await set(world, stepMs, nextLeader);
      await world.advance(60_000);
      expect(world.service("web")).toMatchObject({ versionId: "web-v2", updateStatus: { state: State.UPDATING } });
      world.behaviours.clear();
      await world.advance(60_000);
      expect(world.service("web")).toMatchObject({ versionId: "web-v2", updateStatus: { state: State.COMPLETED } });
      await world.stopLeading();
    }
  });

  test("cuts no monitor short: the next slot waits until the new task has run for that long", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 2, { update: { monitorMs: 60_000 } });
    await world.advance(70_000);
    await world.setImage("web", "app:2");
    const images = (): string[] =>
      world
        .running("web")
        .map((task) => world.image(task))
        .toSorted();
    expect(images()).toEqual(["app:1", "app:2"]);
    await world.advance(10_000);
    await set(world, stepMs, nextLeader);
    await world.advance(45_000);
    expect(images()).toEqual(["app:1", "app:2"]);
    await world.advance(80_000);
    expect(images()).toEqual(["app:2", "app:2"]);
    await world.stopLeading();
  });

  test("stops no old task of a start-first update before the new one was watched", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1, { update: { order: Order.START_FIRST, monitorMs: 60_000 } });
    await world.advance(70_000);
    await world.setImage("web", "app:2");
    await world.advance(10_000);
    await set(world, stepMs, nextLeader);
    await world.advance(45_000);
    expect(world.running("web")).toHaveLength(2);
    await world.advance(80_000);
    expect(world.running("web").map((task) => world.image(task))).toEqual(["app:2"]);
    await world.stopLeading();
  });

  test("completes no first version before its tasks were watched", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1, { update: { monitorMs: 60_000 } });
    await world.advance(10_000);
    await set(world, stepMs, nextLeader);
    await world.advance(45_000);
    expect(world.service("web").completedVersionIds).toEqual([]);
    await world.advance(80_000);
    expect(world.service("web").completedVersionIds).toEqual(["web-v1"]);
    await world.stopLeading();
  });

  test("L5: gives no incoming lease up", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1);
    const [old] = world.running("web");
    world.behaviours.set("app:1", "stall");
    await world.setAvailability(old!.nodeId, Availability.DRAIN);
    const offered = (): unknown =>
      world.slot("web", 1)!.leases.find(({ state }) => state === LeaseState.OFFERED)?.epoch;
    const first = offered();
    expect(first).toBeDefined();
    await world.advance(300_000);
    await set(world, stepMs, nextLeader);
    await world.advance(200_000);
    expect(offered()).toEqual(first);
    await world.stopLeading();
  });

  test("L8: allocates no address that has not rested", async () => {
    const world = await SimulatedCluster.start(1, { cluster: { taskPool: "10.77.0.0/24" } });
    await world.create("web", 253);
    const { address } = world.slot("web", 253)!.leases[0]!;
    await world.scale("web", 252);
    await world.create("api", 1);
    await world.advance(10_000);
    await set(world, stepMs, nextLeader);
    await world.advance(45_000);
    expect(world.slot("api", 1)!.leases[0]!.address).toBe("");
    await world.advance(80_000);
    expect(world.slot("api", 1)!.leases[0]!.address).toBe(address);
    await world.stopLeading();
  });
});

test("L9: a wall clock that is set lets no move go to a node where the version has just failed", async () => {
  for (const stepMs of [hourMs, -hourMs]) {
    const world = await SimulatedCluster.start(2);
    world.behaviours.set("app:1", "crash");
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    await world.advance(60_000);
    const offers = (): number => world.slot("web", 1)!.leases.filter(({ nodeId }) => nodeId !== "").length;
    const waits = (): string => world.tasks("web").find(({ nodeId }) => nodeId === "")?.status?.message ?? "";
    expect(waits()).toContain("failed there lately");
    const before = offers();
    await set(world, stepMs, false);
    await world.advance(120_000);
    expect(offers()).toBeLessThanOrEqual(before);
    expect(waits()).toContain("failed there lately");
    await world.stopLeading();
  }
});

test("a back-off lasts as long where the wall clock is set in a term, and no longer for the next leader", async () => {
  for (const stepMs of [hourMs, -hourMs, -20_000]) {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1, { task: { restart: { delayMs: 120_000 } }, update: { progressDeadlineMs: 1_000 } });
    const [old] = world.running("web");
    world.behaviours.set("app:1", "stall");
    await world.setAvailability(old!.nodeId, Availability.DRAIN);
    await world.advance(1_000);
    const { retryAt } = world.slot("web", 1)!;
    expect(retryAt).toBeDefined();
    await world.advance(10_000);
    await set(world, stepMs, false);
    await world.advance(100_000);
    expect(world.slot("web", 1)!.retryAt).toEqual(retryAt);
    await world.advance(60_000);
    expect(world.slot("web", 1)!.retryAt).not.toEqual(retryAt);
    await world.stopLeading();
  }
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { task: { restart: { delayMs: 120_000 } }, update: { progressDeadlineMs: 1_000 } });
  world.behaviours.set("app:1", "stall");
  await world.setAvailability(world.running("web")[0]!.nodeId, Availability.DRAIN);
  await world.advance(1_000);
  const { retryAt } = world.slot("web", 1)!;
  await world.advance(retryAt!.getTime() - world.clock.now() - 1_000);
  await world.restart();
  await world.advance(2_000);
  expect(world.slot("web", 1)!.retryAt).not.toEqual(retryAt);
  await world.stopLeading();
});

test("a wait that is all but over is a whole millisecond, which moves every clock on", () => {
  const at = { now: 1e12, steadyMs: 9_999.999_999_999, sinceStepMs: 9_999.999_999_999 };
  expect([remaining(0, 10_000, at), remainingOfDelay(0, 10_000, at)]).toEqual([1, 1]);
});

test("waits by a clock that goes on, that is set, and of a leader that is new", () => {
  const clock = new FakeClock();
  const steps = new ClockSteps(clock);
  const since = clock.now();
  const left = (): number[] => {
    const at = steps.moment();
    return [remaining(since, 10_000, at), remainingOfDelay(since, 10_000, at), remainingWall(since, 10_000, at.now)];
  };
  expect(left()).toEqual([10_000, 10_000, 10_000]);
  clock.advance(4_000);
  expect(left()).toEqual([6_000, 6_000, 6_000]);
  clock.jump(hourMs);
  expect(left()).toEqual([10_000, 10_000, 0]);
  clock.advance(9_000);
  expect(left()).toEqual([1_000, 1_000, 0]);
  clock.advance(1_000);
  expect(left()).toEqual([0, 0, 0]);
  // To the next leader the stored time is as old as its own clock has it.
  const at = new ClockSteps(clock).moment();
  expect([remaining(since, 10_000, at), remainingOfDelay(since, 10_000, at)]).toEqual([10_000, 0]);
  expect([remaining(undefined, 10_000, at), remainingOfDelay(undefined, 10_000, at)]).toEqual([0, 0]);
});
