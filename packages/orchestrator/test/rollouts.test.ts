import {
  NodeSpec_Availability as Availability,
  TaskState,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
} from "@warren/api";
import { describe, expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

function images(world: SimulatedCluster): string[] {
  return world.running("web").map(({ spec }) => spec!.container!.image);
}

/** The fewest and the most tasks that ran at once, and the most new ones that were on their way. */
function watchRollout(world: SimulatedCluster): { least: number; most: number; moving: number } {
  const seen = { least: Number.POSITIVE_INFINITY, most: 0, moving: 0 };
  world.onStep = () => {
    const up = world.tasks("web").filter(({ status }) => status!.state === TaskState.RUNNING);
    seen.least = Math.min(seen.least, up.length);
    seen.most = Math.max(seen.most, up.length);
    const moving = world
      .tasks("web")
      .filter(
        ({ status, specVersion }) =>
          specVersion === world.service("web").specVersion && status!.state < TaskState.RUNNING,
      );
    seen.moving = Math.max(seen.moving, moving.length);
  };
  return seen;
}

describe("by default", () => {
  test("one slot at a time, the old task stops before the new one starts, and the end is told after the monitor", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 4);
    const seen = watchRollout(world);
    await world.setImage("web", "app:2");
    expect(images(world)).toEqual(["app:2", "app:2", "app:2", "app:2"]);
    expect(seen).toEqual({ least: 3, most: 4, moving: 1 });
    expect(world.service("web").updateStatus).toMatchObject({
      state: State.UPDATING,
      message: "replacing 1 at a time, each old task stops before the new one starts",
    });
    await world.advance(4_999);
    expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
    await world.advance(1);
    expect(world.service("web").updateStatus).toMatchObject({
      state: State.COMPLETED,
      message: "every task was replaced",
      specVersion: 2,
    });
    expect(world.events().filter((event) => event.startsWith("web update"))).toEqual([
      "web update-started",
      "web update-completed",
    ]);
    await world.stopLeading();
  });

  test("an old task is stopped only when the image of the new one is there", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "stall");
    await world.create("web", 2);
    await world.setImage("web", "app:2");
    await world.advance(600_000);
    expect(images(world)).toEqual(["app:1", "app:1"]);
    world.behaviours.clear();
    await world.advance(10_000);
    expect(images(world)).toEqual(["app:2", "app:2"]);
    await world.stopLeading();
  });

  test("an image that can't be pulled pauses the update, says which task and why, and takes nothing down", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "reject");
    await world.create("web", 3);
    await world.setImage("web", "app:2");
    await world.advance(600_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1"]);
    const { state, message } = world.service("web").updateStatus!;
    expect(state).toBe(State.PAUSED);
    expect(message).toMatch(
      /^paused, 1 of 3 slots failed with the new spec: in slot 1 the task \w{25} was rejected: no such image$/,
    );
    await world.stopLeading();
  });

  test("an old task that holds what the new one needs is stopped first", async () => {
    const world = await SimulatedCluster.start();
    const resources = { memoryReservationBytes: 5 * 2 ** 30 };
    await world.create("web", 1, { task: { resources }, ports: [{ target: 80, published: 80, mode: 2 }] });
    await world.setImage("web", "app:2");
    expect(images(world)).toEqual(["app:2"]);
    await world.stopLeading();
  });

  test("a constraint that no node meets takes nothing down", async () => {
    const world = await SimulatedCluster.start();
    await world.create("web", 1);
    await world.update("web", (spec) => {
      spec.task!.placement = { constraints: ["node.labels.zone == mars"], maxReplicasPerNode: 0 };
    });
    await world.advance(60_000);
    expect(images(world)).toEqual(["app:1"]);
    expect(world.tasks("web").at(-1)!.status!.message).toBe(
      'waits for a node: 1 of 1 node excluded by constraints: edge-1 fails "node.labels.zone == mars"',
    );
    await world.stopLeading();
  });
});

