/** Promises of rules make the scheduler faster and change no decision: it decides as with rules without promises. */
import * as fc from "fast-check";
import { expect, it, vi } from "vitest";
import {
  type Decision,
  defaultFilters,
  defaultScorers,
  type Delta,
  type Filter,
  type NodeState,
  Scheduler,
  type Scorer,
  type Strategy,
  type TaskState,
} from "../src/index.ts";
import { anyNode, anyServices, type Services } from "./model/arbitraries.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

const plainFilter = (filter: Filter): Filter => ({
  name: filter.name,
  check: (task, world) => filter.check(task, world),
  explain: (task, node, world) => filter.explain(task, node, world),
});
const plainScorer = (scorer: Scorer): Scorer => ({
  name: scorer.name,
  score: (task, world) => scorer.score(task, world),
  explain: (value) => scorer.explain(value),
  ...(scorer.order === undefined ? {} : { order: scorer.order }),
  // Not a promise: it extends the choice beyond the first 64 equal nodes.
  ...(scorer.best === undefined ? {} : { best: (task, world) => scorer.best?.(task, world) }),
});
const plain = (strategy: Strategy): Scheduler =>
  new Scheduler({
    strategy,
    filters: defaultFilters.map(plainFilter),
    scorers: defaultScorers[strategy].map(plainScorer),
  });

/** More nodes than any limit up to which nodes are compared one by one. */
const size = 320;

interface Scene {
  readonly nodes: readonly NodeState[];
  readonly services: Services;
  /** Which nodes hold how many tasks of the crowd. */
  readonly crowd: readonly number[];
  readonly steps: readonly { readonly service: string; readonly tasks: number; readonly gone: number }[];
  readonly changed: readonly NodeState[];
}

const anyScene: fc.Arbitrary<Scene> = fc.record({
  nodes: fc.array(anyNode, { minLength: 1, maxLength: 12 }).map((templates) =>
    Array.from({ length: size }, (_, n): NodeState => {
      const template = templates[n % templates.length] as NodeState;
      return { ...template, id: `n${n}`, hostname: `h${n}`, ready: template.ready || n % 2 === 0, active: true };
    }),
  ),
  services: anyServices,
  crowd: fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 3 })), { minLength: 7, maxLength: 7 }),
  steps: fc.array(
    fc.record({
      service: fc.constantFrom("web", "db", "log", "job"),
      tasks: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 5, max: 25 })),
      gone: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  changed: fc.array(anyNode, { maxLength: 4 }),
});

it.each(["spread", "binpack"] as const)("%s decides alike with promises and without", (strategy) => {
  fc.assert(
    fc.property(anyScene, ({ nodes, services, crowd, steps, changed }) => {
      const [quick, slow] = [new Scheduler({ strategy }), plain(strategy)];
      const apply = (delta: Delta): void => {
        quick.apply(delta);
        slow.apply(delta);
      };
      const decide = (): Decision[] => {
        const decisions = quick.schedule();
        const placed = (all: readonly Decision[]): Decision[] => all.filter((each) => each.kind === "placed");
        expect(placed(decisions)).toEqual(placed(slow.schedule()));
        return placed(decisions);
      };
      for (const node of nodes) apply({ kind: "node", node });
      let n = 0;
      const ask = (serviceId: string): TaskState => {
        n += 1;
        return { id: `${serviceId}.${n}`, serviceId, specVersion: 1, ...services[serviceId] };
      };
      for (const [at, node] of nodes.entries()) {
        for (let each = 0; each < (crowd[at % crowd.length] ?? 0); each += 1) {
          apply({ kind: "task", task: { ...ask("web"), nodeId: node.id } });
        }
      }
      // So that load differs from the number of the crowd's own tasks.
      for (const [at, node] of nodes.entries()) {
        for (let each = 0; each < (at * 7) % 5; each += 1) {
          n += 1;
          apply({
            kind: "task",
            task: { id: `noise.${n}`, serviceId: `noise${each}`, specVersion: 1, nodeId: node.id },
          });
        }
      }
      const held: string[] = [];
      for (const [at, { service, tasks, gone }] of steps.entries()) {
        for (let each = 0; each < tasks; each += 1) apply({ kind: "task", task: ask(service) });
        for (const decision of decide()) held.push(decision.taskId);
        for (const taskId of held.splice(0, gone)) apply({ kind: "task-gone", taskId });
        const node = changed[at];
        if (node !== undefined) apply({ kind: "node", node: { ...node, id: `n${at}`, hostname: `h${at}` } });
      }
      decide();
    }),
    { numRuns: 30 },
  );
});
