import { TaskState } from "@warren/api";
import { describe, expect, test } from "vitest";
import { OrchestratorError } from "../src/index.ts";
import { resolveOptions } from "../src/options.ts";
import { serviceSpec, SimulatedCluster } from "./simulated-cluster.ts";

const gib = 2 ** 30;

test("a task says which node it was given and why", async () => {
  const world = await SimulatedCluster.start();
  world.silent.add("edge-1");
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

  await world.addNode("edge-2", { description: { hostname: "edge-2", memoryBytes: gib } });
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

test("a constraint that can't be read is told where it is waited for", async () => {
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

describe("debounce", () => {
  const options = { debounceMs: 50, debounceCapMs: 200 };

  async function placed(world: SimulatedCluster): Promise<number> {
    await world.quiet();
    return world.view.list("tasks").filter(({ nodeId }) => nodeId !== "").length;
  }
  async function create(world: SimulatedCluster, name: string): Promise<void> {
    await world.store.update((tx) => {
      const spec = serviceSpec(name, 1);
      tx.create("services", { ...tx.get("services", "first")!, meta: undefined, endpoint: undefined, spec });
    });
  }

  test("the first task after a quiet time is placed at once, those that follow it together", async () => {
    const world = await SimulatedCluster.start(1, { options });
    world.silent.add("edge-1");
    await world.advance(1_000);
    await world.store.update((tx) =>
      tx.create("services", {
        meta: { id: "first", version: 0, createdAt: undefined, updatedAt: undefined },
        spec: serviceSpec("first", 1),
        previousSpec: undefined,
        specVersion: 1,
        endpoint: undefined,
        updateStatus: undefined,
        deleting: false,
        summary: undefined,
      }),
    );
    expect(await placed(world)).toBe(1);
    for (let index = 0; index < 4; index += 1) {
      await create(world, `more-${index}`);
      expect(await placed(world)).toBe(1);
      world.clock.advance(40);
    }
    // 160 ms after the first of them; the cap is reached before it is quiet for 50 ms.
    await create(world, "last");
    expect(await placed(world)).toBe(1);
    world.clock.advance(39);
    expect(await placed(world)).toBe(1);
    world.clock.advance(1);
    expect(await placed(world)).toBe(6);
    await world.stopLeading();
  });
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
      world.proposer.failNext(fault);
      await world.quiet();
      world.clock.advance(1_000);
      world.proposer.failNext(fault);
      await world.advance(20_000);
      expect(world.running("web").map(({ slot }) => slot)).toEqual([1, 2, 3, 4, 5]);
      expect(world.tasks("web")).toHaveLength(5);
      await world.stopLeading();
    },
  );

  test("tasks so large that the log takes few at once are written a few at a time", async () => {
    const world = await SimulatedCluster.start(2, { limits: { maxCommandBytes: 64 * 1024 } });
    world.reportsAtOnce = 1;
    await world.create("web", 20, { task: { container: { env: { TEXT: "x".repeat(15_000) } } } });
    expect(world.running("web")).toHaveLength(20);
    await world.delete("web");
    expect(world.view.list("tasks")).toEqual([]);
    await world.stopLeading();
  });

  test("a manager that has lost the lead writes nothing, and goes on where it has it again", async () => {
    const world = await SimulatedCluster.start();
    await world.create("web", 1);
    await world.store.update((tx) => {
      tx.update("services", { ...tx.get("services", "web")!, spec: serviceSpec("web", 3) });
    });
    world.proposer.leader = false;
    const { version } = world.view;
    await world.advance(20_000);
    expect(world.view.version).toBe(version);
    world.proposer.leader = true;
    await world.advance(10_000);
    expect(world.running("web")).toHaveLength(3);
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
