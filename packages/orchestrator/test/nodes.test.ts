import {
  LeaseState,
  Manager,
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
  ).toEqual([
    "edge-2 takes its place: the slot moves, since edge-1 is drained",
    "edge-2 takes its place: the slot moves, since edge-1 is drained",
  ]);
  await world.setAvailability("edge-1", Availability.ACTIVE);
  await world.scale("web", 6);
  expect(nodesOf(world).filter((node) => node === "edge-1")).toHaveLength(2);
  await world.stopLeading();
});

test("a drain with nowhere to go says that tasks are to move, and of none that it moved", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  await world.setAvailability("edge-1", Availability.DRAIN);
  await world.advance(3_600_000);
  expect(nodesOf(world)).toEqual(["edge-1", "edge-1"]);
  expect(world.events().filter((event) => event.endsWith("move") || event.endsWith("moved"))).toEqual([
    "web.1 to-move",
    "web.2 to-move",
  ]);
  await world.addNode("edge-2");
  await world.advance(10_000);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  expect(world.events().filter((event) => event.endsWith("moved"))).toEqual(["web.1 moved", "web.2 moved"]);
  await world.stopLeading();
});

test("fewer tasks are wanted while a node is down: those on it go first, before its grace is over too", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 4);
  await world.down("edge-1");
  await world.advance(1_000);
  await world.scale("web", 2);
  await world.advance(10_000);
  expect(world.slots("web").filter(({ wanted }) => wanted)).toHaveLength(2);
  expect(world.node("edge-2").running).toHaveLength(2);
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

test("a drained node's task goes on until one is prepared to take its place, however long that is refused", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1);
  const old = world.running("web")[0]!;
  world.behaviours.set("app:1", "reject");
  await world.setAvailability(old.nodeId, Availability.DRAIN);
  await world.advance(60_000);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual([old.meta!.id]);
  world.behaviours.clear();
  await world.advance(600_000);
  expect(nodesOf(world)).toHaveLength(1);
  expect(nodesOf(world)).not.toContain(old.nodeId);
  await world.stopLeading();
});

test("an update in the middle of a drain takes the place of what has not started", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 1, { update: { order: Order.START_FIRST } });
  const { nodeId } = world.running("web")[0]!;
  world.behaviours.set("app:1", "stall");
  await world.setAvailability(nodeId, Availability.DRAIN);
  expect(world.leases("web", 1)).toHaveLength(2);
  await world.setImage("web", "app:2");
  expect(world.leases("web", 1)).toHaveLength(2);
  await world.advance(10_000);
  expect(world.running("web").map((task) => world.image(task))).toEqual(["app:2"]);
  await world.stopLeading();
});

test("L5: tasks of the only node go on while it is drained, and say why; active again, they stay", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.setAvailability("edge-1", Availability.DRAIN);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
  const waiting = world.tasks("web").filter(({ status }) => status!.state === TaskState.PENDING);
  expect(waiting).toHaveLength(2);
  expect(waiting[0]!.status!.message).toMatch(/^waits for a node: 1 of 1 node .*edge-1 .*drained/);
  expect(waiting[0]!.status!.pending).toMatchObject({ nodes: 1, refusals: [{ filter: "ready", nodes: 1 }] });
  await world.setAvailability("edge-1", Availability.ACTIVE);
  expect(world.tasks("web").map(({ meta }) => meta!.id)).toEqual(before);
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

test("L16: a node that is down for less than the grace keeps its tasks", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.down("edge-1", true, { off: false });
  await world.advance(29_999);
  await world.up("edge-1");
  await world.advance(120_000);
  expect(world.running("web").map(({ meta }) => meta!.id)).toEqual(before);
  expect(world.tasks("web")).toHaveLength(2);
  await world.stopLeading();
});

test("L16: tasks of a node that stays down are replaced after the grace; when it is back it stops the old ones", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 2);
  await world.down("edge-1", true, { off: false });
  await world.advance(30_000);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  const old = world.tasks("web").find(({ nodeId }) => nodeId === "edge-1")!;
  expect([old.status!.state, world.leaseOf(old)!.state]).toEqual([TaskState.RUNNING, LeaseState.RELEASING]);
  expect(world.node("edge-1").running).toHaveLength(1);
  await world.up("edge-1");
  expect(world.node("edge-1").running).toHaveLength(0);
  expect(world.view.get("tasks", old.meta!.id)!.status!.state).toBe(TaskState.SHUTDOWN);
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  await world.stopLeading();
});

