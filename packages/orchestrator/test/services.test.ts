import { LeaseState, RestartPolicy_Condition as Condition, RunEnd, Slot, TaskState } from "@warren/api";
import { slotNumber } from "@warren/api/model";
import { expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

function numbers(world: SimulatedCluster): number[] {
  return world.running("web").map(({ slot }) => slotNumber(slot));
}

test("thirty replicas run in thirty slots, and took two transactions of the loops", async () => {
  const world = await SimulatedCluster.start(2);
  const counted = (): number =>
    [...world.metrics.values].reduce(
      (sum, [key, value]) => (key.includes("transactions_total") ? sum + value : sum),
      0,
    );
  const before = counted();
  await world.create("web", 30);
  expect(numbers(world)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  expect(counted() - before).toBe(2);
  await world.stopLeading();
});

test("a pass over a thousand tasks is a few transactions", { timeout: 30_000 }, async () => {
  const world = await SimulatedCluster.start(4);
  const before = world.manager.proposer.applied.length;
  await world.create("web", 1_000);
  expect(world.running("web")).toHaveLength(1_000);
  // Of these one is the creation, seven are the nodes' reports.
  expect(world.manager.proposer.applied.length - before).toBeLessThan(16);
  await world.delete("web");
  await world.advance(61_000);
  expect(world.view.list("tasks")).toHaveLength(0);
  expect(world.view.list("slots")).toHaveLength(0);
  expect(world.manager.proposer.applied.length - before).toBeLessThan(32);
  await world.stopLeading();
});

test("scaling up fills the lowest free numbers; scaling down gives up the highest", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 3);
  await world.scale("web", 5);
  expect(numbers(world)).toEqual([1, 2, 3, 4, 5]);
  await world.scale("web", 2);
  expect(numbers(world)).toEqual([1, 2]);
  await world.advance(61_000);
  expect(world.slots("web")).toHaveLength(2);
  await world.stopLeading();
});

test("scaling down gives up what does not run before what does, then evens out the nodes", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 4);
  await world.end(world.tasksOf("web", 1)[0]!);
  await world.scale("web", 3);
  expect(numbers(world)).toEqual([2, 3, 4]);
  await world.scale("web", 2);
  expect(new Set(world.running("web").map(({ nodeId }) => nodeId))).toEqual(new Set(["edge-1", "edge-2"]));
  await world.stopLeading();
});

test("scaling to zero keeps the service and its address; scaling up again reuses the numbers", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 3);
  const { endpoint } = world.service("web");
  await world.scale("web", 0);
  await world.advance(61_000);
  expect(world.tasks("web")).toEqual([]);
  expect(world.service("web").endpoint).toEqual(endpoint);
  await world.scale("web", 2);
  expect(numbers(world)).toEqual([1, 2]);
  await world.stopLeading();
});

test("L4: a release that the node has not acknowledged is taken back: the same task goes on", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2);
  const [old] = world.tasksOf("web", 2);
  await world.scale("web", 1, false);
  await world.quiet();
  expect(world.leases("web", 2)).toEqual(["releasing@edge-1"]);
  await world.scale("web", 2);
  expect(world.leases("web", 2)).toEqual(["held@edge-1"]);
  expect(world.running("web").map(({ meta }) => meta!.id)).toContain(old!.meta!.id);
  await world.stopLeading();
});

test("L2, L17: once it is acknowledged, the slot outlives it, and the node holds its next lease after it", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  const [old] = world.tasksOf("web", 2);
  world.stubborn.add(old!.meta!.id);
  await world.scale("web", 1);
  await world.scale("web", 2);
  expect(world.slot("web", 2)!.leases).toMatchObject([
    { state: LeaseState.RELEASING, releaseAcknowledged: true },
    { state: LeaseState.HELD, after: old!.epoch },
  ]);
  await world.advance(20_000);
  expect(world.node("edge-1").running).toHaveLength(2);
  expect(world.tasksOf("web", 2).at(-1)!.status!.state).toBe(TaskState.READY);
  world.stubborn.clear();
  await world.settle();
  expect(numbers(world)).toEqual([1, 2]);
  expect(world.tasksOf("web", 2).at(-1)!.meta!.id).not.toBe(old!.meta!.id);
  await world.stopLeading();
});

