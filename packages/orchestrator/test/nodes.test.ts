import {
  NodeSpec_Availability as Availability,
  NodeStatus_State,
  TaskState,
  UpdateConfig_Order as Order,
} from "@warren/api";
import { expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

function nodesOf(world: SimulatedCluster, service = "web"): string[] {
  return world.running(service).map(({ nodeId }) => nodeId);
}

test("each node gets a subnet of its own, and a removed node's is given again", async () => {
  const world = await SimulatedCluster.start(2, { cluster: { taskPool: "10.77.0.0/23" } });
  expect(world.view.list("nodes").map(({ subnet }) => subnet)).toEqual(["10.77.0.0/24", "10.77.1.0/24"]);
  await world.addNode("edge-3");
  await world.settle();
  expect(world.view.get("nodes", "edge-3")!.subnet).toBe("");
  expect(world.log.records.at(-1)!.fields).toMatchObject({ reason: "no subnet is left in the task pool 10.77.0.0/23" });
  await world.create("web", 3);
  expect(new Set(nodesOf(world))).toEqual(new Set(["edge-1", "edge-2"]));
  await world.store.update((tx) => tx.delete("nodes", "edge-1"));
  await world.settle();
  expect(world.view.get("nodes", "edge-3")!.subnet).toBe("10.77.0.0/24");
  await world.stopLeading();
});

test("tasks of a drained node move, and say why; an active one gets tasks again", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 4);
  await world.setAvailability("edge-1", Availability.DRAIN);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2", "edge-2", "edge-2"]);
  expect(
    world.view
      .list("events")
      .filter(({ action }) => action === "moved")
      .map(({ message }) => message),
  ).toEqual(["another takes its place, since edge-1 is drained", "another takes its place, since edge-1 is drained"]);
  await world.setAvailability("edge-1", Availability.ACTIVE);
  await world.scale("web", 6);
  expect(nodesOf(world).filter((node) => node === "edge-1")).toHaveLength(2);
  await world.stopLeading();
});

test("a drain of a start-first service never runs fewer tasks", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2, { update: { order: Order.START_FIRST } });
  let least = 2;
  world.onStep = () => {
    const up = world.tasks("web").filter(({ status }) => status!.state === TaskState.RUNNING);
    least = Math.min(least, up.length);
  };
  await world.setAvailability("edge-1", Availability.DRAIN);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  expect(least).toBe(2);
  await world.stopLeading();
});

test.each([
  ["a drained", "drain"],
  ["a lost", "down"],
] as const)(
  "when the replacement for %s node's task is rejected, the next one comes after its back-off",
  async (_, how) => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 1);
    const old = world.running("web")[0]!;
    world.behaviours.set("app:1", "reject");
    if (how === "drain") await world.setAvailability(old.nodeId, Availability.DRAIN);
    else await world.down(old.nodeId);
    await world.advance(30_000);
    const tries = world.tasks("web").filter(({ status }) => status!.state === TaskState.REJECTED);
    expect(tries.length).toBeGreaterThan(how === "drain" ? 1 : 0);
    expect(tries.length).toBeLessThan(4);
    // A drained one does not wait for better luck; one that is lost may well run.
    expect(world.view.get("tasks", old.meta!.id)!.desiredState).toBe(
      how === "drain" ? TaskState.SHUTDOWN : TaskState.RUNNING,
    );
    world.behaviours.clear();
    await world.advance(60_000);
    expect(nodesOf(world)).toHaveLength(1);
    expect(nodesOf(world)).not.toContain(old.nodeId);
    await world.stopLeading();
  },
);

test("a drain does not shorten the delay of a restart", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { task: { restart: { delayMs: 60_000 } } });
  await world.end(world.running("web")[0]!);
  await world.advance(30_000);
  await world.setAvailability(world.tasks("web").at(-1)!.nodeId, Availability.DRAIN);
  await world.advance(29_999);
  expect(nodesOf(world)).toEqual([]);
  await world.advance(1);
  expect(nodesOf(world)).toHaveLength(1);
  await world.stopLeading();
});

test("an update in the middle of a drain takes the place of what has not started", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { update: { order: Order.START_FIRST } });
  const { nodeId } = world.running("web")[0]!;
  world.behaviours.set("app:1", "stall");
  await world.setAvailability(nodeId, Availability.DRAIN);
  expect(world.tasks("web")).toHaveLength(2);
  await world.setImage("web", "app:2", false);
  await world.quiet();
  expect(world.tasks("web").filter(({ desiredState }) => desiredState <= TaskState.RUNNING)).toHaveLength(2);
  await world.settle();
  expect(world.running("web").map(({ spec }) => spec!.container!.image)).toEqual(["app:2"]);
  await world.stopLeading();
});

