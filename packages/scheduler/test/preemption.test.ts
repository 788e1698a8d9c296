import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { NodeState, TaskState } from "../src/index.ts";
import { ModelWorld } from "./model/world.ts";
import { node, places, task, applied, world } from "./world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

const one = { resources: { memory: 4 } };
const held = (id: string, nodeId: string, memory: number, priority = 0): TaskState =>
  task(id, { serviceId: id, nodeId, priority, reservations: { memory } });
const urgent = (memory: number, more: Partial<TaskState> = {}): TaskState =>
  task("urgent", { serviceId: "urgent", priority: 10, reservations: { memory }, ...more });

describe("preemption", () => {
  it("displaces as Kubernetes does: the lowest, then the fewest, and names them", () => {
    const nodes = [node("a", one), node("b", one), node("c", one)];
    const tasks = [held("a1", "a", 2), held("a2", "a", 2), held("b1", "b", 4, 5), held("c1", "c", 4, 3)];
    expect(world(nodes, [...tasks, urgent(4)]).schedule()).toEqual([
      {
        kind: "placed",
        taskId: "urgent",
        nodeId: "a",
        serviceTasks: 0,
        nodeTasks: 0,
        decided: { by: "preemption" },
        victims: [
          { taskId: "a1", serviceId: "a1", priority: 0 },
          { taskId: "a2", serviceId: "a2", priority: 0 },
        ],
        text: "no node has room; displaces 2 tasks of lower priority, the lowest and fewest: a1, a2",
      },
    ]);
    const fewest = [held("a1", "a", 2, 3), held("a2", "a", 2, 3), held("b1", "b", 4, 5), held("c1", "c", 4, 3)];
    expect(world(nodes, [...fewest, urgent(4)]).schedule()).toMatchObject([{ nodeId: "c" }]);
    const sums = [held("a1", "a", 2, 3), held("a2", "a", 2, 2), held("b1", "b", 2, 3), held("b2", "b", 2, 1)];
    expect(world(nodes.slice(0, 2), [...sums, urgent(4)]).schedule()).toMatchObject([{ nodeId: "b" }]);
    // On a node the highest priorities are kept; of equals, the lighter tasks.
    const one4 = [held("low", "a", 2, 1), held("high", "a", 2, 2), held("x", "b", 4, 9)];
    expect(world(nodes.slice(0, 2), [...one4, urgent(2)]).schedule()).toMatchObject([{ victims: [{ taskId: "low" }] }]);
    const equals = [held("a-light", "a", 1), held("b-heavy", "a", 3)];
    expect(world([nodes[0]!], [...equals, urgent(3)]).schedule()).toMatchObject([{ victims: [{ taskId: "b-heavy" }] }]);
  });

  it("displaces no task where a node has room, none of equal priority, and none without need", () => {
    const nodes = [node("a", one), node("b", one)];
    expect(world(nodes, [held("x", "a", 4), urgent(4)]).schedule()).toMatchObject([{ nodeId: "b" }]);
    const equal = world([nodes[0]!], [held("x", "a", 4, 10), urgent(4)]);
    expect(equal.schedule()).toMatchObject([{ kind: "waiting" }]);
    const vain = world([nodes[0]!], [held("x", "a", 2), urgent(8)]);
    expect(vain.schedule()).toMatchObject([{ kind: "waiting" }]);
    const never = world([node("a", { ...one, ready: false })], [held("x", "a", 4), urgent(4)]);
    expect(never.schedule()).toMatchObject([{ kind: "waiting" }]);
  });

  it("a victim's place is free at once, and its replacement is scheduled like any other task", () => {
    const scheduler = world([node("a", one)], [held("x", "a", 4), urgent(2)]);
    expect(scheduler.schedule()).toMatchObject([{ victims: [{ taskId: "x" }] }]);
    const again = { id: "x2", serviceId: "x", specVersion: 1 };
    expect(places(applied(scheduler, { kind: "task", task: { ...again, reservations: { memory: 2 } } }))).toEqual({
      x2: "a",
    });
  });

  it("a caller that could not record the decision applies the victims again, and the state is as before", () => {
    const scheduler = world([node("a", one)], [held("x", "a", 4), urgent(4)]);
    expect(scheduler.schedule()).toHaveLength(1);
    const decisions = applied(scheduler, { kind: "task", task: held("x", "a", 4) }, { kind: "task", task: urgent(4) });
    expect(decisions).toMatchObject([{ taskId: "urgent", victims: [{ taskId: "x" }] }]);
  });

  it("makes room for ports, limits and anti-affinity too, but does not remove tasks that the new one needs", () => {
    const port = { hostPorts: [{ port: 80, protocol: "tcp" as const }], reservations: {} };
    expect(
      world([node("a")], [task("x", { ...port, serviceId: "x", nodeId: "a" }), urgent(0, port)]).schedule(),
    ).toMatchObject([{ victims: [{ taskId: "x" }] }]);
    const named = node("a", { ...one, hostname: "a" });
    const away = { affinity: [{ kind: "anti-affinity" as const, service: "x", topology: "node.hostname" }] };
    expect(world([named], [held("x", "a", 1), urgent(1, away)]).schedule()).toMatchObject([
      { victims: [{ taskId: "x" }] },
    ]);
    const near = { affinity: [{ kind: "affinity" as const, service: "x", topology: "node.hostname" }] };
    expect(world([named], [held("x", "a", 3), urgent(2, near)]).schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(world([named], [held("x", "a", 2), held("y", "a", 2), urgent(2, near)]).schedule()).toMatchObject([
      { victims: [{ taskId: "y" }] },
    ]);
  });

  it("a group displaces for each of its tasks, groups of the highest priority first", () => {
    const nodes = ["a", "b"].map((id) => node(id, one));
    const tasks = [held("x", "a", 4), held("y", "b", 4, 1)];
    const low = ["l1", "l2"].map((id) => task(id, { serviceId: "a-low", priority: 2, reservations: { memory: 4 } }));
    const high = ["h1"].map((id) => task(id, { serviceId: "z-high", priority: 9, reservations: { memory: 4 } }));
    const decisions = world(nodes, [...tasks, ...low, ...high]).schedule();
    expect(decisions).toMatchObject([
      { taskId: "h1", victims: [{ taskId: "x" }] },
      { taskId: "l1", victims: [{ taskId: "y" }] },
      { taskId: "l2", kind: "waiting" },
    ]);
  });

  it("waits for a node whose tasks it may displace, and is placed there when the node comes back", () => {
    const scheduler = world([node("a", { ...one, ready: false })], [held("x", "a", 4), urgent(4)]);
    expect(scheduler.schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(applied(scheduler, { kind: "node", node: node("a", one) })).toMatchObject([{ victims: [{ taskId: "x" }] }]);
    const usual = world([node("a", { ...one, ready: false })], [held("x", "a", 4, -1), urgent(4, { priority: 0 })]);
    expect(usual.schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(applied(usual, { kind: "node", node: node("a", one) })).toMatchObject([{ victims: [{ taskId: "x" }] }]);
  });

  it("a hundred small tasks on a node can be displaced", () => {
    const small = Array.from({ length: 100 }, (_, n) => held(`s${n}`, "a", 1, n));
    const [decision] = world(
      [node("a", { resources: { memory: 100 } })],
      [...small, urgent(10, { priority: 1000 })],
    ).schedule();
    const victims = decision?.kind === "placed" ? (decision.victims ?? []) : [];
    expect(victims.map(({ priority }) => priority).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("no set of victims on any node has a lower highest priority, and no victim could stay", () => {
    const anyHeld = fc.record({
      on: fc.integer({ min: 0, max: 2 }),
      cpu: fc.integer({ min: 0, max: 4 }),
      memory: fc.integer({ min: 0, max: 4 }),
      priority: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(
      fc.property(
        fc.array(anyHeld, { maxLength: 12 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 8 }),
        (them, cpu, memory) => {
          const nodes: NodeState[] = [0, 1, 2].map((n) => node(`n${n}`, { resources: { cpu: 8, memory: 8 } }));
          const tasks = them.map((each, n) =>
            task(`t${n}`, {
              serviceId: `s${n}`,
              nodeId: `n${each.on}`,
              priority: each.priority,
              reservations: { cpu: each.cpu, memory: each.memory },
            }),
          );
          const asks = task("urgent", { serviceId: "urgent", priority: 3, reservations: { cpu, memory } });
          const model = new ModelWorld();
          for (const each of nodes) model.apply({ kind: "node", node: each });
          for (const each of [...tasks, asks]) model.apply({ kind: "task", task: each });
          // Every set of victims that is sufficient and of which none could stay.
          const sets: TaskState[][] = [];
          for (const each of nodes) {
            const below = model.held(each.id).filter(({ priority = 0 }) => priority < 3);
            const fits = (set: readonly TaskState[]): boolean => {
              for (const victim of set) model.tasks.delete(victim.id);
              const passes = model.passes(each, asks);
              for (const victim of set) model.tasks.set(victim.id, victim);
              return passes;
            };
            for (let mask = 0; mask < 2 ** below.length; mask += 1) {
              const set = below.filter((_, n) => (mask & (1 << n)) !== 0);
              if (fits(set) && set.every((one) => !fits(set.filter((other) => other !== one)))) sets.push(set);
            }
          }
          const highest = (set: readonly { priority?: number }[]): number =>
            Math.max(Number.NEGATIVE_INFINITY, ...set.map(({ priority = 0 }) => priority));
          const [decision] = world(nodes, [...tasks, asks]).schedule();
          expect(decision?.kind).toBe(sets.length === 0 ? "waiting" : "placed");
          if (decision?.kind !== "placed") return;
          const ids = (decision.victims ?? []).map(({ taskId }) => taskId).toSorted();
          expect(sets.map((set) => set.map(({ id }) => id).toSorted())).toContainEqual(ids);
          expect(highest(decision.victims ?? [])).toBe(Math.min(...sets.map(highest)));
        },
      ),
      { numRuns: 400 },
    );
  });
});