test("an update while no node takes tasks leaves one task that waits in each slot, and one runs in the end", async () => {
  const world = await SimulatedCluster.start(2);
  await world.setAvailability("edge-1", Availability.DRAIN);
  await world.setAvailability("edge-2", Availability.DRAIN);
  await world.create("web", 2, { update: { parallelism: 0 } });
  await world.setImage("web", "app:2");
  expect(world.tasks("web").map(({ slot, spec }) => [slot, spec!.container!.image])).toEqual([
    [1, "app:2"],
    [2, "app:2"],
  ]);
  const seen = watchRollout(world);
  await world.setAvailability("edge-1", Availability.ACTIVE);
  expect(images(world)).toEqual(["app:2", "app:2"]);
  expect(seen.most).toBe(2);
  await world.stopLeading();
});

test("parallelism and delay set the pace", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 6, { update: { parallelism: 2, delayMs: 10_000 } });
  const seen = watchRollout(world);
  await world.setImage("web", "app:2");
  expect(images(world).filter((image) => image === "app:2")).toHaveLength(2);
  await world.advance(9_999);
  expect(images(world).filter((image) => image === "app:2")).toHaveLength(2);
  await world.advance(1);
  expect(images(world).filter((image) => image === "app:2")).toHaveLength(4);
  await world.advance(10_000);
  expect(images(world).filter((image) => image === "app:2")).toHaveLength(6);
  expect(seen).toEqual({ least: 4, most: 6, moving: 2 });
  await world.stopLeading();
});

test("parallelism 0 replaces all at once", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 5, { update: { parallelism: 0 } });
  const seen = watchRollout(world);
  await world.setImage("web", "app:2");
  expect(seen.moving).toBe(5);
  expect(images(world)).toHaveLength(5);
  await world.stopLeading();
});

test("start-first never runs fewer tasks than wanted", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 3, { update: { order: Order.START_FIRST } });
  const seen = watchRollout(world);
  await world.setImage("web", "app:2");
  expect(images(world)).toEqual(["app:2", "app:2", "app:2"]);
  expect(seen).toMatchObject({ least: 3, most: 4 });
  await world.stopLeading();
});

test("a crash after the monitor is no failure of the update; one within it is", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2, { update: { delayMs: 20_000 } });
  await world.setImage("web", "app:2");
  await world.advance(6_000);
  await world.end(world.slot("web", 1).at(-1)!);
  expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
  await world.advance(26_000);
  expect(images(world)).toEqual(["app:2", "app:2"]);
  await world.advance(4_000);
  await world.end(world.slot("web", 2).at(-1)!);
  expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
  await world.stopLeading();
});

test("as many failures as tolerated do not stop an update; one more does", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 4, { update: { maxFailureRatio: 0.25, order: Order.START_FIRST } });
  world.behaviours.set("app:2", "reject");
  await world.setImage("web", "app:2", false);
  await world.quiet();
  while (!world.events().includes("web.1 rejected")) {
    await world.step();
    await world.quiet();
  }
  world.behaviours.clear();
  await world.advance(20_000);
  expect(images(world)).toEqual(["app:2", "app:2", "app:2", "app:2"]);
  expect(world.service("web").updateStatus!.state).toBe(State.COMPLETED);

  world.behaviours.set("app:3", "reject");
  await world.setImage("web", "app:3");
  expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
  expect(images(world)).toEqual(["app:2", "app:2", "app:2", "app:2"]);
  await world.stopLeading();
});

test("continue goes on whatever fails, and each slot is tried again", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:2", "crash");
  await world.create("web", 3, { update: { failureAction: Action.CONTINUE } });
  await world.setImage("web", "app:2");
  await world.advance(30_000);
  expect(
    new Set(
      world
        .tasks("web")
        .slice(-1)
        .map(({ spec }) => spec!.container!.image),
    ),
  ).toEqual(new Set(["app:2"]));
  expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
  world.behaviours.clear();
  await world.advance(30_000);
  expect(images(world)).toEqual(["app:2", "app:2", "app:2"]);
  expect(world.service("web").updateStatus!.state).toBe(State.COMPLETED);
  await world.stopLeading();
});

