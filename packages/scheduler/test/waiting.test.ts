import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { defaultFilters, type Filter, type NodeState, Scheduler, type TaskState, type Waiting } from "../src/index.ts";
import { anyNode, anyServices } from "./model/arbitraries.ts";
import { ModelWorld } from "./model/world.ts";
import { GiB, node, places, task, applied, world } from "./world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

const waiting = (scheduler: Scheduler): Waiting[] => scheduler.schedule().filter((each) => each.kind === "waiting");

describe("a task that waits", () => {
  it("has the reason that there are no nodes", () => {
    expect(world([], [task("t")]).schedule()).toEqual([
      { kind: "waiting", taskId: "t", nodes: 0, refusals: [], text: "there are no nodes", help: "add a node" },
    ]);
  });

  it("gets its reason once, again when the reason changes, and a decision when it is placed", () => {
    const one = { reservations: { memory: GiB } };
    const scheduler = world([node("n", { resources: { memory: GiB } })], [task("a", one), task("b", one)]);
    expect(scheduler.schedule().map((each) => each.kind)).toEqual(["placed", "waiting"]);
    // The placement's own delta, and a delta of the node that changes nothing.
    expect(applied(scheduler, { kind: "task", task: task("a", { ...one, nodeId: "n" }) })).toEqual([]);
    expect(applied(scheduler, { kind: "node", node: node("n", { resources: { memory: GiB } }) })).toEqual([]);
    expect(applied(scheduler, { kind: "node", node: node("m", { resources: { memory: 1 } }) })).toMatchObject([
      { taskId: "b", text: "2 of 2 nodes short of memory: needs 1 GiB, most free is 1 B on m" },
    ]);
    expect(applied(scheduler, { kind: "node-gone", nodeId: "m" })).toMatchObject([
      { taskId: "b", text: "1 of 1 node short of memory: needs 1 GiB, most free is 0 B on n" },
    ]);
    expect(places(applied(scheduler, { kind: "task-gone", taskId: "a" }))).toEqual({ b: "n" });
    expect(scheduler.schedule()).toEqual([]);
  });

  it("a task that joins a waiting group gets the reason, the others do not get it again", () => {
    const scheduler = world([node("n", { ready: false })], [task("a")]);
    expect(scheduler.schedule()).toHaveLength(1);
    expect(applied(scheduler, { kind: "task", task: task("b") })).toMatchObject([{ taskId: "b", kind: "waiting" }]);
  });

  it("is explained at any time", () => {
    const scheduler = world([node("n", { ready: false })], [task("a"), task("held", { nodeId: "n" })]);
    expect(scheduler.explain("a")).toMatchObject({
      taskId: "a",
      text: "1 of 1 node not ready or not active: n is down",
    });
    expect(scheduler.explain("held")).toBeUndefined();
    expect(scheduler.explain("nobody")).toBeUndefined();
    scheduler.apply({ kind: "node", node: node("n") });
    expect(scheduler.explain("a")).toMatchObject({ refusals: [], text: "1 of 1 node would take it" });
  });

  it("that is removed is forgotten", () => {
    const scheduler = world([node("n", { ready: false })], [task("a")]);
    expect(scheduler.schedule()).toHaveLength(1);
    scheduler.apply({ kind: "task-gone", taskId: "a" });
    expect(applied(scheduler, { kind: "node", node: node("n") })).toEqual([]);
  });

  it("whose placement could not be recorded is placed again once it is applied as pending", () => {
    const scheduler = world([node("n", { resources: { memory: 1 } })], [task("a", { reservations: { memory: 1 } })]);
    expect(scheduler.schedule()).toHaveLength(1);
    expect(places(applied(scheduler, { kind: "task", task: task("a", { reservations: { memory: 1 } }) }))).toEqual({
      a: "n",
    });
  });

  it("whose requirements change is scheduled anew", () => {
    const scheduler = world([node("n", { resources: { memory: 1 } })], [task("a", { reservations: { memory: 2 } })]);
    expect(scheduler.schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(
      places(applied(scheduler, { kind: "task", task: task("a", { specVersion: 2, reservations: { memory: 1 } }) })),
    ).toEqual({ a: "n" });
  });
});

describe("reasons at scale", () => {
  it("have a bounded length, whatever the names and the number of nodes", () => {
    const long = "x".repeat(5_000);
    const nodes = Array.from({ length: 2_000 }, (_, n) =>
      node(`${long}${n}`, { labels: { [long]: long }, ready: n % 3 !== 0, resources: { memory: n % 7 } }),
    );
    const asks = { constraints: [`node.labels.${long} == ${long}`], reservations: { memory: 7 }, networks: [long] };
    const [decision] = waiting(world(nodes, [task("t", asks)]));
    expect(decision?.refusals.map((each) => [each.filter, each.nodes])).toEqual([
      ["networks", 1_333],
      ["ready", 667],
    ]);
    expect(
      JSON.stringify(decision, (key, value: unknown) => (key === "nearestNodeId" ? "" : value)).length,
    ).toBeLessThan(2_500);
  });

  it("are counted by the size of an index where one has the nodes that pass", () => {
    const nodes = Array.from({ length: 400 }, (_, n) =>
      node(`n${n}`, { ready: n >= 10, resources: { memory: n < 20 ? n : n === 20 ? 1_000 : 0 } }),
    );
    const port = { hostPorts: [{ port: 80, protocol: "tcp" as const }] };
    const holders = nodes.slice(20).map((each, n) => task(`h${n}`, { serviceId: "held", nodeId: each.id, ...port }));
    const scheduler = world(nodes, holders);
    let last: Waiting | undefined;
    // The first tasks lead to an index: the node with enough memory holds the port, and the nodes beside it are read.
    for (let n = 0; n < 4; n += 1) {
      const asks = { serviceId: `s${n}`, ...port, reservations: { memory: 100 + n } };
      scheduler.apply({ kind: "task", task: task(`t${n}`, asks) });
      [last] = waiting(scheduler);
    }
    expect(last).toMatchObject({
      taskId: "t3",
      refusals: [
        { filter: "host-ports", nodes: 380 },
        { filter: "ready", nodes: 10 },
        { filter: "resources", nodes: 10, nearestNodeId: "n19", data: { kind: "memory", needs: 103, free: 19 } },
      ],
    });
  });

  it("have exact counts and the nearest node, by short cut as by reading every node", () => {
    const many = fc.array(anyNode, { minLength: 1, maxLength: 40 });
    const resourceAsk = fc.record({ cpu: fc.integer({ min: 1, max: 20 }), memory: fc.integer({ min: 1, max: 20 }) });
    const anyAsk: fc.Arbitrary<Partial<TaskState>> = fc.oneof(
      resourceAsk.map((reservations) => ({ reservations })),
      resourceAsk.map((reservations) => ({ reservations, constraints: ["node.labels.zone != x"] })),
      resourceAsk.map((reservations) => ({ reservations, constraints: ["node.labels.zone == x"] })),
      resourceAsk.map((reservations) => ({ reservations, constraints: ["node.id == n7"] })),
      anyServices.map((services) => services["web"] ?? {}),
    );
    fc.assert(
      fc.property(many, anyAsk, (templates, asks) => {
        const nodes: NodeState[] = Array.from({ length: 280 }, (_, n) => ({
          ...(templates[n % templates.length] as NodeState),
          id: `n${n}`,
        }));
        const model = new ModelWorld();
        for (const each of nodes) model.apply({ kind: "node", node: each });
        const asked = task("t", asks);
        // A filter without promises disables the short cuts.
        const plain: Filter = { name: "none", check: () => () => true, explain: () => "" };
        const [quick] = waiting(world(nodes, [asked]));
        const [slow] = waiting(world(nodes, [asked], { filters: [plain, ...defaultFilters] }));
        expect(quick?.refusals.map((each) => [each.filter, each.nodes])).toEqual(
          slow?.refusals.map((each) => [each.filter, each.nodes]),
        );
        expect(quick === undefined).toBe(nodes.some((each) => model.passes(each, asked)));
        // The shortage of the nearest node; two may be equally near for different kinds.
        const short = (them: Waiting | undefined): unknown => {
          const { needs = 0, free = 0 } = them?.refusals.find((each) => each.filter === "resources")?.data ?? {};
          return (Number(needs) - Number(free)) / Number(needs);
        };
        expect(short(quick)).toEqual(short(slow));
      }),
      { numRuns: 100 },
    );
  });
});

describe("only what changed is read", () => {
  /** A filter that counts its calls, with the promises of the built-in ones. */
  const counting = (): { filter: Filter; asked: () => number } => {
    let asked = 0;
    const filter: Filter = {
      name: "counting",
      reads: "state",
      share: ({ image = "" }) => image,
      check:
        ({ image = "" }) =>
        ({ state }) => {
          asked += 1;
          return image === "" || state.images?.includes(image) === true;
        },
      explain: () => "lack the image",
    };
    return { filter, asked: () => asked };
  };
  const size = 2_000;
  const many = (more: (n: number) => Partial<NodeState> = () => ({}), length = size): NodeState[] =>
    Array.from({ length }, (_, n) => node(`n${n}`, more(n)));

  it("ten thousand placements call a filter once for each node, and again for a node that was filled", () => {
    const { filter, asked } = counting();
    const tasks = Array.from({ length: 10_000 }, (_, n) => task(`t${n}`, { serviceId: `s${n}` }));
    expect(world(many(), tasks, { filters: [...defaultFilters, filter] }).schedule()).toHaveLength(10_000);
    expect(asked()).toBeLessThanOrEqual(size + 2 * 10_000);
  });

  it("also where all but few nodes are refused", () => {
    const { filter, asked } = counting();
    const tasks = Array.from({ length: 10_000 }, (_, n) => task(`t${n}`, { serviceId: `s${n}`, image: "rare" }));
    const nodes = many((n) => (n % 100 === 0 ? { images: ["rare"] } : {}));
    expect(world(nodes, tasks, { filters: [...defaultFilters, filter] }).schedule()).toHaveLength(10_000);
    expect(asked()).toBeLessThanOrEqual(4 * size + 3 * 10_000);
  });

  it("nodes that are too full are skipped by whole blocks", () => {
    let asked = 0;
    const filter: Filter = {
      name: "counting",
      reads: "node",
      check: () => () => {
        asked += 1;
        return true;
      },
      explain: () => "",
    };
    // The full ones come first in the order: they have no task.
    const nodes = many((n) => ({ resources: { memory: n < 1_900 ? 1 : 1_000 } }));
    const held = Array.from({ length: 100 }, (_, n) => task(`h${n}`, { serviceId: "held", nodeId: `n${1_900 + n}` }));
    const tasks = Array.from({ length: 1_000 }, (_, n) =>
      task(`t${n}`, { serviceId: `s${n}`, reservations: { memory: 2 } }),
    );
    const scheduler = world(nodes, [...held, ...tasks], { filters: [filter, ...defaultFilters] });
    expect(scheduler.schedule()).toHaveLength(1_000);
    expect(asked).toBeLessThan(300 * 1_000);
  });

  it("one more task, among thousands that wait for other reasons, reads a handful of nodes", () => {
    const { filter, asked } = counting();
    const stuck = Array.from({ length: 5_000 }, (_, n) =>
      task(`w${n}`, { serviceId: `w${n}`, image: "none", reservations: { memory: n + 1 } }),
    );
    // More nodes than the limit up to which changed reasons are returned.
    const nodes = many(() => ({}), 5_000);
    const scheduler = world(nodes, [...stuck, task("first")], { filters: [filter, ...defaultFilters] });
    expect(scheduler.schedule()).toHaveLength(5_001);
    const before = asked();
    expect(applied(scheduler, { kind: "task", task: task("t") })).toHaveLength(1);
    expect(asked() - before).toBeLessThan(20);
  });

  it("a changed node is read once for each distinct set of requirements that waits", () => {
    const { filter, asked } = counting();
    const stuck = Array.from({ length: 5_000 }, (_, n) => task(`w${n}`, { serviceId: `w${n}`, image: `i${n % 10}` }));
    const scheduler = world(many(), stuck, { filters: [filter, ...defaultFilters] });
    expect(scheduler.schedule()).toHaveLength(5_000);
    const before = asked();
    expect(
      applied(scheduler, { kind: "node", node: node("n0", { images: ["i3"] }) }).filter(
        (each) => each.kind === "placed",
      ),
    ).toHaveLength(500);
    // Ten kinds, each once for the node; five hundred placements; then reasons anew for some, within the fixed effort.
    expect(asked() - before).toBeLessThan(10 + 500 * 4 + 4 * 4_096);
  });
});
