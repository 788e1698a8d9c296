import { LeaseState, PortSpec_Mode, PortSpec_Protocol, TaskState, UpdateConfig_Order as Order } from "@warren/api";
import { slotNumber } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import { OrchestratorError } from "../src/index.ts";
import { resolveOptions } from "../src/options.ts";
import { serviceSpec, SimulatedCluster } from "./simulated-cluster.ts";

const gib = 2 ** 30;

test("L20: a version goes only to nodes that take its level", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 0);
  await world.store.update((tx) => tx.update("versions", { ...tx.get("versions", "web-v1")!, level: 2 }));
  await world.scale("web", 2);
  expect(world.running("web")).toEqual([]);
  expect(world.tasksOf("web", 1)[0]!.status!.message).toMatch(/needs level 2: edge-1 has level 1/);
  await world.addNode("edge-2", {
    description: { hostname: "edge-2", cpuNanos: 4e9, memoryBytes: 8 * gib, level: 2, minLevel: 1 },
  });
  await world.advance(5_000);
  expect(world.running("web").map(({ nodeId }) => nodeId)).toEqual(["edge-2", "edge-2"]);
  await world.stopLeading();
});

test("a task says which node it was assigned to and why", async () => {
  const world = await SimulatedCluster.start();
  world.off.add("edge-1");
  await world.create("web", 1);
  expect(world.tasks("web")[0]!.status).toMatchObject({
    state: TaskState.ASSIGNED,
    message: expect.stringMatching(/^assigned to edge-1: .+/) as string,
  });
  await world.stopLeading();
});

test("a task that waits says what is short, is written only when that changes, and goes as soon as there is room", async () => {
  const world = await SimulatedCluster.start();
  const big = { task: { resources: { memoryReservationBytes: 5 * gib } } };
  await world.create("a", 1, big);
  await world.create("b", 1, big);
  const waits = world.tasks("b")[0]!;
  expect(waits.status!.message).toMatch(
    /^waits for a node: 1 of 1 node short of memory: needs 5 GiB, .*3 GiB on edge-1/,
  );
  expect(waits.status!.pending!.refusals[0]).toMatchObject({ filter: "resources", nodes: 1, nearestNodeId: "edge-1" });

  await world.addNode("edge-2", { description: { hostname: "edge-2", memoryBytes: gib, level: 1 } });
  await world.settle();
  const changed = world.tasks("b")[0]!;
  expect(changed.status!.message).toMatch(/2 of 2 nodes short of memory/);
  expect(changed.status!.at).toEqual(waits.status!.at);
  const { version } = changed.meta!;
  await world.create("c", 1);
  expect(world.tasks("b")[0]!.meta!.version).toBe(version);

  await world.delete("a");
  expect(world.running("b")).toHaveLength(1);
  await world.stopLeading();
});

test("a constraint that can't be read is named by the task that waits", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, { task: { placement: { constraints: ["nonsense"] } } });
  expect(world.tasks("web")[0]!.status!.message).toMatch(/^waits for a node: constraint "nonsense" can't be read/);
  await world.stopLeading();
});

test("host ports and the limit of replicas on a node are kept", async () => {
  const world = await SimulatedCluster.start(2);
  await world.create("web", 3, { ports: [{ target: 80, published: 80, mode: 2 }] });
  expect(world.running("web")).toHaveLength(2);
  await world.create("api", 3, { task: { placement: { maxReplicasPerNode: 1 } } });
  expect(world.running("api")).toHaveLength(2);
  await world.stopLeading();
});

test.each([false, true])(
  "L17: a host port of a deleted service is taken on its node until its task is gone; the manager restarts: %s",
  async (restarts) => {
    const world = await SimulatedCluster.start(1);
    const ports = [{ target: 80, published: 8080, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.HOST }];
    await world.create("old", 1, { ports });
    const { id } = world.running("old")[0]!.meta!;
    world.stubborn.add(id);
    await world.delete("old");
    if (restarts) await world.restart();
    await world.create("new", 1, { ports });
    await world.advance(5_000);
    expect(world.running("new")).toHaveLength(0);
    expect(world.tasks("new")[0]!.status!.message).toContain("8080/tcp");
    world.stubborn.delete(id);
    await world.advance(5_000);
    expect(world.running("new")).toHaveLength(1);
    await world.stopLeading();
  },
);

