import { describe, expect, it } from "vitest";
import {
  defaultScorers,
  type Decision,
  type Delta,
  type NodeState,
  type Scorer,
  type TaskState,
} from "../src/index.ts";
import { GiB, node, places, task, applied, world } from "./world.ts";

const tasks = (count: number, more: Partial<TaskState> = {}): TaskState[] =>
  Array.from({ length: count }, (_, n) => task(`t${n}`, more));
const zoned = (id: string, zone?: string, rack?: string): NodeState =>
  node(id, { labels: { ...(zone === undefined ? {} : { zone }), ...(rack === undefined ? {} : { rack }) } });
const counts = (decisions: readonly Decision[]): Record<string, number> => {
  const found: Record<string, number> = {};
  for (const each of decisions) if (each.kind === "placed") found[each.nodeId] = (found[each.nodeId] ?? 0) + 1;
  return found;
};

describe("spread", () => {
  it("compares the service's own tasks before load, and names the rule", () => {
    const held = ["x", "y"].map((id) => task(id, { serviceId: "other", nodeId: "busy" }));
    expect(
      world([node("busy"), node("idle")], [...held, task("w", { nodeId: "idle" }), task("t")]).schedule(),
    ).toMatchObject([
      {
        nodeId: "busy",
        serviceTasks: 0,
        nodeTasks: 2,
        decided: { by: "service-tasks", value: 0, nextNodeId: "idle", nextValue: 1 },
        text: "service-tasks: no task of its service; on idle, next best, 1 task of its service",
      },
    ]);
  });

  it("then the fewest tasks", () => {
    const held = [task("x", { serviceId: "other", nodeId: "a" })];
    expect(world([node("a"), node("b")], [...held, task("t")]).schedule()).toMatchObject([
      { nodeId: "b", text: "load: no task in all; on a, next best, 1 task in all" },
    ]);
  });

  it("then a node that has the image, then the one with more headroom, then the seed's order", () => {
    const room = { resources: { memory: GiB } };
    const held = ["a", "b", "c"].map((id) =>
      task(id, { serviceId: id, nodeId: id, reservations: { memory: id === "c" ? 0 : GiB / 2 } }),
    );
    const nodes = [node("a", { ...room, images: ["i"] }), node("b", room), node("c", room)];
    expect(world(nodes, [...held, task("t", { image: "i" })]).schedule()).toMatchObject([
      { nodeId: "a", decided: { by: "image-present", value: 0, nextNodeId: "c", nextValue: 1 } },
    ]);
    expect(world(nodes, [...held, task("t")]).schedule()).toMatchObject([
      { nodeId: "c", text: "headroom: about 100 % free; on a, next best, about 50 % free" },
    ]);
    const seeds = [0, 1, 2, 3, 4, 5, 6, 7].map(
      (seed) => world([node("a"), node("b")], [task("t")], { seed }).schedule()[0],
    );
    expect(new Set(seeds.map((each) => each?.kind === "placed" && each.nodeId))).toEqual(new Set(["a", "b"]));
    expect(seeds[0]).toMatchObject({ decided: { by: "seed" } });
  });

  it("a node that has the image is found among any number of equals, for each task of a group", () => {
    const nodes = Array.from({ length: 1_000 }, (_, n) => node(`n${n}`, n % 250 === 7 ? { images: ["i"] } : {}));
    for (let seed = 0; seed < 10; seed += 1) {
      const decisions = world(nodes, tasks(6, { image: "i" }), { seed }).schedule();
      const on = decisions.map((each) => (each.kind === "placed" ? each.nodeId : ""));
      expect(on.slice(0, 4).toSorted()).toEqual(["n257", "n507", "n7", "n757"]);
      expect(new Set(on).size).toBe(6);
      expect(decisions[0]).toMatchObject({ decided: { by: "seed" } });
    }
  });

  it("a large group is spread as evenly as a small one", () => {
    const nodes = ["a", "b", "c", "d", "e"].map((id) => node(id));
    expect(Object.values(counts(world(nodes, tasks(23)).schedule())).toSorted((a, b) => a - b)).toEqual([
      4, 4, 5, 5, 5,
    ]);
  });

  it("where only one node passes, names that as the reason", () => {
    expect(world([node("a"), node("b", { ready: false })], [task("t")]).schedule()).toMatchObject([
      { decided: { by: "only" }, text: "the only node that passes" },
    ]);
  });

  it("counts tasks whose node is applied later", () => {
    const scheduler = world([node("m")], [task("a", { nodeId: "n" }), task("t")]);
    scheduler.apply({ kind: "node", node: node("n") });
    expect(places(scheduler.schedule())).toEqual({ t: "m" });
  });
});

