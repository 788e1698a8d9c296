import {
  LeaseState,
  NodeSpec,
  NodeSpec_Availability as Availability,
  RestartPolicy_Condition,
  TaskState,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
} from "@warren/api";
import { isStanding, taskStateText } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

/** Node, and state of the newest run, of each container that is there. */
function containers(world: SimulatedCluster): string[] {
  return [...world.nodes.values()].flatMap((node) =>
    [...node.leases.values()].map(({ run }) => `${node.id} ${taskStateText(run.status.state)}`),
  );
}

async function until(world: SimulatedCluster, holds: () => boolean): Promise<void> {
  for (let steps = 0; steps < 50 && !holds(); steps += 1) {
    await world.step();
    await world.quiet();
  }
  expect(holds()).toBe(true);
}

describe("L1", () => {
  test("whatever follows whatever, a slot has at most one current and one incoming lease", async () => {
    const world = await SimulatedCluster.start(3);
    await world.create("web", 2, { update: { order: Order.START_FIRST } });
    let most = 0;
    world.onStep = () => {
      for (const { leases } of world.slots("web")) most = Math.max(most, leases.filter(isStanding).length);
    };
    world.behaviours.set("app:2", "stall");
    await world.setImage("web", "app:2");
    for (const edit of ["app:3", "app:2", "app:4"]) {
      await world.setAvailability("edge-1", Availability.DRAIN, false);
      await world.setImage("web", edit, false);
      await world.quiet();
      await world.step();
    }
    await world.advance(120_000);
    expect(most).toBe(2);
    expect(world.running("web").map((task) => world.image(task))).toEqual(["app:4", "app:4"]);
    await world.stopLeading();
  });
});

describe("L2: stop-first", () => {
  test("on one node the incoming lease is held after the outgoing one, and the node makes the hand-over cut off", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1);
    await world.setImage("web", "app:2", false);
    await until(world, () => world.leases("web", 1).join() === "releasing@edge-1,held@edge-1");
    const [outgoing, incoming] = world.slot("web", 1)!.leases;
    expect(incoming!.after).toEqual(outgoing!.epoch);
    world.node("edge-1").receive(world.view);
    await world.down("edge-1", false, { off: false });
    for (let steps = 0; steps < 10; steps += 1) {
      await world.step();
      expect(world.node("edge-1").running.length).toBeLessThanOrEqual(1);
    }
    expect(world.node("edge-1").running.map(({ image }) => image)).toEqual(["app:2"]);
    await world.stopLeading();
  });

  test("on another node it is held once all others that were held are released: the end of a run releases nothing", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1);
    const old = world.running("web")[0]!;
    world.stubborn.add(old.meta!.id);
    await world.setAvailability(old.nodeId, Availability.DRAIN);
    const other = old.nodeId === "edge-1" ? "edge-2" : "edge-1";
    expect(world.leases("web", 1)).toEqual([`releasing@${old.nodeId}`, `offered@${other}`]);
    await world.end(old);
    expect(world.view.get("tasks", old.meta!.id)!.status!.state).toBe(TaskState.FAILED);
    expect(world.leases("web", 1)).toEqual([`releasing@${old.nodeId}`, `offered@${other}`]);
    world.stubborn.clear();
    await world.settle();
    expect(world.leases("web", 1)).toEqual([`held@${other}`]);
    await world.stopLeading();
  });

  test("the current lease is not told to stop before the incoming one is prepared", async () => {
    const world = await SimulatedCluster.start(2);
    world.behaviours.set("app:2", "stall");
    await world.create("web", 1);
    await world.setImage("web", "app:2");
    await world.advance(300_000);
    expect(world.leases("web", 1)[0]).toMatch(/^held@/);
    expect(world.leases("web", 1)[1]).toMatch(/^offered@/);
    expect(world.running("web").map((task) => world.image(task))).toEqual(["app:1"]);
    await world.stopLeading();
  });
});

