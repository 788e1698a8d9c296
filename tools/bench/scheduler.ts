/**
 * Placements per second of `@warren/scheduler`, the p99 of one incremental decision, and memory.
 *
 * Run from the repository: `./tools/pnpm bench:scheduler`. Prints a JSON line for each case.
 */
import { Scheduler, type TaskState } from "../../packages/scheduler/src/index.ts";

interface Case {
  readonly nodes: number;
  readonly tasks: number;
  readonly services: number;
  readonly constrained: boolean;
}

const cases: Case[] = [
  { nodes: 1_000, tasks: 10_000, services: 10_000, constrained: false },
  { nodes: 1_000, tasks: 10_000, services: 1_000, constrained: false },
  { nodes: 1_000, tasks: 10_000, services: 10, constrained: false },
  { nodes: 1_000, tasks: 10_000, services: 10_000, constrained: true },
  { nodes: 10_000, tasks: 100_000, services: 100_000, constrained: false },
  { nodes: 100_000, tasks: 100_000, services: 100_000, constrained: false },
];

/** Decisions timed one at a time, for the p99. */
const increments = 2_000;

function taskOf({ services, constrained }: Case, n: number): TaskState {
  return {
    id: `t${n}`,
    serviceId: `s${n % services}`,
    specVersion: 1,
    reservations: { cpu: 1e7, memory: 2 ** 20 },
    ...(constrained ? { constraints: ["node.labels.zone == z1"] } : {}),
  };
}

function run(each: Case): void {
  const scheduler = new Scheduler({ seed: 1 });
  for (let n = 0; n < each.nodes; n += 1) {
    const resources = { cpu: 1e12, memory: 2 ** 40 };
    const labels = { zone: `z${n % 4}` };
    scheduler.apply({
      kind: "node",
      node: { id: `n${n}`, role: "worker", ready: true, active: true, labels, resources },
    });
  }
  const start = performance.now();
  for (let n = 0; n < each.tasks; n += 1) scheduler.apply({ kind: "task", task: taskOf(each, n) });
  const placed = scheduler.schedule().filter((decision) => decision.kind === "placed").length;
  const seconds = (performance.now() - start) / 1000;
  const times: number[] = [];
  for (let n = each.tasks; n < each.tasks + increments; n += 1) {
    const from = performance.now();
    scheduler.apply({ kind: "task", task: taskOf(each, n) });
    scheduler.schedule();
    times.push(performance.now() - from);
  }
  times.sort((a, b) => a - b);
  const p99 = times.at(Math.floor(increments * 0.99)) ?? Number.NaN;
  console.log(
    JSON.stringify({
      ...each,
      placed,
      placementsPerSecond: Math.round(placed / seconds),
      p99IncrementalMs: Number(p99.toFixed(3)),
      rssMiB: Math.round(process.memoryUsage.rss() / 2 ** 20),
    }),
  );
}

for (const each of cases) run(each);