describe("recent failures", () => {
  const failures = (count: number, at: number, more: Partial<Delta & { kind: "failure" }> = {}): Delta[] =>
    Array.from({ length: count }, (_, n): Delta => ({
      kind: "failure",
      nodeId: "a",
      serviceId: "web",
      specVersion: 1,
      at: at + n,
      ...more,
    }));
  const minute = 60_000;
  // Without failures the lighter node is taken.
  const nodes = [node("a"), node("b")];
  const held = [task("x", { serviceId: "other", nodeId: "b" })];

  it.each<[string, string, Delta[]]>([
    ["b", "five put it last", failures(5, 0)],
    ["a", "four do not", failures(4, 0)],
    ["a", "five of another version do not", failures(5, 0, { specVersion: 2 })],
    ["a", "five of another service do not", failures(5, 0, { serviceId: "other" })],
    ["b", "five within five minutes do", [...failures(1, 0), ...failures(4, 5 * minute - 3)]],
    ["a", "five within more do not", [...failures(1, 0), ...failures(4, 5 * minute - 2)]],
    ["a", "five that are over do not", [...failures(5, 0), { kind: "time", now: 5 * minute + 1 }]],
    ["b", "time does not go back", [...failures(5, 10 * minute), { kind: "time", now: 0 }]],
    ["b", "late reports count", [...failures(4, 1), { kind: "time", now: 4 * minute }, ...failures(1, 0)]],
    [
      "a",
      "a node that was removed and applied again begins anew",
      [...failures(5, 0), { kind: "node-gone", nodeId: "a" }, { kind: "node", node: node("a") }],
    ],
  ])("%s is taken: %s", (expected, _why, deltas) => {
    expect(places(applied(world(nodes, [...held, task("t")]), ...deltas))).toEqual({ t: expected });
  });

  it("are forgotten with the node, even if tasks still name it", () => {
    const still = task("still", { serviceId: "other", nodeId: "a" });
    const two = [...held, task("y", { serviceId: "other", nodeId: "b" })];
    const gone: Delta[] = [...failures(5, 0), { kind: "node-gone", nodeId: "a" }, { kind: "node", node: node("a") }];
    expect(places(applied(world(nodes, [...two, still, task("t")]), ...gone))).toEqual({ t: "a" });
  });

  it("a node that is last is still used where no other passes", () => {
    expect(places(applied(world([node("a")], [task("t")]), ...failures(9, 0)))).toEqual({ t: "a" });
  });
});

describe("spread preferences", () => {
  const byZone = { preferences: ["spread=node.labels.zone"] };

  it("even out partitions before nodes, and are named as the reason", () => {
    const nodes = [zoned("a", "x"), zoned("b", "x"), zoned("c", "x"), zoned("d", "y")];
    const decisions = world(nodes, tasks(6, byZone)).schedule();
    expect(counts(decisions)).toEqual({ a: 1, b: 1, c: 1, d: 3 });
    const last = world(nodes, [
      ...["a", "b", "c"].map((id) => task(id, { ...byZone, nodeId: id })),
      task("t", byZone),
    ]).schedule();
    expect(last).toMatchObject([{ nodeId: "d", decided: { by: "preferences", value: 0, nextValue: 3 } }]);
  });

  it("nodes without the label are a partition of their own, as in Swarm", () => {
    expect(counts(world([zoned("a", "x"), zoned("b"), zoned("c")], tasks(4, byZone)).schedule())).toEqual({
      a: 2,
      b: 1,
      c: 1,
    });
  });

  it("the share of a partition without room goes to the others", () => {
    const nodes = [
      zoned("a", "x"),
      { ...zoned("b", "y"), resources: { memory: 1 } },
      { ...zoned("c", "z"), ready: false },
    ];
    const roomy = { ...nodes[0]!, resources: { memory: 100 } };
    expect(
      counts(world([roomy, ...nodes.slice(1)], tasks(5, { ...byZone, reservations: { memory: 1 } })).schedule()),
    ).toEqual({ a: 4, b: 1 });
  });

  it("services with one task each do not all go to one partition", () => {
    const nodes = [zoned("a", "x"), zoned("b", "y"), zoned("c", "z")];
    const single = Array.from({ length: 30 }, (_, n) => task(`t${n}`, { ...byZone, serviceId: `s${n}` }));
    expect(counts(world(nodes, single).schedule())).toEqual({ a: 10, b: 10, c: 10 });
  });

  it("engine labels and attributes of the node can be used too", () => {
    const nodes = [
      node("a", { engineLabels: { os: "1" } }),
      node("b", { engineLabels: { os: "1" } }),
      node("c", { engineLabels: { os: "2" } }),
    ];
    expect(counts(world(nodes, tasks(4, { preferences: ["spread=engine.labels.os"] })).schedule())).toMatchObject({
      c: 2,
    });
  });
});