test("L3: start-first holds the incoming lease beside the current one, which goes once it has run for the monitor", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 1, { update: { order: Order.START_FIRST, monitorMs: 7_000 } });
  await world.setImage("web", "app:2");
  expect(world.leases("web", 1)).toEqual(["held@edge-1", "held@edge-1"]);
  expect(containers(world)).toHaveLength(2);
  await world.advance(6_999);
  expect(world.leases("web", 1)).toHaveLength(2);
  await world.advance(1);
  expect(world.leases("web", 1)).toEqual(["held@edge-1"]);
  expect(world.running("web").map((task) => world.image(task))).toEqual(["app:2"]);
  await world.stopLeading();
});

describe("L4", () => {
  test("an offer that is withdrawn goes to released, with its reason", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1);
    world.behaviours.set("app:2", "stall");
    await world.setImage("web", "app:2");
    await world.setImage("web", "app:1");
    const [, withdrawn] = world.slot("web", 1)!.leases;
    expect(withdrawn!.state).toBe(LeaseState.RELEASED);
    expect(world.leases("web", 1)).toHaveLength(1);
    expect(world.tasks("web").at(-1)!.status).toMatchObject({
      state: TaskState.SHUTDOWN,
      message: "withdrawn before it was started: another version is wanted",
    });
    expect(containers(world)).toHaveLength(1);
    await world.stopLeading();
  });

  test("an offer that the node refuses is withdrawn, and another made by back-off", async () => {
    const world = await SimulatedCluster.start(1);
    world.behaviours.set("app:2", "stall");
    await world.create("web", 1, { update: { failureAction: Action.CONTINUE } });
    await world.setImage("web", "app:2");
    const refused = [...world.node("edge-1").leases.values()].find(({ image }) => image === "app:2")!;
    refused.settled = "its volume is missing";
    refused.run.status = { ...refused.run.status, state: TaskState.REJECTED };
    await world.settle();
    expect(world.slot("web", 1)!.leases.at(-1)!.state).toBe(LeaseState.RELEASED);
    expect(world.slot("web", 1)!.settled).toBe("");
    expect(world.slot("web", 1)!.retryAt!.getTime()).toBeGreaterThan(world.clock.now());
    world.behaviours.clear();
    await world.advance(20_000);
    expect(world.running("web").map((task) => world.image(task))).toEqual(["app:2"]);
    await world.stopLeading();
  });
});

test("L4: what a lease settled with is not held against the one that comes in beside it", async () => {
  const world = await SimulatedCluster.start(1);
  const restart = { maxAttempts: 1, delayMs: 1_000 };
  await world.create("web", 1, { task: { restart }, update: { failureAction: Action.CONTINUE } });
  world.behaviours.set("app:2", "stall");
  await world.setImage("web", "app:2");
  await world.end(world.running("web")[0]!);
  await world.advance(2_000);
  await world.end(world.running("web")[0]!);
  world.behaviours.clear();
  await world.advance(20_000);
  const [first] = world.running("web");
  expect(world.image(first!)).toBe("app:2");
  expect(world.slot("web", 1)!.settled).toBe("");
  // Its first restart is within its own count.
  await world.end(first!);
  await world.advance(5_000);
  expect(world.running("web").map((task) => world.image(task))).toEqual(["app:2"]);
  await world.stopLeading();
});

test("L4: a lease that settles while its slot is moved ends the move: what is done is not done again elsewhere", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { task: { restart: { condition: RestartPolicy_Condition.NONE } } });
  const [only] = world.running("web");
  // The replacement takes its time to be prepared.
  world.behaviours.set("app:1", "stall");
  await world.setAvailability(only!.nodeId, Availability.DRAIN);
  expect(world.leases("web", 1)).toHaveLength(2);
  await world.end(only!, { exitCode: 0, complete: true });
  world.behaviours.clear();
  await world.advance(60_000);
  expect(world.slot("web", 1)!.settled).not.toBe("");
  expect(world.running("web")).toEqual([]);
  expect(world.tasksOf("web", 1).filter(({ status }) => status?.state === TaskState.COMPLETE)).toHaveLength(1);
  expect(containers(world)).toHaveLength(0);
  await world.stopLeading();
});

