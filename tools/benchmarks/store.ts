/**
 * What the store costs beside consensus, on a log in memory with 10,000 running tasks: updates, reads by index, snapshot
 * and restore; and, with the dispatcher, from a transaction that offers 100 leases to the messages of 100 nodes.
 *
 * BENCH_REPEATS (default 5000) updates and reads.
 */
import {
  Cluster,
  LeaseState,
  NodeDescription,
  Service,
  Slot,
  Task,
  TaskState,
  Version,
  type AssignmentsMessage,
  type Epoch,
} from "../../packages/api/src/index.ts";
import { firstRun, numberedSlot, slotIdOf, taskIdOf } from "../../packages/api/src/model/index.ts";
import { Dispatcher } from "../../packages/dispatcher/src/index.ts";
import { systemClock, systemRandom } from "../../packages/std/src/index.ts";
import { StoreStateMachine, type Transaction } from "../../packages/store/src/index.ts";
import { memoryStore } from "../../packages/store/src/testing/index.ts";
import { machineLine, percentileCells, printTable, setting } from "./report.ts";

const nodes = 100;
const tasks = 10_000;
const services = 500;
const repeats = setting("BENCH_REPEATS", 5_000);
const rows: string[][] = [];

const { store, machine, proposer } = memoryStore();
const nodeOf = (n: number): string => `n${String(n % nodes).padStart(24, "0")}`;
const serviceOf = (n: number): string => `s${String(n % services).padStart(24, "0")}`;
const versionOf = (n: number): string => `v${String(n % services).padStart(24, "0")}`;
const keyOf = (n: number): ReturnType<typeof numberedSlot> => numberedSlot(Math.floor(n / services) + 1);
const slotOf = (n: number): string => slotIdOf(serviceOf(n), keyOf(n));

function createService(tx: Transaction, n: number): void {
  const task = {
    container: { image: "nginx:1.27", env: { A: "1", B: "2", C: "3" }, labels: { tier: "front" } },
    resources: { memoryLimitBytes: 2 ** 28, cpuLimitNanos: 5e8 },
  };
  const [id, versionId] = [serviceOf(n), versionOf(n)];
  const spec = { name: `service-${n}`, task };
  const endpoint = { vip: `10.96.${n >> 8}.${n & 255}` };
  tx.create("services", Service.create({ meta: { id }, spec, versionId, endpoint }));
  tx.create("versions", Version.create({ meta: { id: versionId }, serviceId: id, number: 1, task, networks: ["net"] }));
}

/** A slot with one lease; a held one has its running task. */
function createSlot(tx: Transaction, n: number, state: LeaseState): void {
  const [serviceId, slotId, nodeId, versionId] = [serviceOf(n), slotOf(n), nodeOf(n), versionOf(n)];
  const serviceName = `service-${n % services}`;
  const key = keyOf(n);
  const { epoch } = tx;
  const address = `10.64.${n >> 8}.${n & 255}`;
  const lease = { epoch, versionId, state, nodeId, address, wasHeld: state === LeaseState.HELD };
  tx.create("slots", Slot.create({ meta: { id: slotId }, serviceId, serviceName, key, wanted: true, leases: [lease] }));
  if (state === LeaseState.HELD) createTask(tx, n, epoch, address);
}

function createTask(tx: Transaction, n: number, epoch: Epoch, address: string): void {
  const id = taskIdOf(slotOf(n), epoch, firstRun);
  const place = { serviceId: serviceOf(n), serviceName: `service-${n % services}`, slotId: slotOf(n), slot: keyOf(n) };
  const status = { state: TaskState.RUNNING, container: { containerId: id, address } };
  const run = { epoch, run: 1, nodeId: nodeOf(n), versionId: versionOf(n) };
  tx.create("tasks", Task.create({ meta: { id }, ...place, ...run, status }));
}

function print(name: string, times: readonly number[]): void {
  rows.push([name, ...percentileCells(times, 3)]);
}

async function timed(count: number, work: (n: number) => unknown): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const from = performance.now();
    await work(n);
    times.push(performance.now() - from);
  }
  return times;
}

await store.update((tx) => {
  tx.create("clusters", Cluster.create({ meta: { id: "cluster" }, incarnation: { counter: 1, id: "one" }, level: 1 }));
  for (let n = 0; n < services; n += 1) createService(tx, n);
});
for (let from = 0; from < tasks; from += 500)
  await store.update((tx) => {
    for (let n = from; n < from + 500; n += 1) createSlot(tx, n, LeaseState.HELD);
  });
proposer.applied.length = 0;
const ids = store
  .view()
  .list("tasks")
  .map((task) => task.meta?.id ?? "");

const touch = (n: number): Promise<void> =>
  store.update((tx) => {
    const task = tx.get("tasks", ids[n % tasks] ?? "");
    if (task === undefined) throw new Error("a task is missing");
    tx.update("tasks", { ...task, status: { ...task.status, message: `step ${n}` } as NonNullable<Task["status"]> });
  });
await timed(repeats, touch);
print("update of one task", await timed(repeats, touch));
const from = performance.now();
await Promise.all(Array.from({ length: repeats }, (_, n) => touch(n)));
const perSecond = Math.round(repeats / ((performance.now() - from) / 1_000));
print("find by node, 100 tasks", await timed(repeats, (n) => store.view().find("tasks", "node", nodeOf(n))));
print("find by slot, 1 task", await timed(repeats, (n) => store.view().find("tasks", "slot", slotOf(n))));
let bytes = 0;
print(
  "snapshot",
  await timed(5, async () => {
    bytes = 0;
    for await (const chunk of machine.snapshot()) bytes += chunk.length;
  }),
);
print("restore", await timed(5, () => new StoreStateMachine().restore(machine.snapshot())));

const stop = new AbortController();
const dispatcher = new Dispatcher({ clock: systemClock, random: systemRandom, store });
const { term } = store;
if (term === undefined) throw new Error("the store in memory leads");
const running = dispatcher.run(term, stop.signal);
const streams: AsyncIterator<AssignmentsMessage>[] = [];
for (let n = 0; n < nodes; n += 1) {
  const nodeId = nodeOf(n);
  const identity = { name: nodeId, nodeId, roles: ["worker" as const] };
  const context = { signal: stop.signal, identity, path: "" };
  const description = NodeDescription.create({ hostname: `host-${n}`, level: 1, minLevel: 1 });
  const request = { nodeId, description, lastApplied: undefined };
  const session = dispatcher.handlers.session(request, context)[Symbol.asyncIterator]();
  const { sessionId } = ((await session.next()) as IteratorYieldResult<{ sessionId: string }>).value;
  const held = { nodeId, sessionId, held: Buffer.alloc(0) };
  const stream = dispatcher.handlers.assignments(held, context)[Symbol.asyncIterator]();
  await stream.next();
  streams.push(stream);
}
let created = tasks;
print(
  "100 leases offered, until 100 nodes have theirs",
  await timed(50, async () => {
    const from = created;
    created += nodes;
    const messages = streams.map((stream) => stream.next());
    await store.update((tx) => {
      for (let n = from; n < created; n += 1) createSlot(tx, n, LeaseState.OFFERED);
    });
    await Promise.all(messages);
  }),
);
stop.abort();
await running;
console.log(`${machineLine()}\n`);
printTable(["ms", "p50", "p95", "p99"], rows);
console.log(`\n${perSecond} updates/s asked for at once; a snapshot is ${(bytes / 1e6).toFixed(1)} MB`);