test.each([0, 5_000, 70_000])(
  "a service that is done runs again when it is scaled to zero and back after %i ms",
  async (ms) => {
    const world = await SimulatedCluster.start(1);
    const restart = { condition: Condition.ON_FAILURE, maxAttempts: 1, windowMs: 3_600_000, delayMs: 0 };
    await world.create("once", 1, { task: { restart } });
    for (let runs = 0; runs < 2; runs += 1) {
      await world.end(world.running("once")[0]!, { exitCode: 1 });
      await world.advance(10_000);
    }
    expect(world.slot("once", 1)!.settled).toBe("it was restarted once within 60 min, as often as its policy allows");
    await world.scale("once", 0);
    expect(world.slot("once", 1)!.wanted).toBe(false);
    if (ms > 0) await world.advance(ms);
    await world.scale("once", 1);
    await world.advance(5_000);
    expect(world.running("once")).toHaveLength(1);
    // Its attempts are counted anew.
    await world.end(world.running("once")[0]!, { exitCode: 1 });
    await world.advance(10_000);
    expect(world.running("once")).toHaveLength(1);
    await world.stopLeading();
  },
);

test("L8, L17: a deleted service's name is free at once, its address when its last slot has gone", async () => {
  const world = await SimulatedCluster.start(1, { cluster: { vipPool: "10.96.0.0/30" } });
  await world.create("web", 2);
  await world.create("api", 1);
  await world.create("db", 1);
  expect(world.tasksOf("db", 1)[0]!.status).toMatchObject({
    state: TaskState.NEW,
    message: "waits: no address is left in the pool 10.96.0.0/30",
  });
  const { vip } = world.service("web").endpoint!;
  const slow = world.running("web")[0]!;
  world.stubborn.add(slow.meta!.id);
  await world.delete("web");
  await world.advance(70_000);
  expect(world.slots("web").map(({ meta, wanted }) => [meta!.id, wanted])).toEqual([[slow.slotId, false]]);
  expect(world.service("db").endpoint).toBeUndefined();
  world.stubborn.clear();
  await world.advance(59_000);
  expect(world.service("db").endpoint).toBeUndefined();
  await world.advance(2_000);
  expect(world.slots("web")).toEqual([]);
  expect(world.service("db").endpoint!.vip).toBe(vip);
  expect(world.running("db")).toHaveLength(1);
  await world.stopLeading();
});

test("slots of a service that was deleted without them are wound down", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2);
  await world.store.update((tx) => tx.delete("services", "web"));
  await world.advance(61_000);
  for (const table of ["slots", "tasks", "versions"] as const) expect(world.view.list(table)).toEqual([]);
  await world.stopLeading();
});

test("L8, L17: tasks of a slot that nobody wants go once its leases are released; the slot rests on for its address", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 3);
  const slow = world.running("web").at(-1)!;
  world.stubborn.add(slow.meta!.id);
  await world.scale("web", 1);
  await world.scale("web", 0);
  expect(world.view.list("tasks").map(({ meta }) => meta!.id)).toEqual([slow.meta!.id]);
  await world.delete("web");
  world.stubborn.clear();
  await world.advance(1_000);
  expect(world.view.list("tasks")).toEqual([]);
  expect(world.slots("web")).toHaveLength(3);
  await world.advance(61_000);
  expect(world.slots("web")).toEqual([]);
  await world.stopLeading();
});

test("L17: a service that is made again under the name is another, and waits for nothing of the old one", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1);
  world.stubborn.add(world.running("web")[0]!.meta!.id);
  await world.delete("web");
  const again = await world.create("web", 1);
  expect(world.running(again)).toHaveLength(1);
  expect(again).not.toBe("web");
  expect(world.leases("web", 1)).toEqual(["releasing@edge-1"]);
  await world.stopLeading();
});

test("L18: a version lives while its service, a lease or a kept task names it", async () => {
  const world = await SimulatedCluster.start(1, { cluster: { taskHistory: 0 } });
  await world.create("web", 1, { update: { monitorMs: 0 } });
  for (let version = 2; version <= 17; version += 1) {
    await world.setImage("web", `app:${version}`);
    await world.advance(1_000);
  }
  const kept = (): string[] => world.view.list("versions").map(({ meta }) => meta!.id);
  const named = new Set([
    ...world.service("web").recentVersionIds,
    ...world.service("web").completedVersionIds,
    ...world.tasks("web").map(({ versionId }) => versionId),
    ...world.slot("web", 1)!.leases.map(({ versionId }) => versionId),
  ]);
  expect(new Set(kept())).toEqual(named);
  await world.advance(120_000);
  expect(kept().length).toBeLessThan(14);
  expect(kept()).toEqual(expect.arrayContaining([...world.service("web").recentVersionIds]));
  await world.stopLeading();
});

