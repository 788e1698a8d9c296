import {
  LeaseState,
  NodeSpec_Availability as Availability,
  TaskState,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
} from "@warren/api";
import { slotNumber } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

function images(world: SimulatedCluster): string[] {
  return world.running("web").map((task) => world.image(task));
}

/** The fewest and the most tasks that ran at once, and the most new ones that were on their way. */
function watchRollout(world: SimulatedCluster): { least: number; most: number; moving: number } {
  const seen = { least: Number.POSITIVE_INFINITY, most: 0, moving: 0 };
  world.onStep = () => {
    const up = [...world.nodes.values()].flatMap(({ running }) => running);
    seen.least = Math.min(seen.least, up.length);
    seen.most = Math.max(seen.most, up.length);
    const moving = world
      .tasks("web")
      .filter(
        ({ status, versionId }) => versionId === world.service("web").versionId && status!.state < TaskState.RUNNING,
      );
    seen.moving = Math.max(seen.moving, moving.length);
  };
  return seen;
}

/** Every version that was wanted before counts as completed. */
async function completed(world: SimulatedCluster): Promise<void> {
  await world.advance(6_000);
  expect(world.service("web").completedVersionIds[0]).toBe(world.service("web").versionId);
}

describe("by default", () => {
  test("one slot at a time, the old task stops before the new one starts, the monitor gates the next", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 3);
    await completed(world);
    const seen = watchRollout(world);
    await world.setImage("web", "app:2");
    for (let replaced = 1; replaced <= 3; replaced += 1) {
      expect(images(world).filter((image) => image === "app:2")).toHaveLength(replaced);
      await world.advance(4_999);
      expect(images(world).filter((image) => image === "app:2")).toHaveLength(replaced);
      expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
      await world.advance(1);
    }
    expect(seen).toEqual({ least: 2, most: 3, moving: 1 });
    expect(world.service("web").updateStatus).toMatchObject({ state: State.COMPLETED, versionId: "web-v2" });
    expect(world.events().filter((event) => event.startsWith("web update"))).toEqual([
      "web update-started",
      "web update-completed",
    ]);
    expect(world.service("web").completedVersionIds).toEqual(["web-v2", "web-v1"]);
    await world.stopLeading();
  });

  test("an old task is stopped only when the image of the new one is there", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "stall");
    await world.create("web", 2);
    await world.setImage("web", "app:2");
    await world.advance(500_000);
    expect(images(world)).toEqual(["app:1", "app:1"]);
    world.behaviours.clear();
    await world.advance(20_000);
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
      /^paused, 1 of 3 slots failed with the new version: in web.1 the task \w{25} was rejected: no such image$/,
    );
    expect(world.slots("web").flatMap(({ leases }) => leases.filter((lease) => lease.state <= 3))).toHaveLength(3);
    await world.stopLeading();
  });

  test("what the old task holds is free for the new one, which takes over once it is prepared", async () => {
    const world = await SimulatedCluster.start();
    const resources = { memoryReservationBytes: 5 * 2 ** 30 };
    await world.create("web", 1, { task: { resources }, ports: [{ target: 80, published: 80, mode: 2 }] });
    await world.setImage("web", "app:2");
    expect(images(world)).toEqual(["app:2"]);
    await world.stopLeading();
  });

  test.each([0, 1, 2])(
    "an old task stops only if the new one fits once it is gone, with parallelism %i; the service says what blocks it",
    async (parallelism) => {
      const world = await SimulatedCluster.start();
      await world.create("web", 3, { update: { parallelism, progressDeadlineMs: 120_000 } });
      const seen = watchRollout(world);
      await world.update("web", (spec) => {
        spec.task!.resources = { ...spec.task!.resources!, memoryReservationBytes: 64 * 2 ** 30 };
      });
      expect(world.service("web").updateStatus!.blocked).toMatch(
        /^web.1: waits for a node: 1 of 1 node short of memory/,
      );
      await world.advance(119_000);
      expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
      await world.advance(1_000);
      expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
      expect(world.service("web").updateStatus!.message).toMatch(
        /^paused, no progress for 2 min: web.1: waits for a node: 1 of 1 node short of memory/,
      );
      await world.advance(600_000);
      expect(images(world)).toEqual(["app:1", "app:1", "app:1"]);
      expect(seen.least).toBe(3);
      await world.stopLeading();
    },
  );

  test("a change of placement alone moves what no longer fits, and nothing else", async () => {
    const world = await SimulatedCluster.start(0);
    await world.addNode("edge-1", { spec: { labels: { zone: "north" } } });
    await world.addNode("edge-2");
    await world.create("web", 4);
    await completed(world);
    const before = new Map(world.running("web").map((task) => [task.slotId, task]));
    await world.update("web", (spec) => {
      spec.task!.placement = { constraints: ["node.labels.zone == north"], maxReplicasPerNode: 0 };
    });
    await world.advance(10_000);
    for (const task of world.running("web")) {
      const old = before.get(task.slotId)!;
      if (old.nodeId === "edge-1") expect(task.meta!.id).toBe(old.meta!.id);
      else expect(task.nodeId).toBe("edge-1");
    }
    expect(world.running("web")).toHaveLength(4);
    expect(world.service("web").updateStatus!.message).toBe("no task had to be replaced");
    await world.stopLeading();
  });

  test("a lower limit of tasks a node moves only as many as are too many", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 3);
    const before = world.running("web").map(({ meta }) => meta!.id);
    await world.addNode("edge-2");
    await world.update("web", (spec) => {
      spec.task!.placement = { constraints: [], maxReplicasPerNode: 2 };
    });
    await world.advance(10_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).toEqual(["edge-1", "edge-1", "edge-2"]);
    expect(world.running("web").filter(({ meta }) => before.includes(meta!.id))).toHaveLength(2);
    await world.stopLeading();
  });

  test("a change of the restart policy alone replaces nothing", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 2);
    const before = world.running("web").map(({ meta }) => meta!.id);
    await world.update("web", (spec) => {
      spec.task!.restart = { condition: 1, maxAttempts: 3, windowMs: 0 };
    });
    await world.advance(10_000);
    expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
    await world.stopLeading();
  });
});

