import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { type Decision, type Delta, type NodeState, Scheduler, type TaskState } from "../src/index.ts";
import { anyDelta, anyNode, anyServices, anyTask } from "./model/arbitraries.ts";
import { compareRanks, ModelWorld } from "./model/world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

function applied(deltas: readonly Delta[], seed = 3): Scheduler {
  const scheduler = new Scheduler({ seed });
  for (const delta of deltas) scheduler.apply(delta);
  return scheduler;
}

const uniqueNodes = fc.uniqueArray(anyNode, { selector: (node) => node.id });

/** Services, and a history of deltas about them. */
const anyHistory = (maxLength: number): fc.Arbitrary<Delta[]> =>
  anyServices.chain((services) => fc.array(anyDelta(services), { maxLength, size: "max" }));

/** Applies decisions to the model, one by one, and checks each against the model's rules. */
function check(model: ModelWorld, decisions: readonly Decision[]): void {
  for (const decision of decisions) {
    const task = model.tasks.get(decision.taskId) as TaskState;
    if (decision.kind === "waiting") continue;
    const before = [...model.nodes.values()].filter((node) => model.passes(node, task));
    for (const victim of decision.victims ?? []) {
      expect(before).toEqual([]);
      expect(victim.priority).toBeLessThan(task.priority ?? 0);
      model.tasks.delete(victim.taskId);
    }
    const open = [...model.nodes.values()].filter((node) => model.passes(node, task));
    expect(open.map((node) => node.id)).toContain(decision.nodeId);
    if (decision.victims === undefined) {
      const ranks = open.map((node) => model.rank(node, task)).toSorted(compareRanks);
      expect(model.rank(model.nodes.get(decision.nodeId) as NodeState, task)).toEqual(ranks[0]);
      expect(decision.decided.by === "only").toBe(open.length === 1);
    }
    model.take(decision);
  }
}

describe("at every moment of a random history", () => {
  it("a placement passes all filters and no node ranks before it; a waiting task fits nowhere", () => {
    fc.assert(
      fc.property(anyHistory(120), fc.integer({ min: 1, max: 12 }), (deltas, every) => {
        const scheduler = new Scheduler({ seed: 3 });
        const model = new ModelWorld();
        for (const [index, delta] of deltas.entries()) {
          scheduler.apply(delta);
          model.apply(delta);
          if (index % every !== 0) continue;
          check(model, scheduler.schedule());
          for (const task of model.tasks.values()) {
            if (task.nodeId !== undefined) continue;
            expect([task.id, ...[...model.nodes.values()].filter((node) => model.passes(node, task))]).toEqual([
              task.id,
            ]);
          }
        }
      }),
      { numRuns: 250 },
    );
  });

  it("after any deltas the scheduler equals one built anew: in reasons, later placements and capacity", () => {
    const withNext = anyServices.chain((services) =>
      fc.tuple(
        fc.array(anyDelta(services), { maxLength: 400, size: "max" }),
        fc.array(anyDelta(services), { maxLength: 12 }),
      ),
    );
    fc.assert(
      fc.property(withNext, fc.integer({ min: 1, max: 12 }), ([deltas, next], every) => {
        const scheduler = new Scheduler({ seed: 3 });
        const model = new ModelWorld();
        const decide = (): void => {
          for (const decision of scheduler.schedule()) if (decision.kind === "placed") model.take(decision);
        };
        for (const [index, delta] of deltas.entries()) {
          scheduler.apply(delta);
          model.apply(delta);
          if (index % every === 0) decide();
        }
        decide();
        const anew = applied(model.deltas());
        expect(anew.schedule().filter((each) => each.kind === "placed")).toEqual([]);
        for (const task of model.tasks.values()) {
          expect(scheduler.explain(task.id)).toEqual(anew.explain(task.id));
          const { nodeId: _, leaving: _leaving, ...pending } = task;
          if (task.id.endsWith("1")) expect(scheduler.capacity(pending)).toEqual(anew.capacity(pending));
        }
        for (const delta of next) {
          scheduler.apply(delta);
          anew.apply(delta);
          const placed = (decisions: readonly Decision[]): Decision[] =>
            decisions.filter((each) => each.kind === "placed");
          expect(placed(scheduler.schedule())).toEqual(placed(anew.schedule()));
        }
      }),
      { numRuns: 80 },
    );
  });
});