describe("rollback", () => {
  test("returns to the spec before and leaves alone what still runs it", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "crash");
    await world.create("web", 4, { update: { failureAction: Action.ROLLBACK } });
    const untouched = world.slot("web", 4)[0]!.meta!.id;
    await world.setImage("web", "app:2");
    await world.advance(30_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1", "app:1"]);
    expect(world.slot("web", 4).map(({ meta }) => meta!.id)).toEqual([untouched]);
    const { updateStatus, specVersion, previousSpec } = world.service("web");
    expect(updateStatus).toMatchObject({ state: State.ROLLED_BACK, specVersion: 3 });
    expect([specVersion, previousSpec]).toEqual([3, undefined]);
    expect(world.events().filter((event) => event.startsWith("web rollback"))).toEqual([
      "web rollback-started",
      "web rollback-completed",
    ]);
    await world.stopLeading();
  });

  test("is never rolled back", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "crash");
    const config = { failureAction: Action.ROLLBACK };
    await world.create("web", 2, { update: config, rollback: config });
    world.behaviours.set("app:1", "crash");
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.ROLLBACK_PAUSED, specVersion: 3 });
    expect(world.service("web").spec!.task!.container!.image).toBe("app:1");
    await world.stopLeading();
  });

  test("with nothing to return to, the update is paused and says so", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "reject");
    await world.create("web", 1, { update: { failureAction: Action.ROLLBACK } });
    await world.store.update((tx) => {
      const service = tx.get("services", "web")!;
      const spec = structuredClone(service.spec)!;
      spec.task!.container!.image = "app:2";
      tx.update("services", { ...service, spec, specVersion: 2 });
    });
    await world.settle();
    expect(world.service("web").updateStatus!.message).toMatch(/; there is no earlier spec to return to$/);
    await world.stopLeading();
  });

  test("that was asked for goes by the rollback's config", async () => {
    const world = await SimulatedCluster.start();
    await world.create("web", 4, { rollback: { parallelism: 0 } });
    await world.setImage("web", "app:2");
    await world.advance(5_000);
    const seen = watchRollout(world);
    await world.store.update((tx) => {
      const service = tx.get("services", "web")!;
      const specVersion = service.specVersion + 1;
      tx.update("services", {
        ...service,
        spec: service.previousSpec,
        previousSpec: service.spec,
        specVersion,
        updateStatus: { ...service.updateStatus!, state: State.ROLLING_BACK, specVersion },
      });
    });
    await world.advance(5_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1", "app:1"]);
    expect(seen.moving).toBe(4);
    expect(world.service("web").updateStatus!.state).toBe(State.ROLLED_BACK);
    await world.stopLeading();
  });
});

describe("while paused", () => {
  async function paused(): Promise<SimulatedCluster> {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "crash");
    await world.create("web", 3);
    await world.setImage("web", "app:2");
    expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
    return world;
  }

  test("slots restart with the spec that they have", async () => {
    const world = await paused();
    await world.end(world.slot("web", 3).at(-1)!);
    await world.advance(6_000);
    expect(images(world)).toEqual(["app:1", "app:1"]);
    await world.stopLeading();
  });

  test("another update begins a new one", async () => {
    const world = await paused();
    await world.setImage("web", "app:3");
    await world.advance(30_000);
    expect(images(world)).toEqual(["app:3", "app:3", "app:3"]);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.COMPLETED, specVersion: 3 });
    await world.stopLeading();
  });
});

test("an update goes on under a new leader from where it stood", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 4, { update: { delayMs: 1_000 } });
  await world.setImage("web", "app:2");
  await world.advance(1_000);
  expect(images(world)).toEqual(["app:2", "app:2", "app:1", "app:1"]);
  const { startedAt } = world.service("web").updateStatus!;
  await world.stopLeading();
  world.lead();
  await world.advance(10_000);
  expect(images(world)).toEqual(["app:2", "app:2", "app:2", "app:2"]);
  expect(world.service("web").updateStatus).toMatchObject({ state: State.COMPLETED, startedAt });
  await world.stopLeading();
});

test("a change of replicas and labels replaces no task", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.update("web", (spec) => {
    spec.labels["tier"] = "front";
    spec.mode!.value.replicas = 3;
  });
  expect(
    world
      .running("web")
      .map(({ meta }) => meta!.id)
      .slice(0, 2),
  ).toEqual(before);
  expect(world.service("web").updateStatus).toBeUndefined();
  await world.stopLeading();
});