test("the only node's tasks are not given up while it is down: back again, it goes on with them", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  const before = world.running("web").map(({ meta }) => meta!.id);
  await world.down("edge-1", true, { off: false });
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

test("L15: leases of a removed node are released by the managers, its tasks are lost, and others take their place", async () => {
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

test("L17: what an unreachable node owes of a deleted service rests until the node has confirmed it, or is removed", async () => {
  for (const how of ["confirms", "is removed"] as const) {
    const world = await SimulatedCluster.start(2, { cluster: { vipPool: "10.96.0.0/30" } });
    await world.create("web", 2);
    const { vip } = world.service("web").endpoint!;
    await world.down("edge-1", true, { off: false });
    await world.delete("web");
    await world.advance(86_400_000);
    expect(world.slots("web").map(({ leases }) => leases.map(({ nodeId }) => nodeId))).toEqual([["edge-1"]]);
    await world.create("api", 1);
    await world.create("db", 1);
    expect(world.service("api").endpoint!.vip).not.toBe(vip);
    expect(world.service("db").endpoint).toBeUndefined();
    if (how === "confirms") await world.up("edge-1");
    else await world.store.update((tx) => tx.delete("nodes", "edge-1"));
    await world.advance(61_000);
    expect(world.slots("web")).toEqual([]);
    expect(world.tasks("web")).toEqual([]);
    expect(world.service("db").endpoint!.vip).toBe(vip);
    await world.stopLeading();
  }
});

test("a task leaves a node that no longer meets its constraints", async () => {
  const world = await SimulatedCluster.start(0);
  await world.addNode("edge-1", { spec: { labels: { zone: "north" } } });
  await world.addNode("edge-2", { spec: { labels: { zone: "north" } } });
  await world.create("web", 2, { task: { placement: { constraints: ["node.labels.zone == north"] } } });
  await world.changeNode("edge-1", ({ spec }) => ({ spec: { ...spec!, labels: { zone: "south" } } }));
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  expect(world.view.list("events").at(-1)!.message).toBe(
    'edge-2 takes its place: the slot moves, since edge-1 no longer meets "node.labels.zone == north"',
  );
  await world.changeNode("edge-2", ({ spec }) => ({ spec: { ...spec!, labels: {} } }));
  // L5: they go on where they are, as there is nowhere else.
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  await world.stopLeading();
});

test("node.role is manager where a manager has the node's id, and a task moves when that is no longer so", async () => {
  const world = await SimulatedCluster.start(3);
  const manager = (id: string): Manager => Manager.fromPartial({ meta: { id } });
  await world.store.update((tx) => tx.create("managers", manager("edge-2")));
  await world.create("web", 2, { task: { placement: { constraints: ["node.role == manager"] } } });
  expect(nodesOf(world)).toEqual(["edge-2", "edge-2"]);
  await world.store.update((tx) => {
    tx.delete("managers", "edge-2");
    tx.create("managers", manager("edge-3"));
  });
  await world.settle();
  expect(nodesOf(world)).toEqual(["edge-3", "edge-3"]);
  await world.stopLeading();
});

test("a change of constraints alone moves the tasks that no longer fit, and no others", async () => {
  const world = await SimulatedCluster.start(0);
  for (const [id, zone] of [
    ["edge-1", "north"],
    ["edge-2", "south"],
    ["edge-3", "north"],
  ] as const)
    await world.addNode(id, { spec: { labels: { zone } } });
  await world.settle();
  await world.create("web", 3);
  const before = new Map(world.running("web").map((task) => [task.nodeId, task.meta!.id]));
  expect([...before.keys()].toSorted()).toEqual(["edge-1", "edge-2", "edge-3"]);
  await world.update("web", (spec) => {
    spec.task!.placement = { constraints: ["node.labels.zone == north"], maxReplicasPerNode: 0 };
  });
  await world.advance(10_000);
  const after = world.running("web").map((task) => task.meta!.id);
  expect(after).toHaveLength(3);
  expect(after).toEqual(expect.arrayContaining([before.get("edge-1"), before.get("edge-3")]));
  expect(after).not.toContain(before.get("edge-2"));
  await world.stopLeading();
});