test("L17: a host port that an update drops is taken on its node until the task that was offered with it is gone", async () => {
  const world = await SimulatedCluster.start(1);
  const ports = [{ target: 80, published: 8080, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.HOST }];
  await world.create("old", 1, { ports });
  const { id } = world.running("old")[0]!.meta!;
  world.stubborn.add(id);
  await world.update("old", (spec) => {
    spec.ports = [];
    spec.task!.container!.image = "old:2";
  });
  await world.create("new", 1, { ports });
  await world.advance(5_000);
  expect(world.running("new")).toHaveLength(0);
  expect(world.tasks("new")[0]!.status!.message).toContain("8080/tcp");
  expect(world.tasks("new")[0]!.status!.pending!.help).toBe("free 8080/tcp on edge-1, or publish another port");
  world.stubborn.delete(id);
  await world.advance(5_000);
  expect(world.running("new")).toHaveLength(1);
  expect(world.running("old")).toHaveLength(1);
  await world.stopLeading();
});

describe("debounce", () => {
  const options = { debounceMs: 50, debounceCapMs: 200 };

  async function placed(world: SimulatedCluster): Promise<number> {
    await world.quiet();
    return world.view.list("tasks").filter(({ nodeId }) => nodeId !== "").length;
  }

  test("the first lease after a quiet time is placed at once, those that follow it together", async () => {
    const world = await SimulatedCluster.start(1, { options });
    world.off.add("edge-1");
    await world.advance(1_000);
    await world.create("first", 1, {}, false);
    expect(await placed(world)).toBe(1);
    for (let index = 0; index < 4; index += 1) {
      await world.create(`more-${index}`, 1, {}, false);
      expect(await placed(world)).toBe(1);
      world.clock.advance(40);
    }
    // 160 ms after the first of them; the cap is reached before it is quiet for 50 ms.
    await world.create("last", 1, {}, false);
    expect(await placed(world)).toBe(1);
    world.clock.advance(39);
    expect(await placed(world)).toBe(1);
    world.clock.advance(1);
    expect(await placed(world)).toBe(6);
    await world.stopLeading();
  });
});

describe("evenness", () => {
  function spread(world: SimulatedCluster): number[] {
    const counts = [...world.nodes.keys()].map(
      (id) => world.running("web").filter(({ nodeId }) => nodeId === id).length,
    );
    return counts.toSorted((a, b) => a - b);
  }

  test.each([
    [2, 2],
    [5, 5],
    [3, 7],
    [4, 2],
  ])(
    "after an update of %i nodes' %i replicas it is that of a fresh placement, in both orders",
    { timeout: 60_000 },
    async (nodes, replicas) => {
      for (let seed = 1; seed <= 6; seed += 1) {
        for (const order of [Order.STOP_FIRST, Order.START_FIRST]) {
          const world = await SimulatedCluster.start(nodes, { seed });
          await world.create("web", replicas, { update: { order, parallelism: seed % 3, monitorMs: 0 } });
          const fresh = spread(world);
          for (const image of ["app:2", "app:3"]) {
            await world.setImage("web", image);
            await world.advance(20_000);
            expect(spread(world)).toEqual(fresh);
          }
          await world.stopLeading();
        }
      }
    },
  );
});

describe("when the store fails", () => {
  test.each(["conflict", "unavailable", "outcome-unknown-applied", "outcome-unknown-lost"] as const)(
    "%s: the same end is reached",
    async (fault) => {
      const world = await SimulatedCluster.start(2);
      await world.create("web", 1);
      // Once for the loop that makes the tasks, once for the one that places them; the nodes' reports fail as well.
      await world.store.update((tx) => {
        const service = tx.get("services", "web")!;
        tx.update("services", { ...service, spec: serviceSpec("web", 5) });
      });
      world.manager.proposer.failNext(fault);
      await world.quiet();
      world.clock.advance(1_000);
      world.manager.proposer.failNext(fault);
      await world.advance(20_000);
      expect(world.running("web").map(({ slot }) => slotNumber(slot))).toEqual([1, 2, 3, 4, 5]);
      expect(world.tasks("web")).toHaveLength(5);
      await world.stopLeading();
    },
  );

  test("versions so large that the log takes few at once are placed a few leases at a time", async () => {
    const world = await SimulatedCluster.start(2, { limits: { maxCommandBytes: 8 * 1024 } });
    await world.create("web", 60, {}, false);
    await world.quiet();
    expect(world.view.list("slots").filter(({ leases }) => leases[0]!.state === LeaseState.HELD)).toHaveLength(60);
    await world.stopLeading();
  });
});

describe("options", () => {
  test.each([
    [{ maxWrites: 0 }, "maxWrites"],
    [{ resyncMs: 0 }, "resyncMs"],
    [{ downGraceMs: -1 }, "downGraceMs"],
    [{ debounceMs: 1.5 }, "debounceMs"],
    [{ debounceMs: 100, debounceCapMs: 50 }, "debounceCapMs"],
  ])("%o is refused", (options, option) => {
    expect(() => resolveOptions(options)).toThrow(OrchestratorError);
    expect(() => resolveOptions(options)).toThrow(`orchestrator option ${option} is `);
  });
});