describe("whatever the world", () => {
  it("the order of deltas within a batch changes nothing", () => {
    const shuffled = anyServices
      .chain((services) => fc.uniqueArray(anyTask(services), { selector: (task) => task.id, maxLength: 25 }))
      .chain((tasks) => fc.tuple(fc.constant(tasks), fc.shuffledSubarray(tasks, { minLength: tasks.length })));
    fc.assert(
      fc.property(uniqueNodes, shuffled, (nodes, [tasks, other]) => {
        const deltas = (order: readonly NodeState[], them: readonly TaskState[]): Delta[] => [
          ...order.map((node): Delta => ({ kind: "node", node })),
          ...them.map((task): Delta => ({ kind: "task", task })),
        ];
        const first = applied(deltas(nodes, tasks)).schedule();
        expect(applied(deltas(nodes.toReversed(), other)).schedule()).toEqual(first);
        expect(applied(deltas(nodes, other).toReversed()).schedule()).toEqual(first);
      }),
      { numRuns: 300 },
    );
  });

  it("a further node never makes a schedulable task unschedulable", () => {
    const anyWorld = anyServices.chain((services) =>
      fc.tuple(fc.array(anyDelta(services), { maxLength: 60 }), anyTask(services)),
    );
    fc.assert(
      fc.property(anyWorld, anyNode, ([deltas, task], extra) => {
        const model = new ModelWorld();
        for (const delta of deltas) model.apply(delta);
        const scheduler = applied(deltas);
        for (const decision of scheduler.schedule()) if (decision.kind === "placed") model.take(decision);
        const newcomer: Delta = { kind: "task", task: { ...task, id: "newcomer", specVersion: 7, priority: 0 } };
        const kind = (world: Scheduler): string | undefined =>
          world.schedule().find((each) => each.taskId === "newcomer")?.kind;
        const fits = kind(applied([...model.deltas(), newcomer]));
        // A node with a local volume ties the volume's tasks to it, so it is left out here.
        const { volumes: _, ...more } = extra;
        const fitsWithMore = kind(
          applied([...model.deltas(), { kind: "node", node: { ...more, id: "more", hostname: "more" } }, newcomer]),
        );
        if (fits === "placed") expect(fitsWithMore).toBe("placed");
      }),
      { numRuns: 400 },
    );
  });

  it("a service is spread over a label's values to within one task, nested too, if all have room", () => {
    const labels = fc.record({ zone: fc.constantFrom("x", "y", "z"), rack: fc.constantFrom("1", "2", "3") });
    fc.assert(
      fc.property(
        fc.array(labels, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 9 }),
        (places, tasks, before) => {
          const scheduler = new Scheduler();
          for (const [n, each] of places.entries())
            scheduler.apply({
              kind: "node",
              node: { id: `n${n}`, role: "worker", ready: true, active: true, labels: each },
            });
          const ask = {
            serviceId: "s",
            specVersion: 1,
            preferences: ["spread=node.labels.zone", "spread=node.labels.rack"],
          };
          // In two batches: the second has to continue from the first.
          const counts = new Map<string, number>();
          const place = (from: number, to: number): void => {
            for (let n = from; n < to; n += 1) scheduler.apply({ kind: "task", task: { ...ask, id: `t${n}` } });
            for (const each of scheduler.schedule())
              if (each.kind === "placed") counts.set(each.nodeId, (counts.get(each.nodeId) ?? 0) + 1);
          };
          place(0, Math.min(before, tasks));
          place(Math.min(before, tasks), tasks);
          const sum = (matches: (each: { zone: string; rack: string }) => boolean): number =>
            places.reduce((total, each, n) => total + (matches(each) ? (counts.get(`n${n}`) ?? 0) : 0), 0);
          const spread = (values: readonly number[]): number => Math.max(...values) - Math.min(...values);
          const zones = [...new Set(places.map((each) => each.zone))];
          expect(spread(zones.map((zone) => sum((each) => each.zone === zone)))).toBeLessThanOrEqual(1);
          for (const zone of zones) {
            const racks = [...new Set(places.filter((each) => each.zone === zone).map((each) => each.rack))];
            expect(
              spread(racks.map((rack) => sum((each) => each.zone === zone && each.rack === rack))),
            ).toBeLessThanOrEqual(1);
            for (const rack of racks) {
              const here = places.flatMap((each, n) =>
                each.zone === zone && each.rack === rack ? [counts.get(`n${n}`) ?? 0] : [],
              );
              expect(spread(here)).toBeLessThanOrEqual(1);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