test("L18: a version that a kept task alone names lives as long as the task", async () => {
  const world = await SimulatedCluster.start(1, { cluster: { taskHistory: 20 } });
  await world.create("web", 1, { update: { monitorMs: 0 } });
  for (let version = 2; version <= 17; version += 1) {
    await world.setImage("web", `app:${version}`);
    await world.advance(1_000);
  }
  await world.advance(120_000);
  expect(world.tasks("web").map(({ versionId }) => versionId)).toContain("web-v1");
  expect(world.service("web").recentVersionIds).not.toContain("web-v1");
  expect(world.view.get("versions", "web-v1")).toBeDefined();
  await world.stopLeading();
});

test.each([
  [Condition.NONE, {}, "its restart policy is none"],
  [Condition.ON_FAILURE, { exitCode: 0, complete: true }, "it completed, and its restart policy is on-failure"],
])(
  "L4: with condition %s a lease that settles is released, and its outcome stays at the slot",
  async (condition, end, why) => {
    const world = await SimulatedCluster.start();
    await world.create("web", 2, { task: { restart: { condition } } });
    await world.end(world.tasksOf("web", 1)[0]!, end);
    await world.advance(120_000);
    expect(world.slot("web", 1)).toMatchObject({ settled: why, leases: [{ state: LeaseState.RELEASED }] });
    expect(world.events().filter((event) => event === "web.1 settled")).toHaveLength(1);
    expect(world.tasksOf("web", 1)).toHaveLength(1);
    await world.scale("web", 3);
    expect(numbers(world)).toEqual([2, 3]);
    // Another version is another try.
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(numbers(world)).toEqual([1, 2, 3]);
    expect(world.slot("web", 1)!.settled).toBe("");
    await world.stopLeading();
  },
);

test("a slot keeps the last five runs of its lease, and the last five tasks of earlier ones", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:1", "crash");
  await world.create("web", 1, { task: { restart: { delayMs: 10 } } });
  await world.advance(120_000);
  const runs = world.tasks("web").filter(({ nodeId }) => nodeId !== "");
  expect(runs.length).toBeLessThanOrEqual(10);
  expect(Math.max(...runs.map(({ run }) => run))).toBeGreaterThan(20);
  await world.stopLeading();
});

test("a service goes on with the ports it has when it asks for one that another holds", async () => {
  const world = await SimulatedCluster.start();
  await world.create("api", 1, { ports: [{ target: 80, published: 8080 }] });
  await world.create("web", 1, { ports: [{ target: 80, published: 80 }] });
  await world.update("web", (spec) => void (spec.ports[0]!.published = 8080));
  await world.scale("web", 2);
  expect(world.running("web")).toHaveLength(2);
  expect(world.service("web").endpoint!.ports.map(({ published }) => published)).toEqual([80]);
  await world.delete("api");
  expect(world.service("web").endpoint!.ports.map(({ published }) => published)).toEqual([8080]);
  await world.stopLeading();
});

test("however many slots a service has and whatever befell them, each command of its end is one that the log takes", async () => {
  const world = await SimulatedCluster.start(2, { limits: { maxCommandBytes: 120_000 } });
  const replicas = 120;
  await world.create("web", replicas);
  await world.advance(10_000);
  const message = "x".repeat(1_000);
  const end = RunEnd.fromPartial({ taskId: "t", message });
  for (const slot of world.slots("web")) {
    await world.store.update((tx) => {
      const found = tx.resolve("slots", slot.meta!.id);
      const leases = found.leases.map((lease) => ({
        ...lease,
        record: { ...lease.record!, firstFailure: end, lastEnd: end },
      }));
      tx.update("slots", { ...found, leases });
    });
  }
  expect(world.slots("web").reduce((sum, slot) => sum + Slot.encode(slot).finish().length, 0)).toBeGreaterThan(200_000);
  await world.delete("web");
  expect(world.view.list("deletedServices")).toHaveLength(1);
  await world.advance(120_000);
  expect(world.slots("web")).toEqual([]);
  expect(world.tasks("web")).toEqual([]);
  expect(world.view.list("deletedServices")).toEqual([]);
  await world.stopLeading();
});