describe("L5: progress deadline", () => {
  test("an incoming lease that does not run in time is released, the current one stays, and it is tried again", async () => {
    const world = await SimulatedCluster.start(3);
    await world.create("web", 1, { update: { progressDeadlineMs: 60_000 } });
    const old = world.running("web")[0]!;
    world.behaviours.set("app:1", "stall");
    await world.setAvailability(old.nodeId, Availability.DRAIN);
    const first = world.slot("web", 1)!.leases[1]!;
    await world.advance(60_000);
    expect(world.slot("web", 1)!.leases.find(({ epoch }) => epoch!.index === first.epoch!.index)!.state).toBe(
      LeaseState.RELEASED,
    );
    expect(world.running("web").map(({ meta }) => meta!.id)).toEqual([old.meta!.id]);
    const event = world.view.list("events").findLast(({ action }) => action === "given-up")!;
    expect(event.message).toBe(
      "it did not run within 60 s: the task is preparing; the task that it was to replace stays",
    );
    // After a back-off: none is offered before.
    const { retryAt } = world.slot("web", 1)!;
    expect(retryAt!.getTime()).toBeGreaterThan(world.clock.now());
    const offers = (): number => world.slot("web", 1)!.leases.filter(({ nodeId }) => nodeId !== "").length;
    const before = offers();
    await world.advance(retryAt!.getTime() - world.clock.now() - 100);
    expect(offers()).toBe(before);
    await world.advance(200);
    expect(offers()).toBe(before + 1);
    world.behaviours.clear();
    await world.advance(10_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).not.toContain(old.nodeId);
    await world.stopLeading();
  });
});

describe("L8: addresses", () => {
  test("an address stays with the lease through its runs", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1);
    const { address } = world.slot("web", 1)!.leases[0]!;
    await world.end(world.running("web")[0]!);
    await world.advance(10_000);
    expect(world.running("web")[0]!.status!.container!.address).toBe(address);
    expect(address).toBe("10.77.0.2");
    await world.stopLeading();
  });

  test("it rests for 60 s once the lease is released, also where every other one is taken", async () => {
    const world = await SimulatedCluster.start(1);
    // Of a /24 leases have 253.
    await world.create("web", 253);
    expect(new Set(world.running("web").map(({ status }) => status!.container!.address)).size).toBe(253);
    const { address } = world.slot("web", 253)!.leases[0]!;
    await world.scale("web", 252);
    await world.create("api", 1);
    await world.advance(50_000);
    expect(world.running("api")).toHaveLength(0);
    expect(world.tasks("api")[0]!.status!.message).toBe(
      "waits for a node: each of the 253 addresses of edge-1 is taken or rests",
    );
    await world.advance(15_000);
    expect(world.slot("api", 1)!.leases[0]!.address).toBe(address);
    expect(world.running("api")).toHaveLength(1);
    await world.stopLeading();
  });

  test("a lease that waited has its address to itself, though a later one that is over had it before", async () => {
    const world = await SimulatedCluster.start(1);
    await world.create("late", 1, { task: { placement: { constraints: ["node.labels.room == yes"] } } });
    await world.create("once", 1, { task: { restart: { condition: RestartPolicy_Condition.NONE } } });
    await world.end(world.running("once")[0]!);
    await world.advance(70_000);
    const [over] = world.slot("once", 1)!.leases;
    expect(over!.state).toBe(LeaseState.RELEASED);
    // The search for a free address begins anew with each term.
    await world.restart();
    // A new leader does not know how long it has rested.
    await world.advance(60_000);
    await world.changeNode("edge-1", () => ({ spec: NodeSpec.fromPartial({ labels: { room: "yes" } }) }));
    expect(world.slot("late", 1)!.leases[0]!.address).toBe(over!.address);
    await world.restart();
    await world.create("web", 1);
    expect(world.running("late")).toHaveLength(1);
    expect(world.slot("web", 1)!.leases[0]!.address).not.toBe(over!.address);
    await world.stopLeading();
  });
});