describe("a new version whose container ends with code 0", () => {
  test("counts as failed where the task should go on running, and is rolled back", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "complete");
    await world.create("web", 3, { update: { failureAction: Action.ROLLBACK } });
    await completed(world);
    const seen = watchRollout(world);
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1"]);
    expect(world.service("web").updateStatus!.state).toBe(State.ROLLED_BACK);
    expect(seen.least).toBeGreaterThanOrEqual(2);
    await world.stopLeading();
  });

  test("is no failure where the restart policy is on-failure: completing is what it is for", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "complete");
    await world.create("web", 2, { task: { restart: { condition: 2 } }, update: { failureAction: Action.ROLLBACK } });
    await completed(world);
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(world.service("web").updateStatus!.state).toBe(State.COMPLETED);
    await world.stopLeading();
  });
});

test("start-first waits beside what it can't fit, says so, and its failure action applies after the deadline", async () => {
  const world = await SimulatedCluster.start();
  const config = { order: Order.START_FIRST, progressDeadlineMs: 60_000, failureAction: Action.ROLLBACK };
  await world.create("web", 1, { update: config, ports: [{ target: 80, published: 80, mode: 2 }] });
  await completed(world);
  await world.setImage("web", "app:2");
  expect(world.service("web").updateStatus!.blocked).toMatch(/^web.1: waits for a node: 1 of 1 node .*80\/tcp/);
  await world.advance(70_000);
  expect(world.service("web").updateStatus!.state).toBe(State.ROLLED_BACK);
  expect(images(world)).toEqual(["app:1"]);
  await world.stopLeading();
});

test("an update while no node takes tasks leaves one task that waits in each slot, and one runs in the end", async () => {
  const world = await SimulatedCluster.start(2);
  await world.setAvailability("edge-1", Availability.DRAIN);
  await world.setAvailability("edge-2", Availability.DRAIN);
  await world.create("web", 2, { update: { parallelism: 0 } });
  await world.setImage("web", "app:2");
  expect(world.tasks("web").map((task) => [slotNumber(task.slot), world.image(task)])).toEqual([
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
  await world.advance(20_000);
  expect(images(world)).toEqual(["app:2", "app:2", "app:2"]);
  expect(seen).toMatchObject({ least: 3, most: 4 });
  await world.stopLeading();
});

test("a crash after the monitor is no failure of the update; one within it is", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2, { update: { delayMs: 20_000 } });
  await world.setImage("web", "app:2");
  await world.advance(6_000);
  await world.end(world.tasksOf("web", 1).at(-1)!, { ranMs: 6_000 });
  expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
  await world.advance(26_000);
  expect(images(world)).toEqual(["app:2", "app:2"]);
  await world.advance(4_000);
  await world.end(world.tasksOf("web", 2).at(-1)!, { ranMs: 4_000 });
  expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
  await world.stopLeading();
});

