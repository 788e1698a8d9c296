/**
 * What assignments cost a manager at the load (100 nodes, 1,000 services, 10,000 tasks on one network), on a log in
 * memory: opening and resuming streams, changes of leases and backends until all nodes have them, memory, and bytes.
 *
 * BENCH_REPEATS (default 200) changes.
 */
import {
  AssignmentsMessage,
  Cluster,
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  NodeDescription,
  Service,
  Slot,
  Task,
  TaskState,
  TaskStatus,
  Version,
  type Epoch,
} from "../../packages/api/src/index.ts";
import { assignmentDigest, firstRun, numberedSlot, slotIdOf, taskIdOf } from "../../packages/api/src/model/index.ts";
import { localIdentity, type CallContext } from "../../packages/api/src/server/index.ts";
import { Dispatcher } from "../../packages/dispatcher/src/index.ts";
import { newId, systemClock, systemRandom } from "../../packages/std/src/index.ts";
import { memoryStore } from "../../packages/store/src/testing/index.ts";
import { machineLine, percentileCells, printTable, setting } from "./report.ts";

const nodes = 100;
const services = 1_000;
const slots = 10;
const repeats = setting("BENCH_REPEATS", 200);
const rows: string[][] = [];

const { store } = memoryStore();
const random = systemRandom;
const nodeIds = Array.from({ length: nodes }, () => newId(random));
const serviceIds = Array.from({ length: services }, () => newId(random));
const network = newId(random);
const gc = (globalThis as { gc?: () => void }).gc;

/** Of a list that begins again at its end. */
function at<T>(list: readonly T[], n: number): T {
  const item = list[n % list.length];
  if (item === undefined) throw new Error("the list is empty");
  return item;
}

