/** The scheduling loop on a store: from its start to the last task that has its node in the store. */
import {
  LeaseState,
  Node,
  NodeStatus_State,
  Service,
  Slot,
  Task,
  TaskState,
  Version,
} from "../../packages/api/src/index.ts";
import { firstRun, numberedSlot, slotIdOf, taskIdOf } from "../../packages/api/src/model/index.ts";
import { ClockSteps } from "../../packages/orchestrator/src/clock-steps.ts";
import { orchestratorMetrics } from "../../packages/orchestrator/src/metrics.ts";
import { resolveOptions } from "../../packages/orchestrator/src/options.ts";
import { SchedulingLoop } from "../../packages/orchestrator/src/scheduling-loop.ts";
import { noMetrics, silentLogger, systemClock as clock, systemRandom as random } from "../../packages/std/src/index.ts";
import type { Store } from "../../packages/store/src/index.ts";
import { memoryStore } from "../../packages/store/src/testing/index.ts";

export interface WritesResult {
  /** User and system time of the process, its collector's threads among it, ms. */
  readonly processorMs: number;
  readonly clockMs: number;
}

/** Objects that one transaction creates. */
const batch = 500;

async function inBatches(count: number, work: (from: number, to: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += batch) await work(from, Math.min(count, from + batch));
}

/** Nodes that are ready, and services with one wanted lease each, as the service loop leaves them. */
async function fill(store: Store, nodes: number, tasks: number): Promise<void> {
  await inBatches(nodes, (from, to) =>
    store.update((tx) => {
      for (let n = from; n < to; n += 1) {
        const description = { hostname: `h${n}`, cpuNanos: 1e12, memoryBytes: 2 ** 40, level: 1, minLevel: 1 };
        // A /26 of the pool each.
        const subnet = `10.${64 + (n >> 10)}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;
        tx.create(
          "nodes",
          Node.create({ meta: { id: `n${n}` }, description, status: { state: NodeStatus_State.READY }, subnet }),
        );
      }
    }),
  );
  await inBatches(tasks, (from, to) =>
    store.update((tx) => {
      for (let n = from; n < to; n += 1) {
        const [serviceId, versionId, serviceName] = [`s${n}`, `v${n}`, `service-${n}`];
        const key = numberedSlot(1);
        const slotId = slotIdOf(serviceId, key);
        const { epoch } = tx;
        const shared = { serviceId, serviceName };
        const task = {
          container: { image: "nginx:1.27" },
          resources: { cpuReservationNanos: 1e7, memoryReservationBytes: 2 ** 20 },
        };
        const endpoint = { vip: `10.96.${n >> 8}.${n & 255}` };
        const spec = { name: serviceName, task, mode: { $case: "replicated", value: { replicas: 1 } } } as const;
        const lease = { epoch, versionId, state: LeaseState.WANTED, cause: "the service asks for it" };
        const status = { state: TaskState.PENDING };
        tx.create("services", Service.create({ meta: { id: serviceId }, spec, versionId, endpoint }));
        tx.create("versions", Version.create({ meta: { id: versionId }, serviceId, number: 1, task, level: 1 }));
        tx.create("slots", Slot.create({ meta: { id: slotId }, ...shared, key, wanted: true, leases: [lease] }));
        const id = taskIdOf(slotId, epoch, firstRun);
        tx.create(
          "tasks",
          Task.create({ meta: { id }, ...shared, slotId, slot: key, epoch, ...firstRun, versionId, status }),
        );
      }
    }),
  );
}

export async function measureWrites(nodes: number, tasks: number): Promise<WritesResult> {
  const { store, proposer } = memoryStore();
  const { term } = store;
  if (term === undefined) throw new Error("the store in memory leads");
  await fill(store, nodes, tasks);
  proposer.applied.length = 0;
  const stop = new AbortController();
  const { changes } = store.watch({ tables: ["tasks"], signal: stop.signal });
  const metrics = orchestratorMetrics(noMetrics);
  const deps = { store, term: term.term, clock, clockSteps: new ClockSteps(clock), random, log: silentLogger, metrics };
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  const running = new SchedulingLoop(deps, resolveOptions({})).run(stop.signal);
  let left = tasks;
  for await (const batch of changes) {
    for (const { object } of batch.changes) if ((object as Task).status?.state === TaskState.ASSIGNED) left -= 1;
    if (left === 0) break;
  }
  const clockMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  stop.abort();
  await running;
  return { processorMs: (user + system) / 1_000, clockMs };
}
