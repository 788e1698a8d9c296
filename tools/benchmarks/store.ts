/**
 * What the store costs beside consensus, on a log in memory with 10,000 tasks: updates, reads by index, snapshot and
 * restore; and, with the dispatcher, from a transaction that assigns 100 tasks to the messages of 100 nodes.
 *
 * BENCH_REPEATS (default 5000) updates and reads.
 */
import {
  Cluster,
  NodeDescription,
  Service,
  Task,
  TaskState,
  type AssignmentsMessage,
} from "../../packages/api/src/index.ts";
import { localIdentity } from "../../packages/api/src/server/index.ts";
import { Dispatcher } from "../../packages/dispatcher/src/index.ts";
import { systemClock, systemRandom } from "../../packages/std/src/index.ts";
import { StoreStateMachine } from "../../packages/store/src/index.ts";
import { memoryStore } from "../../packages/store/src/testing/index.ts";
import { machineLine, percentileCells, printTable, setting } from "./report.ts";

const nodes = 100;
const tasks = 10_000;
const services = 500;
const repeats = setting("BENCH_REPEATS", 5_000);
const rows: string[][] = [];

const { store, machine, proposer } = memoryStore();
const nodeOf = (n: number): string => `n${String(n).padStart(24, "0")}`;

function taskOf(n: number): Task {
  return Task.create({
    meta: { id: `t${String(n).padStart(24, "0")}` },
    serviceId: `s${n % services}`,
    serviceName: `service-${n % services}`,
    slot: Math.floor(n / services) + 1,
    nodeId: nodeOf(n % nodes),
    spec: {
      container: { image: "nginx:1.27", env: { A: "1", B: "2", C: "3" }, labels: { tier: "front" } },
      resources: { memoryLimitBytes: 2 ** 28, cpuLimitNanos: 5e8 },
    },
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.RUNNING, container: { containerId: `t${n}`, address: `10.77.${n % nodes}.${n % 250}` } },
    networks: ["default"],
  });
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
  tx.create("clusters", Cluster.create({ meta: { id: "cluster" } }));
  for (let n = 0; n < services; n += 1) {
    const vip = `10.96.${n >> 8}.${n & 255}`;
    tx.create("services", Service.create({ meta: { id: `s${n}` }, spec: { name: `service-${n}` }, endpoint: { vip } }));
  }
});
for (let from = 0; from < tasks; from += 1_000)
  await store.update((tx) => {
    for (let n = from; n < from + 1_000; n += 1) tx.create("tasks", taskOf(n));
  });
proposer.applied.length = 0;

const touch = (n: number): Promise<void> =>
  store.update((tx) => {
    const task = tx.get("tasks", taskOf(n % tasks).meta?.id ?? "");
    if (task === undefined) throw new Error("a task is missing");
    tx.update("tasks", { ...task, status: { ...task.status, message: `step ${n}` } as NonNullable<Task["status"]> });
  });
await timed(repeats, touch);
print("update of one task", await timed(repeats, touch));
const from = performance.now();
await Promise.all(Array.from({ length: repeats }, (_, n) => touch(n)));
const perSecond = Math.round(repeats / ((performance.now() - from) / 1_000));
print("find by node, 100 tasks", await timed(repeats, (n) => store.view().find("tasks", "node", nodeOf(n % nodes))));
print("find by slot, 1 task", await timed(repeats, (n) => store.view().find("tasks", "slot", `s${n % services}/1`)));
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
const running = dispatcher.run(stop.signal);
const context = { signal: stop.signal, identity: localIdentity, path: "" };
const streams: AsyncIterator<AssignmentsMessage>[] = [];
for (let n = 0; n < nodes; n += 1) {
  const description = NodeDescription.create({ hostname: `host-${n}` });
  const session = dispatcher.handlers.session({ nodeId: nodeOf(n), description }, context)[Symbol.asyncIterator]();
  const { sessionId } = ((await session.next()) as IteratorYieldResult<{ sessionId: string }>).value;
  const stream = dispatcher.handlers.assignments({ nodeId: nodeOf(n), sessionId }, context)[Symbol.asyncIterator]();
  await stream.next();
  streams.push(stream);
}
let created = tasks;
print(
  "100 tasks assigned, until 100 nodes have theirs",
  await timed(50, async () => {
    const from = created;
    created += nodes;
    const messages = streams.map((stream) => stream.next());
    await store.update((tx) => {
      for (let n = from; n < created; n += 1) {
        const task = taskOf(n);
        tx.create("tasks", {
          ...task,
          status: { ...task.status, state: TaskState.ASSIGNED } as NonNullable<Task["status"]>,
        });
      }
    });
    await Promise.all(messages);
  }),
);
stop.abort();
await running;
console.log(`${machineLine()}\n`);
printTable(["ms", "p50", "p95", "p99"], rows);
console.log(`\n${perSecond} updates/s asked for at once; a snapshot is ${(bytes / 1e6).toFixed(1)} MB`);