describe("binpack", () => {
  const half = { reservations: { memory: GiB / 2 } };
  const nodes = ["a", "b", "c", "d"].map((id) => node(id, { resources: { memory: 2 * GiB } }));

  it("fills the fullest node that has room", () => {
    const decisions = world(
      nodes,
      Array.from({ length: 6 }, (_, n) => task(`t${n}`, { ...half, serviceId: `s${n}` })),
      { strategy: "binpack" },
    ).schedule();
    expect(Object.values(counts(decisions)).toSorted((a, b) => a - b)).toEqual([2, 4]);
    expect(decisions[1]).toMatchObject({ decided: { by: "packing" } });
    expect(decisions[1]?.text).toMatch(/^packing: 75 % free; on ., next best, 100 % free$/);
  });

  it("a service's group too", () => {
    expect(
      Object.values(counts(world(nodes, tasks(9, half), { strategy: "binpack" }).schedule())).toSorted((a, b) => a - b),
    ).toEqual([1, 4, 4]);
  });

  it("without reservations, the node with the most tasks", () => {
    expect(
      Object.values(
        counts(
          world(
            nodes.map(({ id }) => node(id)),
            tasks(7),
            { strategy: "binpack" },
          ).schedule(),
        ),
      ),
    ).toEqual([7]);
  });

  it("failures and taints still come first", () => {
    const soft = node("a", { resources: { memory: 2 * GiB }, taints: [{ key: "k", effect: "prefer-no-schedule" }] });
    const held = task("x", { serviceId: "x", nodeId: "a", ...half });
    expect(places(world([soft, nodes[1]!], [held, task("t", half)], { strategy: "binpack" }).schedule())).toEqual({
      t: "b",
    });
  });
});

describe("scorers of your own", () => {
  const last: Scorer = {
    name: "alphabet",
    score: () => (each) => -each.state.id.charCodeAt(0),
    explain: (value) => `letter ${String.fromCharCode(-value)}`,
  };
  const nodes = ["a", "b", "c"].map((id) => node(id));

  it("before the order bind strictly", () => {
    const scheduler = world(nodes, tasks(2), { scorers: [last, ...defaultScorers.spread] });
    expect(scheduler.schedule()).toMatchObject([
      { nodeId: "c", text: "alphabet: letter c; on b, next best, letter b" },
      { nodeId: "c" },
    ]);
  });

  it("after it decide among equals", () => {
    const scheduler = world(nodes, tasks(4), { scorers: [...defaultScorers.spread, last] });
    expect(scheduler.schedule().map((each) => each.kind === "placed" && each.nodeId)).toEqual(["c", "b", "a", "c"]);
  });
});

it("the worked placement at the head of picker.ts has the decisions that it claims", () => {
  const zoneNode = (id: string, zone: string, free: number): NodeState => ({
    ...zoned(id, zone),
    resources: { memory: free },
  });
  const nodes = [
    zoneNode("a", "north", GiB),
    zoneNode("b", "north", 2 * GiB),
    zoneNode("c", "south", 4 * GiB),
    zoneNode("d", "south", GiB / 4),
  ];
  const others = Object.entries({ a: 1, b: 3, c: 5, d: 4 }).flatMap(([id, count]) =>
    Array.from({ length: count }, (_, n) => task(`${id}${n}`, { serviceId: `other ${id}${n}`, nodeId: id })),
  );
  const web = { preferences: ["spread=node.labels.zone"], reservations: { memory: GiB / 2 } };
  const held = task("web.0", { preferences: ["spread=node.labels.zone"], nodeId: "a" });
  const pending = ["web.1", "web.2", "web.3"].map((id) => task(id, { specVersion: 2, ...web }));
  expect(world(nodes, [...others, held, ...pending]).schedule()).toMatchObject([
    { nodeId: "c", decided: { by: "preferences", value: 0, nextNodeId: "b", nextValue: 1 } },
    { nodeId: "b", decided: { by: "service-tasks", value: 0, nextNodeId: "a", nextValue: 1 } },
    { nodeId: "c", decided: { by: "preferences", value: 1, nextNodeId: "a", nextValue: 2 } },
  ]);
});