function heapBytes(): number {
  gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function place(epoch: Epoch, serviceId: string, n: number, state: LeaseState): { slot: Slot; task: Task } {
  const key = numberedSlot(Math.floor(n / services) + 1);
  const slotId = slotIdOf(serviceId, key);
  const nodeId = at(nodeIds, n);
  const shared = { serviceId, serviceName: serviceId, epoch, nodeId, versionId: `v${serviceId}` };
  const address = `10.64.${n >> 8}.${n & 255}`;
  const lease = { ...shared, state, address, wasHeld: state === LeaseState.HELD };
  const status = { state: state === LeaseState.HELD ? TaskState.RUNNING : TaskState.ASSIGNED };
  return {
    slot: Slot.create({ meta: { id: slotId }, ...shared, key, wanted: true, leases: [lease] }),
    task: Task.create({
      meta: { id: taskIdOf(slotId, epoch, firstRun) },
      ...shared,
      ...firstRun,
      slotId,
      slot: key,
      status,
    }),
  };
}

await store.update((tx) => {
  tx.create("clusters", Cluster.create({ meta: { id: newId(random) }, level: 1 }));
  for (const [n, id] of serviceIds.entries()) {
    const task = { container: { image: "nginx:1.27", env: { A: "1", B: "2" }, labels: { tier: "front" } } };
    const endpoint = { vip: `10.96.${n >> 8}.${n & 255}` };
    tx.create(
      "versions",
      Version.create({ meta: { id: `v${id}` }, serviceId: id, number: 1, task, networks: [network] }),
    );
    tx.create("services", Service.create({ meta: { id }, spec: { name: id, task }, endpoint, versionId: `v${id}` }));
  }
});
for (let from = 0; from < services * slots; from += 1_000)
  await store.update((tx) => {
    for (let n = from; n < from + 1_000; n += 1) {
      const { slot, task } = place(tx.epoch, at(serviceIds, n), n, LeaseState.HELD);
      tx.create("slots", slot);
      tx.create("tasks", task);
    }
  });

const stop = new AbortController();
const dispatcher = new Dispatcher({ clock: systemClock, random, store }, { urgentMs: 0, batchMs: 0 });
const { term } = store;
if (term === undefined) throw new Error("no term was begun");
const running = dispatcher.run(term, stop.signal);
const contextOf = (nodeId: string): CallContext => ({
  signal: stop.signal,
  identity: { ...localIdentity, nodeId },
  path: "",
});

/** A worker that reads, and answers nothing. */
class Worker {
  readonly nodeId: string;
  sessionId = "";
  stream: AsyncIterator<AssignmentsMessage> | undefined;
  held: Buffer = Buffer.alloc(0);

  constructor(nodeId: string) {
    this.nodeId = nodeId;
  }

  async open(): Promise<AssignmentsMessage> {
    const { nodeId } = this;
    const description = NodeDescription.create({ hostname: nodeId, level: 1, minLevel: 1 });
    const request = { nodeId, description, lastApplied: undefined };
    const session = dispatcher.handlers.session(request, contextOf(nodeId))[Symbol.asyncIterator]();
    this.sessionId = ((await session.next()) as IteratorYieldResult<{ sessionId: string }>).value.sessionId;
    return this.assignments();
  }

  async assignments(): Promise<AssignmentsMessage> {
    const { nodeId, sessionId, held } = this;
    const messages = dispatcher.handlers.assignments({ nodeId, sessionId, held }, contextOf(nodeId));
    this.stream = messages[Symbol.asyncIterator]();
    return this.next();
  }

  async next(): Promise<AssignmentsMessage> {
    const next = await this.stream?.next();
    if (next === undefined || next.done === true) throw new Error(`the stream of ${this.nodeId} ended`);
    return next.value;
  }
}

async function timed(count: number, work: (n: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const from = performance.now();
    await work(n);
    times.push(performance.now() - from);
  }
  return times;
}

const bytesOf = (message: AssignmentsMessage): number => AssignmentsMessage.encode(message).finish().length;
const workers = nodeIds.map((nodeId) => new Worker(nodeId));
const before = heapBytes();
let completeBytes = 0;
const opened = await timed(nodes, async (n) => {
  const worker = at(workers, n);
  const message = await worker.open();
  completeBytes = bytesOf(message);
  const digests = message.changes.map(({ kind, key, object }) =>
    assignmentDigest(kind, key, object as Uint8Array).toString("hex"),
  );
  worker.held = Buffer.from(digests.toSorted().join(""), "hex");
});
rows.push(["a node's session, and its 11,000 objects", ...percentileCells(opened, 3)]);
const streamsBytes = heapBytes() - before;
let resumedBytes = 0;
const resumed = await timed(nodes, async (n) => {
  const worker = at(workers, n);
  resumedBytes = bytesOf(await worker.assignments());
});
rows.push(["the same, resumed with nothing changed", ...percentileCells(resumed, 3)]);

const epochs = new Map(
  store
    .view()
    .list("slots")
    .map(({ meta, leases }) => [meta?.id ?? "", leases[0]] as const),
);
const ids = [...epochs.keys()];
let backendBytes = 0;
const report = async (n: number, state: TaskState): Promise<void> => {
  const slotId = at(ids, n);
  const lease = epochs.get(slotId);
  const worker = workers.find(({ nodeId }) => nodeId === lease?.nodeId) as Worker;
  const runs = [{ ...firstRun, status: TaskStatus.create({ state, at: new Date(0), message: String(n) }) }];
  const leases = [LeaseReport.create({ slotId, epoch: lease?.epoch as Epoch, state: LeaseReport_State.HELD, runs })];
  await dispatcher.handlers.report(
    { nodeId: worker.nodeId, sessionId: worker.sessionId, leases, description: undefined },
    contextOf(worker.nodeId),
  );
};
const reported = await timed(repeats, async (n) => {
  const messages = workers.map((worker) => worker.next());
  await report(n, TaskState.FAILED);
  for (const message of await Promise.all(messages)) backendBytes = Math.max(backendBytes, bytesOf(message));
});
rows.push(["a run's end reported, until 100 nodes have it", ...percentileCells(reported, 3)]);

let created = services * slots;
const assigned = await timed(50, async () => {
  const from = created;
  created += nodes;
  const messages = workers.map((worker) => worker.next());
  await store.update((tx) => {
    for (let n = from; n < created; n += 1) {
      const { slot, task } = place(tx.epoch, at(serviceIds, n), n, LeaseState.OFFERED);
      tx.create("slots", slot);
      tx.create("tasks", task);
    }
  });
  await Promise.all(messages);
});
rows.push(["100 leases offered, until 100 nodes have theirs", ...percentileCells(assigned, 3)]);
stop.abort();
await running;
console.log(`${machineLine()}\n`);
printTable(["ms", "p50", "p95", "p99"], rows);
console.log(
  `\n${(completeBytes / 1e6).toFixed(2)} MB for a node that holds nothing, ${resumedBytes} bytes for one that holds it all; ` +
    `${backendBytes} bytes a backend; ${(streamsBytes / 1e6).toFixed(0)} MB of heap for ${nodes} streams` +
    (gc === undefined ? " (run node with --expose-gc for a true figure)" : ""),
);