test("tasks of the only node stop when it is drained, wait with the reason, and come back with it", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  await world.setAvailability("edge-1", Availability.DRAIN);
  expect(nodesOf(world)).toEqual([]);
  const waiting = world.tasks("web").filter(({ status }) => status!.state === TaskState.PENDING);
  expect(waiting).toHaveLength(2);
  expect(waiting[0]!.status!.message).toMatch(/^waits for a node: 1 of 1 node .*edge-1 .*drained/);
  expect(waiting[0]!.status!.pending).toMatchObject({ nodes: 1, refusals: [{ filter: "ready", nodes: 1 }] });
  await world.setAvailability("edge-1", Availability.ACTIVE);
  expect(nodesOf(world)).toEqual(["edge-1", "edge-1"]);
  await world.stopLeading();
});

test("a paused node keeps its tasks and gets no new ones", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.setAvailability("edge-1", Availability.PAUSE);
  await world.scale("web", 6);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(expect.arrayContaining(before));
  expect(nodesOf(world).filter((node) => node === "edge-1")).toHaveLength(1);
  await world.stopLeading();
});

test("a node that is down for less than the grace keeps its tasks", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.down("edge-1");
  await world.advance(29_999);
  await world.up("edge-1");
  await world.advance(120_000);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
  expect(world.tasks("web")).toHaveLength(2);
  await world.stopLeading();
});

test("tasks of a node that stays down are replaced; when it is back it stops the old ones", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  await world.down("edge-1");
  await world.advance(30_000);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  const old = world.tasks("web").find(({ nodeId }) => nodeId === "edge-1")!;
  expect([old.status!.state, old.desiredState]).toEqual([TaskState.RUNNING, TaskState.SHUTDOWN]);
  await world.up("edge-1");
  expect(world.view.get("tasks", old.meta!.id)!.status!.state).toBe(TaskState.SHUTDOWN);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  await world.stopLeading();
});

test("the only node's tasks are not given up while it is down: back again, it goes on with them", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.down("edge-1");
  await world.advance(3 * 86_400_000);
  expect(world.tasks("web").filter(({ status }) => status!.state === TaskState.PENDING)).toHaveLength(2);
  await world.up("edge-1");
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
  expect(world.tasks("web")).toHaveLength(2);
  await world.stopLeading();
});

test("an unknown node keeps its tasks", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.setState("edge-1", NodeStatus_State.UNKNOWN);
  await world.advance(600_000);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
  await world.stopLeading();
});

test("tasks of a removed node are orphaned and replaced at once", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  await world.down("edge-1");
  await world.store.update((tx) => tx.delete("nodes", "edge-1"));
  await world.settle();
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  expect(world.tasks("web").find(({ nodeId }) => nodeId === "edge-1")!.status).toMatchObject({
    state: TaskState.ORPHANED,
    message: "the node edge-1 was removed from the cluster",
  });
  await world.stopLeading();
});

test("a service that is deleted while a node is down goes when that node has been down for a day", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  await world.down("edge-1");
  await world.delete("web");
  expect(world.tasks("web").map(({ nodeId }) => nodeId)).toEqual(["edge-1"]);
  await world.advance(86_400_000);
  expect(world.view.get("services", "web")).toBeUndefined();
  expect(world.view.list("tasks")).toEqual([]);
  await world.stopLeading();
});

test("a task that was told to stop on a node long down is orphaned at once", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 1);
  await world.down("edge-1");
  await world.advance(2 * 86_400_000);
  await world.delete("web");
  expect(world.view.list("tasks")).toEqual([]);
  await world.stopLeading();
});

test("a task leaves a node that no longer meets its constraints", async () => {
  const world = await SimulatedCluster.start(0);
  await world.addNode("edge-1", { spec: { labels: { zone: "north" } } });
  await world.addNode("edge-2", { spec: { labels: { zone: "north" } } });
  await world.create("web", 2, { task: { placement: { constraints: ["node.labels.zone == north"] } } });
  await world.changeNode("edge-1", ({ spec }) => ({ spec: { ...spec!, labels: { zone: "south" } } }));
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  expect(world.view.list("events").at(-1)!.message).toBe(
    'another takes its place, since edge-1 no longer meets "node.labels.zone == north"',
  );
  await world.changeNode("edge-2", ({ spec }) => ({ spec: { ...spec!, labels: {} } }));
  expect(nodesOf(world)).toEqual([]);
  await world.stopLeading();
});
