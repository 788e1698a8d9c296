import { TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

test("thirty replicas run in thirty slots, and took two transactions of the loops", async () => {
  const world = await SimulatedCluster.start(2);
  const counted = (): number =>
    [...world.metrics.values].reduce(
      (sum, [key, value]) => (key.includes("transactions_total") ? sum + value : sum),
      0,
    );
  const before = counted();
  await world.create("web", 30);
  expect(world.running("web").map(({ slot }) => slot)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  expect(counted() - before).toBe(2);
  await world.stopLeading();
});

test("a pass over a thousand tasks is a few transactions", { timeout: 30_000 }, async () => {
  const world = await SimulatedCluster.start(4);
  const before = world.proposer.applied.length;
  await world.create("web", 1_000);
  expect(world.running("web")).toHaveLength(1_000);
  // Of these one is the creation, seven are the nodes' reports.
  expect(world.proposer.applied.length - before).toBeLessThan(16);
  await world.delete("web");
  expect(world.view.list("tasks")).toHaveLength(0);
  expect(world.proposer.applied.length - before).toBeLessThan(32);
  await world.stopLeading();
});

test("scaling up fills the lowest free numbers; scaling down gives up the highest", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 3);
  await world.scale("web", 5);
  expect(world.running("web").map(({ slot }) => slot)).toEqual([1, 2, 3, 4, 5]);
  await world.scale("web", 2);
  expect(world.tasks("web").map(({ slot }) => slot)).toEqual([1, 2]);
  expect(world.running("web")).toHaveLength(2);
  await world.stopLeading();
});

test("scaling down gives up what does not run before what does, then evens out the nodes", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 4);
  await world.end(world.slot("web", 1)[0]!);
  await world.scale("web", 3);
  expect(world.running("web").map(({ slot }) => slot)).toEqual([2, 3, 4]);
  await world.scale("web", 2);
  expect(new Set(world.running("web").map(({ nodeId }) => nodeId))).toEqual(new Set(["edge-1", "edge-2"]));
  await world.stopLeading();
});

test("scaling to zero keeps the service and its address; scaling up again reuses the numbers", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 3);
  const { endpoint } = world.service("web");
  await world.scale("web", 0);
  expect(world.tasks("web")).toEqual([]);
  expect(world.service("web").endpoint).toEqual(endpoint);
  await world.scale("web", 2);
  expect(world.running("web").map(({ slot }) => slot)).toEqual([1, 2]);
  await world.stopLeading();
});

test("a slot that is given up and wanted again starts only when its old task has stopped", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2);
  const old = world.slot("web", 2)[0]!;
  world.stubborn.add(old.meta!.id);
  await world.scale("web", 1);
  await world.scale("web", 2);
  const [, next] = world.slot("web", 2);
  expect([next!.status!.state, next!.desiredState]).toEqual([TaskState.READY, TaskState.READY]);
  world.stubborn.clear();
  await world.settle();
  expect(world.slot("web", 2).map(({ meta, status }) => [meta!.id, status!.state])).toEqual([
    [next!.meta!.id, TaskState.RUNNING],
  ]);
  await world.stopLeading();
});

test("a deleted service goes when its last task has stopped, and its address is free again", async () => {
  const world = await SimulatedCluster.start(1, { cluster: { vipPool: "10.96.0.0/30" } });
  await world.create("web", 2);
  await world.create("api", 1);
  await world.create("db", 1);
  expect(world.slot("db", 1)[0]!.status).toMatchObject({
    state: TaskState.NEW,
    message: "waits: no address is left in the pool 10.96.0.0/30",
  });
  const { vip } = world.service("web").endpoint!;
  const slow = world.running("web")[0]!;
  world.stubborn.add(slow.meta!.id);
  await world.delete("web");
  expect(world.service("web").deleting).toBe(true);
  expect(world.tasks("web").map(({ meta }) => meta!.id)).toEqual([slow.meta!.id]);
  world.stubborn.clear();
  await world.settle();
  expect(world.view.get("services", "web")).toBeUndefined();
  expect(world.events()).toContain("web removed");
  expect(world.service("db").endpoint!.vip).toBe(vip);
  expect(world.running("db")).toHaveLength(1);
  await world.stopLeading();
});

test("tasks of a service that is gone are removed", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2);
  await world.store.update((tx) => tx.delete("services", "web"));
  await world.settle();
  expect(world.view.list("tasks")).toEqual([]);
  await world.stopLeading();
});

test("tasks wait for their network with its name, and go on when it is there", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, { task: { networks: [{ network: "later" }] } });
  expect(world.tasks("web")[0]!.status!.message).toBe("waits: there is no network later");
  await world.store.update((tx) =>
    tx.create("networks", {
      meta: { id: "later", version: 0, createdAt: undefined, updatedAt: undefined },
      spec: { name: "later", labels: {} },
    }),
  );
  await world.settle();
  expect(world.running("web").map(({ networks }) => networks)).toEqual([["later"]]);
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
