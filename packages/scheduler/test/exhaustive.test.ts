/** Small worlds in which every assignment is tried: promises are checked, and what is not promised is measured. */
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { Decision, NodeState, SchedulerOptions, TaskState } from "../src/index.ts";
import { node, task, world } from "./world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

const memory = (amount: number): { resources: { memory: number } } => ({ resources: { memory: amount } });

/** Numbers from a seed, so that what is measured is the same every time. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe("a group of equal tasks", () => {
  it("is placed in full where it fits, and as evenly as by any assignment", () => {
    const anyNode = fc.record({ room: fc.integer({ min: 0, max: 5 }), before: fc.integer({ min: 0, max: 3 }) });
    fc.assert(
      fc.property(
        fc.array(anyNode, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 12 }),
        (them, wanted) => {
          const nodes = them.map(({ room, before }, n) => node(`n${n}`, memory(room + before)));
          const ask = { reservations: { memory: 1 } };
          const held = them.flatMap(({ before }, n) =>
            Array.from({ length: before }, (_, at) => task(`h${n}-${at}`, { ...ask, nodeId: `n${n}` })),
          );
          const pending = Array.from({ length: wanted }, (_, n) => task(`t${n}`, ask));
          const counts = them.map(({ before }) => before);
          for (const each of world(nodes, [...held, ...pending]).schedule()) {
            if (each.kind === "placed") counts[Number(each.nodeId.slice(1))]! += 1;
          }
          let [most, evenest] = [0, Number.POSITIVE_INFINITY];
          const squares = (list: readonly number[]): number => list.reduce((sum, each) => sum + each * each, 0);
          const assign = (at: number, left: number, list: readonly number[]): void => {
            if (at < them.length) {
              const { room, before } = them[at]!;
              for (let take = 0; take <= Math.min(room, left); take += 1)
                assign(at + 1, left - take, [...list, before + take]);
              return;
            }
            const placed = wanted - left;
            if (placed > most) [most, evenest] = [placed, squares(list)];
            else if (placed === most) evenest = Math.min(evenest, squares(list));
          };
          assign(0, wanted, []);
          const before = them.reduce((sum, each) => sum + each.before, 0);
          expect(counts.reduce((sum, each) => sum + each, 0) - before).toBe(most);
          expect(squares(counts)).toBe(evenest);
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** How many of these fit, at best. */
function bestFit(rooms: readonly number[], sizes: readonly number[]): number {
  let best = 0;
  const place = (at: number, free: readonly number[], placed: number): void => {
    best = Math.max(best, placed);
    if (at === sizes.length || placed + sizes.length - at <= best) return;
    for (const [n, room] of free.entries())
      if (room >= sizes[at]!) place(at + 1, free.with(n, room - sizes[at]!), placed + 1);
    place(at + 1, free, placed);
  };
  place(0, rooms, 0);
  return best;
}

/** The fewest nodes that hold all of these. */
function fewestNodes(room: number, sizes: readonly number[]): number {
  for (let count = 1; ; count += 1)
    if (
      bestFit(
        Array.from({ length: count }, () => room),
        sizes,
      ) === sizes.length
    )
      return count;
}

/** Services of one task each, of sizes between 1 and 6. */
function services(random: Generator<number, never>, count: number): TaskState[] {
  return Array.from({ length: count }, (_, n) =>
    task(`t${n}`, { serviceId: `s${n}`, reservations: { memory: 1 + Math.floor(6 * random.next().value) } }),
  );
}

const placed = (
  nodes: readonly NodeState[],
  tasks: readonly TaskState[],
  options: SchedulerOptions,
): (Decision & { kind: "placed" })[] =>
  world(nodes, tasks, options)
    .schedule()
    .filter((each) => each.kind === "placed");
const sizesOf = (tasks: readonly TaskState[]): number[] => tasks.map((each) => each.reservations?.["memory"] ?? 0);

// Packing services of different sizes is not promised to be optimal: they are placed in the order of their names, once.
// These are the figures in DESIGN.md.
describe("services of different sizes", () => {
  it.each(["spread", "binpack"] as const)("%s places nearly as many as any assignment would", (strategy) => {
    const random = numbers(1);
    let [ours, best, worst] = [0, 0, 1];
    for (let run = 0; run < 200; run += 1) {
      const tasks = services(random, 8);
      const rooms = Array.from({ length: 3 }, () => 4 + Math.floor(6 * random.next().value));
      const count = placed(
        rooms.map((room, n) => node(`n${n}`, memory(room))),
        tasks,
        { strategy },
      ).length;
      const optimum = bestFit(rooms, sizesOf(tasks));
      expect(count).toBeLessThanOrEqual(optimum);
      ours += count;
      best += optimum;
      worst = Math.min(worst, count / optimum);
    }
    expect({ strategy, mean: Number((ours / best).toFixed(3)), worst: Number(worst.toFixed(3)) }).toMatchSnapshot();
    expect(ours / best).toBeGreaterThan(0.8);
  });

  it("binpack uses few nodes more than the fewest", () => {
    const random = numbers(2);
    let [ours, best, worst] = [0, 0, 0];
    for (let run = 0; run < 200; run += 1) {
      const tasks = services(random, 8);
      const nodes = Array.from({ length: 8 }, (_, n) => node(`n${n}`, memory(10)));
      const used = new Set(placed(nodes, tasks, { strategy: "binpack" }).map((each) => each.nodeId)).size;
      const optimum = fewestNodes(10, sizesOf(tasks));
      ours += used;
      best += optimum;
      worst = Math.max(worst, used - optimum);
    }
    expect({ mean: Number((ours / best).toFixed(3)), worst }).toMatchSnapshot();
    expect(ours / best).toBeLessThan(1.2);
  });
});