describe("L9: a lease that keeps failing", () => {
  test("after three failures in a row it moves to a node that has not failed the version; its record goes with it", async () => {
    const world = await SimulatedCluster.start(2);
    world.behaviours.set("app:1@edge-1", "crash");
    await world.create("web", 2, { task: { restart: { delayMs: 1_000 } } });
    await world.advance(30_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).toEqual(["edge-2", "edge-2"]);
    const moved = world
      .slots("web")
      .find(({ leases }) => leases.some(({ cause }) => cause.startsWith("the slot moves")))!;
    expect(moved.leases.at(-1)).toMatchObject({
      cause: "the slot moves, since it failed there 3 times in a row",
      initialRecord: { failures: 3, restarts: 3 },
    });
    await world.stopLeading();
  });

  test("where there is no other node it stays, and the lease that waits says why", async () => {
    const world = await SimulatedCluster.start(1);
    world.behaviours.set("app:1", "crash");
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    await world.advance(30_000);
    expect(world.leases("web", 1)).toEqual(["held@edge-1", "wanted@"]);
    const waits = world.tasks("web").find(({ nodeId }) => nodeId === "")!;
    expect(waits.status!.message).toBe(
      "waits for a node: 1 of 1 node ruled out, as the task is to leave it or failed there lately: edge-1",
    );
    await world.stopLeading();
  });

  test("where it has failed on each node it stays for the back-off, however many tasks it has lost since", async () => {
    const world = await SimulatedCluster.start(2);
    world.behaviours.set("app:1", "crash");
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    const leases = new Set<number>();
    world.onStep = () => {
      for (const { epoch, wasHeld } of world.slot("web", 1)!.leases) if (wasHeld) leases.add(epoch!.index);
    };
    await world.advance(290_000);
    expect(leases.size).toBe(2);
    // Then where it failed first, and after that where it failed next.
    await world.advance(60_000);
    expect(leases.size).toBeGreaterThanOrEqual(3);
    expect(leases.size).toBeLessThanOrEqual(4);
    await world.stopLeading();
  });

  test("the move is dropped when the old one runs before the new one is ready", async () => {
    const world = await SimulatedCluster.start(1);
    world.behaviours.set("app:1", "crash");
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    await world.advance(10_000);
    expect(world.leases("web", 1)).toHaveLength(2);
    world.behaviours.clear();
    await world.advance(15_000);
    expect(world.leases("web", 1)).toEqual(["held@edge-1"]);
    expect(world.running("web")).toHaveLength(1);
    await world.stopLeading();
  });

  test("what runs count while another lease is only offered goes with the slot, also where that offer comes to nothing", async () => {
    const world = await SimulatedCluster.start(3);
    world.behaviours.set("app:1@edge-1", "crash").set("app:1@edge-2", "stall").set("app:1@edge-3", "stall");
    for (const node of ["edge-2", "edge-3"]) await world.setAvailability(node, Availability.DRAIN);
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } }, update: { progressDeadlineMs: 30_000 } });
    await world.setAvailability("edge-2", Availability.ACTIVE);
    await world.advance(20_000);
    expect(world.leases("web", 1)).toEqual(["held@edge-1", "offered@edge-2"]);
    const [first, offer] = world.slot("web", 1)!.leases;
    expect(offer!.initialRecord!.restarts).toBeLessThan(first!.record!.restarts);
    // The offer is given up, and another stands on another node.
    await world.setAvailability("edge-2", Availability.DRAIN);
    await world.setAvailability("edge-3", Availability.ACTIVE);
    await world.advance(60_000);
    expect(world.leases("web", 1)).toEqual(["held@edge-1", "offered@edge-3"]);
    expect(world.slot("web", 1)!.leases.at(-1)!.initialRecord!.restarts).toBeGreaterThan(first!.record!.restarts);
    world.behaviours.delete("app:1@edge-3");
    await world.advance(1_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).toEqual(["edge-3"]);
    const { leases } = world.slot("web", 1)!;
    const [released, held] = [leases.find(({ nodeId }) => nodeId === "edge-1")!, leases.at(-1)!];
    const { restarts, failures, runs } = released.record!;
    expect(held.initialRecord).toMatchObject({ restarts, failures, runs });
    // The node goes on from it, and not from what it was offered with.
    expect(held.record).toMatchObject({ restarts, failures, runs: runs + 1 });
    await world.stopLeading();
  });

  test("rejections of offers go on counting, whatever the task that they were to replace reports: back-off grows", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    const [old] = world.running("web");
    world.behaviours.set("app:1", "reject");
    await world.setAvailability(old!.nodeId, Availability.DRAIN);
    const waits: number[] = [];
    for (let tries = 0; tries < 4; tries += 1) {
      for (let second = 0; second < 900 && world.slot("web", 1)!.retryAt === undefined; second += 1) {
        await world.advance(1_000);
        // A report of the current lease, each second.
        await world.store.update((tx) => {
          const slot = tx.resolve("slots", "web.1");
          const [current, ...others] = slot.leases;
          const record = { ...current!.record!, rejections: 0, windowMs: second };
          tx.update("slots", { ...slot, leases: [{ ...current!, record }, ...others] });
        });
      }
      waits.push(Math.round(world.slot("web", 1)!.retryWaitMs / 1_100));
      await world.advance(world.slot("web", 1)!.retryWaitMs + 1);
    }
    expect(waits[0]).toBeGreaterThanOrEqual(3);
    expect(waits[1]).toBeGreaterThan(4 * waits[0]!);
    expect(waits[2]).toBeGreaterThan(waits[1]!);
    expect(world.running("web").map(({ meta }) => meta!.id)).toEqual([old!.meta!.id]);
    // Once it has moved, the row is over.
    world.behaviours.clear();
    await world.advance(700_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).not.toContain(old!.nodeId);
    await world.stopLeading();
  });

  test("start-first: the new one's failures count for the next try of it, and not for the one that runs", async () => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1, {
      task: { restart: { delayMs: 1_000 } },
      update: { order: Order.START_FIRST, failureAction: Action.CONTINUE },
    });
    world.behaviours.set("app:2", "crash");
    await world.setImage("web", "app:2");
    await world.advance(120_000);
    const { leases } = world.slot("web", 1)!;
    expect(leases[0]!.record).toMatchObject({ restarts: 0, failures: 0, runs: 1 });
    const tries = leases.slice(1).filter(({ wasHeld }) => wasHeld);
    expect(tries.length).toBeGreaterThan(1);
    expect(tries.at(-1)!.initialRecord!.restarts).toBeGreaterThanOrEqual(3);
    expect(tries.at(-1)!.initialRecord!.restarts).toBe(tries.at(-2)!.record!.restarts);
    expect(world.running("web").map((task) => world.image(task))).toContain("app:1");
    await world.stopLeading();
  });

  test("another version begins with an empty record, but for the count of runs", async () => {
    const world = await SimulatedCluster.start(1);
    world.behaviours.set("app:1", "crash");
    await world.create("web", 1, { task: { restart: { delayMs: 1_000 } } });
    await world.advance(10_000);
    await world.setImage("web", "app:2");
    await world.advance(20_000);
    const { initialRecord } = world.slot("web", 1)!.leases.findLast(({ state }) => state === LeaseState.HELD)!;
    expect(initialRecord).toMatchObject({ failures: 0, restarts: 0, rejections: 0 });
    expect(initialRecord!.runs).toBeGreaterThan(3);
    await world.stopLeading();
  });
});