test("as many failures as tolerated do not stop an update; one more does", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 4, { update: { maxFailureRatio: 0.25, parallelism: 2 } });
  await completed(world);
  await world.setImage("web", "app:2");
  await world.end(world.tasksOf("web", 1).at(-1)!, { ranMs: 100 });
  await world.advance(60_000);
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
        .map((task) => world.image(task)),
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
  test("returns to the version before and leaves alone what still runs it", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "crash");
    await world.create("web", 4, { update: { failureAction: Action.ROLLBACK } });
    await completed(world);
    const untouched = world.tasksOf("web", 4)[0]!.meta!.id;
    await world.setImage("web", "app:2");
    await world.advance(30_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1", "app:1"]);
    expect(world.tasksOf("web", 4).map(({ meta }) => meta!.id)).toEqual([untouched]);
    const { updateStatus, specVersion, versionId, spec } = world.service("web");
    expect(updateStatus).toMatchObject({ state: State.ROLLED_BACK, versionId: "web-v1", rollback: true });
    // Only users' changes count as such.
    expect([specVersion, versionId, spec!.task!.container!.image]).toEqual([2, "web-v1", "app:1"]);
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
    await completed(world);
    world.behaviours.set("app:1", "crash");
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.ROLLBACK_PAUSED, versionId: "web-v1" });
    expect(world.service("web").spec!.task!.container!.image).toBe("app:1");
    await world.stopLeading();
  });

  test("with no version that completed, the update is paused and says so", async () => {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:1", "crash");
    world.behaviours.set("app:2", "reject");
    await world.create("web", 1, { update: { failureAction: Action.ROLLBACK } });
    await world.setImage("web", "app:2");
    expect(world.service("web").updateStatus!.message).toMatch(
      /; there is no earlier version that completed to return to$/,
    );
    await world.stopLeading();
  });

  test("that was asked for goes by the rollback's config, and drains after it by the update's", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 4, {
      update: { parallelism: 0 },
      rollback: { parallelism: 0, order: Order.START_FIRST },
    });
    await completed(world);
    await world.setImage("web", "app:2");
    await completed(world);
    const seen = watchRollout(world);
    await world.rollback("web");
    await world.advance(6_000);
    expect(images(world)).toEqual(["app:1", "app:1", "app:1", "app:1"]);
    expect(seen).toMatchObject({ moving: 4, most: 8 });
    expect(world.service("web").updateStatus!.state).toBe(State.ROLLED_BACK);
    const drained = watchRollout(world);
    await world.setAvailability("edge-1", Availability.DRAIN);
    await world.advance(6_000);
    expect(drained.most).toBe(4);
    await world.stopLeading();
  });
});

describe("while paused", () => {
  async function paused(): Promise<SimulatedCluster> {
    const world = await SimulatedCluster.start();
    world.behaviours.set("app:2", "crash");
    await world.create("web", 3);
    await completed(world);
    await world.setImage("web", "app:2");
    expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
    return world;
  }

  test("a slot that loses its lease keeps the version that it has", async () => {
    const world = await paused();
    await world.store.update((tx) => {
      const slot = tx.get("slots", "web.3")!;
      const leases = slot.leases.map((lease) => ({
        ...lease,
        state: LeaseState.RELEASED,
        since: new Date(world.clock.now()),
      }));
      tx.update("slots", { ...slot, leases });
    });
    await world.advance(6_000);
    expect(world.slot("web", 3)!.leases.at(-1)!.versionId).toBe("web-v1");
    expect(images(world)).toEqual(["app:1", "app:1"]);
    await world.stopLeading();
  });

  test("another update begins a new one", async () => {
    const world = await paused();
    await world.setImage("web", "app:3");
    await world.advance(30_000);
    expect(images(world)).toEqual(["app:3", "app:3", "app:3"]);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.COMPLETED, versionId: "web-v3" });
    await world.stopLeading();
  });
});

test("an update goes on under a new leader from where it stood", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 4, { update: { delayMs: 1_000, monitorMs: 0 } });
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

test("a rollout ends though its tasks never run all at once, as each ends after a while and is started again", async () => {
  const world = await SimulatedCluster.start();
  const restart = { delayMs: 30_000 };
  await world.create("web", 2, { task: { restart }, update: { monitorMs: 3_000, parallelism: 0 } });
  await completed(world);
  await world.setImage("web", "app:2");
  for (let round = 0; round < 2; round += 1) {
    // Each in its own half of the wait of the other.
    for (const number of [1, 2]) {
      await world.advance(1_000);
      const running = world.running("web").filter(({ slot }) => slotNumber(slot) !== number);
      for (const task of running) await world.end(task, { complete: true, ranMs: 4_000 });
      await world.advance(15_000);
    }
  }
  expect(world.service("web").updateStatus!.state).toBe(State.COMPLETED);
  await world.stopLeading();
});

