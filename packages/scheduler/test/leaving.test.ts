import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { type NodeState, Scheduler, SchedulerError, type TaskState } from "../src/index.ts";
import { GiB, node, places, task, applied, world } from "./world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

const old = (id: string, nodeId: string, more: Partial<TaskState> = {}): TaskState =>
  task(id, { nodeId, leaving: true, ...more });

describe("a task that is leaving", () => {
  it("holds its resources, ports, names of generic resources, address and volumes", () => {
    const nodes = [
      node("n", { resources: { memory: GiB }, named: { gpu: ["g0"] }, addresses: 1, volumes: ["data"] }),
      node("m", { ready: false }),
    ];
    const holds = { reservations: { memory: GiB / 2, gpu: 1 }, hostPorts: [{ port: 80, protocol: "tcp" as const }] };
    const waits = (asks: Partial<TaskState>): string | undefined => {
      const leaving = old("old", "n", { ...holds, named: { gpu: ["g0"] }, localVolumes: ["cache"] });
      const [decision] = world(nodes, [leaving, task("t", { serviceId: "other", ...asks })]).schedule();
      return decision?.kind === "waiting" ? decision.refusals.find((each) => each.nearestNodeId === "n")?.filter : "";
    };
    expect(waits({})).toBe("addresses");
    nodes[0] = { ...(nodes[0] as NodeState), addresses: 2 };
    expect(waits({})).toBe("");
    expect(waits({ reservations: { memory: GiB } })).toBe("resources");
    expect(waits({ reservations: { gpu: 1 } })).toBe("resources");
    expect(waits({ hostPorts: [{ port: 80, protocol: "tcp" }] })).toBe("host-ports");
    const [elsewhere] = world(
      [nodes[0], node("m")],
      [old("old", "m", { localVolumes: ["cache"] }), task("t", { localVolumes: ["cache"] })],
    ).schedule();
    expect(elsewhere).toMatchObject({ nodeId: "m" });
  });

  it("is not counted for service, load, preference, max per node or affinity, both ways", () => {
    const nodes = [node("a", { labels: { zone: "x" } }), node("b", { labels: { zone: "y" } })];
    const stays = task("stays", { nodeId: "b" });
    const on = (asks: Partial<TaskState>, ...held: readonly TaskState[]): unknown =>
      places(world(nodes, [...held, task("t", asks)]).schedule())["t"];
    const crowd = ["1", "2", "3"].map((id) => old(id, "a"));
    expect(on({}, ...crowd, stays)).toBe("a");
    expect(on({ serviceId: "x" }, ...crowd, stays)).toBe("a");
    expect(on({ preferences: ["spread=node.labels.zone"] }, ...crowd, stays)).toBe("a");
    expect(on({ maxPerNode: 1 }, ...crowd, stays)).toBe("a");
    const beside = (kind: "affinity" | "anti-affinity"): Partial<TaskState> => ({
      serviceId: "x",
      affinity: [{ kind, service: "web", topology: "node.id" }],
    });
    expect(on(beside("affinity"), ...crowd)).toBeUndefined();
    expect(on(beside("affinity"), ...crowd, stays)).toBe("b");
    expect(on(beside("anti-affinity"), ...crowd, stays)).toBe("a");
    expect(on({}, old("shy", "a", beside("anti-affinity")), stays)).toBe("a");
  });

  it("is never a victim, and neither drained nor rebalanced", () => {
    const one = { reservations: { memory: 1 } };
    const nodes = [node("a", { resources: { memory: 1 } }), node("b", { ready: false })];
    const scheduler = world(nodes, [old("old", "a", one), task("t", { ...one, serviceId: "x", priority: 9 })]);
    expect(scheduler.schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(scheduler.drain("a")).toEqual({ nodeId: "a", moves: [], stuck: [], victims: [] });
    const leaving = ["1", "2", "3", "4"].map((id) => old(id, "a"));
    expect(world([node("a"), node("b")], leaving).rebalance({ maxMoves: 9 })).toEqual([]);
  });

  it("wakes at once tasks that waited because it was counted, and, once it is gone, those that waited for what it holds", () => {
    const nodes = [node("a", { resources: { memory: 1 } })];
    const one = { reservations: { memory: 1 }, maxPerNode: 1 };
    const scheduler = world(nodes, [
      task("old", { ...one, nodeId: "a" }),
      task("new", one),
      task("limit", { serviceId: "web", specVersion: 2, maxPerNode: 1 }),
    ]);
    expect(scheduler.schedule().map((each) => each.kind)).toEqual(["waiting", "waiting"]);
    expect(places(applied(scheduler, { kind: "task", task: old("old", "a", one) }))).toMatchObject({ limit: "a" });
    scheduler.apply({ kind: "task-gone", taskId: "limit" });
    expect(places(applied(scheduler, { kind: "task-gone", taskId: "old" }))).toEqual({ new: "a" });
  });

  it("that is pending is refused: it has no node to leave", () => {
    expect(() => world([], [task("t", { leaving: true })])).toThrow(SchedulerError);
  });
});

describe("would it fit once others are gone", () => {
  const one = { reservations: { memory: 1 }, hostPorts: [{ port: 80, protocol: "tcp" as const }] };
  const full = [node("a", { resources: { memory: 1 } }), node("b", { resources: { memory: 0 } })];

  it("returns where, or why not even then, and changes nothing", () => {
    const scheduler = world(full, [task("old", { ...one, nodeId: "a" })]);
    const next = task("new", { specVersion: 2, ...one });
    expect(scheduler.wouldFit(next)).toMatchObject({
      kind: "waiting",
      refusals: [{ filter: "host-ports" }, { filter: "resources" }],
    });
    expect(scheduler.wouldFit(next, { onceGone: ["old", "nobody"] })).toMatchObject({ kind: "placed", nodeId: "a" });
    const large = task("new", { specVersion: 2, reservations: { memory: 64 } });
    expect(scheduler.wouldFit(large, { onceGone: ["old"] })).toMatchObject({
      kind: "waiting",
      text: "2 of 2 nodes short of memory: needs 64 B, most free is 1 B on a",
    });
    expect(scheduler.schedule()).toEqual([]);
    scheduler.apply({ kind: "task", task: next });
    expect(scheduler.schedule()).toMatchObject([{ kind: "waiting" }]);
    // The task of the question may be known already, pending or placed.
    expect(scheduler.wouldFit(next, { onceGone: ["old"] })).toMatchObject({ kind: "placed", nodeId: "a" });
    expect(scheduler.wouldFit(task("old", { ...one, nodeId: "a" }))).toMatchObject({ kind: "placed", nodeId: "a" });
  });

  it("on one node only, if asked so", () => {
    const scheduler = world(full, [task("old", { ...one, nodeId: "a" })]);
    const next = task("new", { specVersion: 2, ...one });
    expect(scheduler.wouldFit(next, { nodeId: "b", onceGone: ["old"] })).toMatchObject({
      kind: "waiting",
      nodes: 1,
      text: "1 of 1 node short of memory: needs 1 B, most free is 0 B on b",
    });
    expect(scheduler.wouldFit(next, { nodeId: "a", onceGone: ["old"] })).toMatchObject({ nodeId: "a" });
    expect(() => scheduler.wouldFit(next, { nodeId: "nowhere" })).toThrow(SchedulerError);
  });
});

describe("after a rolling update, in any order of steps", () => {
  const counts = (on: ReadonlyMap<string, string>, nodes: number): number[] =>
    Array.from({ length: nodes }, (_, n) => [...on.values()].filter((each) => each === `n${n}`).length);

  /** Replaces every task of `web`; `parallel` slots at once, in the order given. */
  function update(
    scheduler: Scheduler,
    on: Map<string, string>,
    slots: readonly string[],
    parallel: number,
    startFirst: boolean,
    more: Partial<TaskState>,
  ): void {
    for (let from = 0; from < slots.length; from += parallel) {
      const turn = slots.slice(from, from + parallel);
      for (const slot of turn) scheduler.apply({ kind: "task", task: old(slot, on.get(slot) ?? "", more) });
      for (const slot of turn) {
        const next = task(`${slot}'`, { specVersion: 2, ...more });
        if (startFirst) {
          scheduler.apply({ kind: "task", task: next });
          continue;
        }
        const decision = scheduler.wouldFit(next, { onceGone: [slot] });
        if (decision.kind !== "placed") throw new Error(decision.text);
        scheduler.apply({ kind: "task", task: { ...next, nodeId: decision.nodeId } });
        on.set(slot, decision.nodeId);
        scheduler.apply({ kind: "task-gone", taskId: slot });
      }
      for (const decision of scheduler.schedule()) {
        if (decision.kind !== "placed") throw new Error(decision.text);
        const slot = decision.taskId.slice(0, -1);
        on.set(slot, decision.nodeId);
        scheduler.apply({ kind: "task-gone", taskId: slot });
      }
    }
  }

  it.each([2, 3, 5])(
    "%i replicas on as many nodes stay one per node, in either order, one or two at a time, with any seed",
    (size) => {
      for (let seed = 0; seed < 50; seed += 1) {
        for (let way = 0; way < 8; way += 1) {
          const slots = Array.from({ length: size }, (_, n) => `t${n}`);
          const scheduler = world(
            slots.map((_, n) => node(`n${n}`)),
            slots.map((id) => task(id)),
            { seed },
          );
          const on = new Map(Object.entries(places(scheduler.schedule()) as Record<string, string>));
          const order = (way & 1) === 0 ? slots : slots.toReversed();
          update(scheduler, on, order, (way & 2) === 0 ? 1 : 2, (way & 4) === 0, {});
          expect(counts(on, size)).toEqual(slots.map(() => 1));
        }
      }
    },
  );

  it("the service is as even as after a new placement, over nodes and over partitions of a preference, even where nodes have just enough room", () => {
    const anyUpdate = fc.record({
      nodes: fc.integer({ min: 1, max: 7 }),
      slots: fc.integer({ min: 1, max: 14 }).chain((n) =>
        fc.shuffledSubarray(
          Array.from({ length: n }, (_, at) => `t${String(at).padStart(2, "0")}`),
          { minLength: n },
        ),
      ),
      parallel: fc.integer({ min: 1, max: 5 }),
      startFirst: fc.boolean(),
      zoned: fc.boolean(),
      tight: fc.boolean(),
      seed: fc.nat(1_000),
    });
    fc.assert(
      fc.property(anyUpdate, ({ nodes, slots, parallel, startFirst, zoned, tight, seed }) => {
        const more: Partial<TaskState> = {
          reservations: { memory: 1 },
          ...(zoned ? { preferences: ["spread=node.labels.zone"] } : {}),
        };
        // Without a preference, just room for what an even placement puts on a node.
        const memory = tight && !zoned && !startFirst ? Math.ceil(slots.length / nodes) : 100;
        const states = Array.from({ length: nodes }, (_, n) =>
          node(`n${n}`, { labels: { zone: `z${n % 2}` }, resources: { memory } }),
        );
        const evenness = (on: ReadonlyMap<string, string>): number[] => {
          const by = counts(on, nodes);
          const zones = [0, 1].map((zone) => by.filter((_, n) => n % 2 === zone).reduce((sum, each) => sum + each, 0));
          return (zoned ? [...zones] : [...by]).toSorted((a, b) => a - b);
        };
        const scheduler = world(
          states,
          slots.map((id) => task(id, more)),
          { seed },
        );
        const on = new Map(Object.entries(places(scheduler.schedule()) as Record<string, string>));
        const fresh = evenness(on);
        update(scheduler, on, slots, parallel, startFirst, more);
        expect(evenness(on)).toEqual(fresh);
      }),
      { numRuns: 400 },
    );
  });
});