test("L11: a node that has not released by its stop grace and 30 s is named, and not waited for", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { task: { container: { stopGraceMs: 5_000 } } });
  const old = world.running("web")[0]!;
  world.stubborn.add(old.meta!.id);
  await world.setAvailability(old.nodeId, Availability.DRAIN);
  await world.advance(34_999);
  expect(world.running("web")).toHaveLength(0);
  await world.advance(1);
  expect(world.running("web")).toHaveLength(1);
  const event = world.view.list("events").findLast(({ action }) => action === "not-waited-for")!;
  expect(event.message).toBe(
    `starts though one on another node may still run, since ${old.nodeId} has not released it within 35 s`,
  );
  await world.stopLeading();
});

describe("L2, L11: a lease that its node is late to release", () => {
  /** One task, which does not stop, on its only node; its successor is wanted there. */
  async function stuck(): Promise<{ world: SimulatedCluster; oldId: string; most: () => number }> {
    const world = await SimulatedCluster.start(1);
    await world.create("web", 1, { task: { container: { stopGraceMs: 5_000 } } });
    const oldId = world.running("web")[0]!.meta!.id;
    world.stubborn.add(oldId);
    let most = 0;
    world.onStep = () => (most = Math.max(most, world.node("edge-1").running.length));
    return { world, oldId, most: () => most };
  }

  test.each<[string, (world: SimulatedCluster) => Promise<void>]>([
    [
      "after the slot was given up and wanted again",
      async (world) => {
        await world.scale("web", 0);
        await world.advance(60_000);
        await world.scale("web", 1);
      },
    ],
    [
      "in an update",
      async (world) => {
        await world.setImage("web", "app:2");
        await world.advance(60_000);
      },
    ],
    [
      "in an update that is asked for once it is late",
      async (world) => {
        await world.scale("web", 0);
        await world.advance(60_000);
        await world.setImage("web", "app:2");
        await world.scale("web", 1);
      },
    ],
    [
      "for a third lease",
      async (world) => {
        await world.setImage("web", "app:2");
        await world.advance(60_000);
        await world.setImage("web", "app:3");
        await world.advance(60_000);
      },
    ],
  ])("is waited for by its successor on the same node, %s", async (_when, ask) => {
    const { world, oldId, most } = await stuck();
    await ask(world);
    await world.advance(60_000);
    expect(world.node("edge-1").running.map(({ run }) => run.taskId)).toEqual([oldId]);
    expect(world.view.list("events").filter(({ action }) => action === "not-waited-for")).toEqual([]);
    // Cut off or not, the node makes the hand-over.
    world.stubborn.delete(oldId);
    await world.advance(30_000);
    expect(world.running("web")).toHaveLength(1);
    expect(most()).toBe(1);
    await world.stopLeading();
  });

  test("makes its successor there move to another node, once there is one", async () => {
    const { world, oldId } = await stuck();
    await world.setImage("web", "app:2");
    await world.advance(60_000);
    expect(world.leases("web", 1)).toEqual(["releasing@edge-1", "held@edge-1", "wanted@"]);
    await world.addNode("edge-2");
    await world.advance(60_000);
    expect(world.running("web").map(({ nodeId }) => nodeId)).toEqual(["edge-2"]);
    expect(world.leases("web", 1)).toEqual(["releasing@edge-1", "held@edge-2"]);
    const event = world.view.list("events").find(({ action }) => action === "to-move")!;
    expect(event.message).toBe("is to move to another node, since edge-1 has not released it within 35 s");
    world.stubborn.delete(oldId);
    await world.advance(120_000);
    expect(world.leases("web", 1)).toEqual(["held@edge-2"]);
    await world.stopLeading();
  });
});