describe("after a rollback that followed by itself", () => {
  test("the status says what the other version died of, until the next update", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 2, { update: { failureAction: Action.ROLLBACK } });
    await completed(world);
    world.behaviours.set("app:2", "crash");
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    const cause = {
      cause: expect.stringMatching(
        /^1 of 2 slots failed with the new version: in web\.[12] the task [0-9a-z]{25} failed with exit code 1$/,
      ),
      failedSlot: { key: { $case: "number" } },
      failedEnd: { exitCode: 1, rejected: false },
    };
    const rolledBack = { state: State.ROLLED_BACK, fromVersionId: "web-v2", versionId: "web-v1" };
    expect(world.service("web").updateStatus).toMatchObject({ ...rolledBack, ...cause });
    expect(world.service("web").updateStatus!.message).toBe("replaced 1 of 2 tasks");
    // Drains, moves and scaling are no updates.
    await world.scale("web", 3);
    await world.setAvailability("edge-1", Availability.DRAIN);
    await world.advance(60_000);
    expect(world.service("web").updateStatus).toMatchObject({ ...rolledBack, ...cause });
    await world.setImage("web", "app:3");
    expect(world.service("web").updateStatus).toMatchObject({ cause: "", failedSlot: undefined, failedEnd: undefined });
    await world.stopLeading();
  });

  test("a version that could not be placed has a cause and no slot that failed", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1, { update: { failureAction: Action.ROLLBACK, progressDeadlineMs: 30_000 } });
    await completed(world);
    await world.update("web", (spec) => {
      spec.task!.container!.image = "app:2";
      spec.task!.placement = { constraints: ["node.labels.zone == south"], maxReplicasPerNode: 0 };
    });
    await world.advance(60_000);
    const status = world.service("web").updateStatus!;
    expect(status).toMatchObject({ state: State.ROLLED_BACK, failedSlot: undefined, failedEnd: undefined });
    expect(status.cause).toMatch(/^no progress for 30 s: web\.1: waits for a node: /);
    await world.stopLeading();
  });
});

describe("an edit that leaves the containers as they are, as of the placement", () => {
  const place = (world: SimulatedCluster): Promise<void> =>
    world.update("web", (spec) => void (spec.task!.placement = { constraints: [], maxReplicasPerNode: 5 }));

  test("in the middle of an update: it goes on, and what fails then is rolled back", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 2, { update: { failureAction: Action.ROLLBACK } });
    await completed(world);
    await world.setImage("web", "app:2");
    await world.advance(7_000);
    expect(images(world)).toEqual(["app:2", "app:2"]);
    const { startedAt, sinceIndex } = world.service("web").updateStatus!;
    await place(world);
    expect(world.service("web")).toMatchObject({
      versionId: "web-v3",
      completedVersionIds: ["web-v1"],
      updateStatus: { state: State.UPDATING, versionId: "web-v3", startedAt, sinceIndex },
    });
    await world.end(world.running("web")[1]!, { ranMs: 3_000 });
    expect(world.service("web").versionId).toBe("web-v1");
    await world.advance(30_000);
    expect(images(world)).toEqual(["app:1", "app:1"]);
    expect(world.service("web").completedVersionIds).toEqual(["web-v1"]);
    await world.stopLeading();
  });

  test("of a version that failed: it does not count as completed", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1, { update: { progressDeadlineMs: 60_000 } });
    await completed(world);
    world.behaviours.set("app:2", "crash");
    await world.setImage("web", "app:2");
    await world.advance(10_000);
    expect(world.service("web").updateStatus!.state).toBe(State.PAUSED);
    await place(world);
    expect(world.service("web").updateStatus!.message).toBe("nothing has to be replaced; watching what runs");
    await world.advance(30_000);
    expect(world.service("web").completedVersionIds).toEqual(["web-v1"]);
    await world.advance(40_000);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.PAUSED, versionId: "web-v3" });
    world.behaviours.clear();
    await world.update("web", (spec) => void (spec.task!.placement = { constraints: [], maxReplicasPerNode: 6 }));
    await world.advance(60_000);
    expect(world.service("web").updateStatus).toMatchObject({ state: State.COMPLETED, versionId: "web-v4" });
    expect(world.service("web").completedVersionIds).toEqual(["web-v4", "web-v1"]);
    await world.stopLeading();
  });

  test("of a version that completed: nothing had to be replaced", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1);
    await completed(world);
    await place(world);
    expect(world.service("web")).toMatchObject({
      completedVersionIds: ["web-v2", "web-v1"],
      updateStatus: { state: State.COMPLETED, message: "no task had to be replaced" },
    });
    await world.stopLeading();
  });
});