test("L2: a wall clock that is set an hour on, or back, makes no release late", async () => {
  for (const step of [3_600_000, -3_600_000]) {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1, { task: { container: { stopGraceMs: 5_000 } } });
    const old = world.running("web")[0]!;
    world.stubborn.add(old.meta!.id);
    await world.setAvailability(old.nodeId, Availability.DRAIN);
    await world.advance(2_000);
    world.clock.jump(step);
    // The service is looked at again.
    await world.update("web", (spec) => void (spec.labels = { step: String(step) }));
    await world.advance(30_000);
    expect(world.running("web")).toHaveLength(0);
    // What is really late is so all the same.
    await world.advance(40_000);
    expect(world.running("web")).toHaveLength(1);
    await world.stopLeading();
  }
});

test("L7: a reboot is no failure, and uses up no attempt", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 1, { task: { restart: { condition: 1, maxAttempts: 1 } } });
  for (let boots = 0; boots < 3; boots += 1) {
    world.node("edge-1").reboot();
    await world.advance(1_000);
    expect(world.running("web")).toHaveLength(1);
  }
  expect(world.slot("web", 1)!.leases[0]!.record).toMatchObject({ restarts: 0, failures: 0, runs: 4 });
  expect(world.leases("web", 1)).toEqual(["held@edge-1"]);
  await world.stopLeading();
});

test("L6: a manager that is gone for an hour costs no restart, and what ended meanwhile was followed", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.stopLeading();
  await world.end(world.running("web")[1]!);
  await world.advance(3_600_000);
  expect([...world.nodes.values()].flatMap(({ running }) => running)).toHaveLength(2);
  await world.restart();
  await world.advance(1_000);
  expect(world.running("web").map(({ meta }) => meta!.id)).toContain(before[0]);
  expect(world.running("web")).toHaveLength(2);
  expect(world.slots("web").flatMap(({ leases }) => leases)).toHaveLength(2);
  await world.stopLeading();
});
