import {
  ContainerStatus,
  Lease,
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  Node,
  NodeDescription,
  Service,
  Slot,
  SlotRecord,
  Task,
  TaskSpec,
  TaskState,
  TaskStatus,
  Version,
  type AssignmentsMessage,
  type Epoch,
  type Point,
  type ReportResponse,
  type RunReport,
  type SessionMessage,
} from "@warren/api";
import { firstRun, kindName, numberedSlot, slotIdOf, taskIdOf } from "@warren/api/model";
import type { CallContext } from "@warren/api/server";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom, until } from "@warren/std/testing";
import { StoreError, type ChangeBatch, type Store, type Transaction } from "@warren/store";
import { memoryStore, type MemoryStore } from "@warren/store/testing";

import type { DispatcherOptions } from "../src/index.ts";
import { memoryDispatcher, type MemoryDispatcher } from "../src/testing/index.ts";

/** A valid node id. */
export function nodeId(n: number | string): string {
  return `n${String(n).padStart(24, "0")}`;
}

export function description(hostname: string, overrides: Partial<NodeDescription> = {}): NodeDescription {
  return NodeDescription.create({
    hostname,
    os: "linux",
    architecture: "amd64",
    cpuNanos: 2e9,
    memoryBytes: 2 ** 32,
    level: 1,
    minLevel: 1,
    ...overrides,
  });
}

/** The context of a call by a node's worker. */
export function context(signal: AbortSignal, node: string): CallContext {
  return { signal, identity: { name: node, nodeId: node, roles: ["worker"] }, path: "/warren.v1.Dispatcher/Test" };
}

/** The messages of a stream, and how it ended. */
export class Reading<T> {
  readonly values: T[] = [];
  readonly #gone = new AbortController();
  readonly ended: Promise<unknown>;

  constructor(open: (signal: AbortSignal) => AsyncIterable<T>) {
    this.ended = this.#read(open(this.#gone.signal)).then(
      () => "ended",
      (error: unknown) => error,
    );
  }

  /** Disconnects the caller. */
  leave(): void {
    this.#gone.abort(new Error("gone"));
  }

  next(count: number): Promise<T> {
    return until(`value ${count} came`, () => this.values[count - 1]);
  }

  async #read(values: AsyncIterable<T>): Promise<void> {
    for await (const value of values) this.values.push(value);
  }
}

export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** The error of `work`; undefined if it succeeds. */
export function failureOf(work: () => Promise<unknown>): Promise<unknown> {
  return work().then(
    () => undefined,
    (error: unknown) => error,
  );
}

export interface Worker {
  readonly id: string;
  readonly sessionId: string;
  readonly session: Reading<SessionMessage>;
  readonly assignments: (held?: Uint8Array) => Reading<AssignmentsMessage>;
  readonly heartbeat: () => Promise<number>;
  readonly report: (...leases: readonly LeaseReport[]) => Promise<ReportResponse>;
}

export interface Comes {
  readonly hostname?: string;
  readonly lastApplied?: Point;
}

export interface Harness extends MemoryDispatcher {
  readonly clock: FakeClock;
  readonly metrics: RecordingMetrics;
  readonly log: RecordingLogger;
  session(id: string, comes?: Comes): Reading<SessionMessage>;
  worker(n: number | string, comes?: Comes): Promise<Worker>;
}

/** A dispatcher on a store in memory, with a cluster; it leads unless `leads` is false. */
export async function harness(
  options: DispatcherOptions = {},
  { leads = true, storeOf = (store: Store): Store => store, made = memoryStoreOf() } = {},
): Promise<Harness> {
  const { clock } = made;
  const metrics = new RecordingMetrics();
  const log = new RecordingLogger();
  const store = storeOf(made.store);
  const manager = await memoryDispatcher(
    { clock, random: seededRandom(7), log, metrics, made: { ...made, store } },
    options,
  );
  const { dispatcher } = manager;
  if (leads) manager.lead();
  const session = (id: string, { hostname = `host-${id}`, lastApplied }: Comes = {}): Reading<SessionMessage> =>
    new Reading((signal) =>
      dispatcher.handlers.session({ nodeId: id, description: description(hostname), lastApplied }, context(signal, id)),
    );
  return {
    ...manager,
    store: made.store,
    clock,
    metrics,
    log,
    session,
    async worker(n, comes) {
      const id = nodeId(n);
      const reading = session(id, comes);
      const { sessionId } = await reading.next(1);
      const call = context(new AbortController().signal, id);
      return {
        id,
        sessionId,
        session: reading,
        assignments: (held = Buffer.alloc(0)) =>
          new Reading((signal) =>
            dispatcher.handlers.assignments({ nodeId: id, sessionId, held: Buffer.from(held) }, context(signal, id)),
          ),
        heartbeat: async () => (await dispatcher.handlers.heartbeat({ nodeId: id, sessionId }, call)).periodMs,
        report: async (...leases) =>
          dispatcher.handlers.report({ nodeId: id, sessionId, leases: [...leases], description: undefined }, call),
      };
    },
  };
}

/** The store for a reader that falls behind: when `drops` returns true, a batch and its watch are lost. */
export function lagging(inner: Store, drops: () => boolean): Store {
  async function* changesOf({ changes }: ReturnType<Store["watch"]>): AsyncGenerator<ChangeBatch> {
    for await (const batch of changes) {
      if (drops()) throw new StoreError({ code: "STORE_WATCH_LAGGED", limit: 0 }, "the watcher was too slow");
      yield batch;
    }
  }
  return new Proxy(inner, {
    get(target, property) {
      if (property === "watch")
        return (options: Parameters<Store["watch"]>[0]) => {
          const watch = target.watch(options);
          return { view: watch.view, changes: changesOf(watch) };
        };
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
  });
}

export function memoryStoreOf(
  clock: FakeClock = new FakeClock(),
  limits: Parameters<typeof memoryStore>[1] = {},
): MemoryStore & { readonly clock: FakeClock } {
  return { ...memoryStore({ clock, random: seededRandom(1) }, limits), clock };
}

export interface Deployed {
  readonly vip?: string;
  readonly networks?: readonly string[];
  readonly image?: string;
}

/** A service's version is `v-NAME`; its slots have numbers. */
export function deploy(
  tx: Transaction,
  id: string,
  { vip = "10.96.0.10", networks = ["net"], image = "nginx" }: Deployed = {},
): void {
  tx.create("versions", version(id, { networks: [...networks], task: TaskSpec.create({ container: { image } }) }));
  tx.create("services", service(id, vip));
}

export function version(serviceId: string, overrides: Partial<Version> = {}): Version {
  return Version.create({
    meta: { id: `v-${serviceId}` },
    serviceId,
    number: 1,
    task: { container: { image: "nginx" } },
    networks: ["net"],
    level: 1,
    ...overrides,
  });
}

export function service(id: string, vip = "10.96.0.10"): Service {
  return Service.create({
    meta: { id },
    spec: { name: id, labels: { tier: "front" }, task: { container: { image: "nginx" } } },
    endpoint: { vip },
    versionId: `v-${id}`,
    specVersion: 1,
  });
}

/** @param reign of the store's history, or of none */
export function epoch(index: number, reign = 7): Epoch {
  return { reign, index };
}

export function lease(on: string, overrides: Partial<Lease> = {}): Lease {
  const state = overrides.state ?? LeaseState.HELD;
  return Lease.create({
    epoch: epoch(1),
    versionId: "v-web",
    state,
    nodeId: on,
    address: "10.77.1.2",
    wasHeld: state === LeaseState.HELD,
    ...overrides,
  });
}

export function slot(serviceId: string, number: number, leases: readonly Lease[], overrides: Partial<Slot> = {}): Slot {
  const key = numberedSlot(number);
  return Slot.create({
    meta: { id: slotIdOf(serviceId, key) },
    serviceId,
    serviceName: serviceId,
    key,
    wanted: true,
    leases: leases.map((each) => ({ ...each, versionId: each.versionId || `v-${serviceId}` })),
    ...overrides,
  });
}

/** The task of a lease's first run, as the orchestrator creates it. */
export function taskOf(of: Slot, held: Lease, state: TaskState = TaskState.ASSIGNED): Task {
  const slotId = of.meta?.id ?? "";
  return Task.create({
    meta: { id: taskIdOf(slotId, held.epoch, firstRun) },
    serviceId: of.serviceId,
    serviceName: of.serviceName,
    slotId,
    slot: of.key!,
    epoch: held.epoch!,
    ...firstRun,
    nodeId: held.nodeId,
    versionId: held.versionId,
    status: { state },
  });
}

/** Creates a slot with one lease and its task; returns the slot's id. */
export function place(
  tx: Transaction,
  serviceId: string,
  number: number,
  on: string,
  { state = TaskState.ASSIGNED, ...overrides }: Partial<Omit<Lease, "state">> & { readonly state?: TaskState } = {},
): string {
  const held = lease(on, { versionId: `v-${serviceId}`, address: `10.77.1.${number + 1}`, ...overrides });
  const made = slot(serviceId, number, [held]);
  tx.create("slots", made);
  tx.create("tasks", taskOf(made, held, state));
  return made.meta!.id;
}

/** Changes a slot's newest lease. */
export function changeLease(tx: Transaction, slotId: string, fields: Partial<Lease>): void {
  const found = tx.resolve("slots", slotId);
  const last = found.leases.at(-1)!;
  tx.update("slots", { ...found, leases: [...found.leases.slice(0, -1), { ...last, ...fields }] });
}

export function setTask(tx: Transaction, slotId: string, state: TaskState): void {
  const [task] = tx.find("tasks", "slot", slotId);
  tx.update("tasks", { ...task!, status: TaskStatus.create({ state }) });
}

export function report(
  slotId: string,
  state: keyof typeof LeaseReport_State,
  fields: Partial<Omit<LeaseReport, "state">> = {},
): LeaseReport {
  return LeaseReport.create({ slotId, epoch: epoch(1), ...fields, state: LeaseReport_State[state] });
}

export function run(
  state: TaskState,
  fields: Partial<RunReport> & { readonly at?: Date; readonly message?: string } = {},
): RunReport {
  const { at = new Date(1_000), message = "", ...key } = fields;
  return {
    ...firstRun,
    status: TaskStatus.create({ state, at, message, container: ContainerStatus.create({ containerId: "c" }) }),
    ...key,
  };
}

export function record(fields: Partial<SlotRecord> = {}): SlotRecord {
  return SlotRecord.create({ bootId: "boot", ...fields });
}

/** `lease:web.1/7-1 endpoint:web …`, removals as `-lease:…`. */
export function names({ changes }: AssignmentsMessage): string {
  return changes.map(({ kind, key, object }) => `${object === undefined ? "-" : ""}${kindName(kind)}:${key}`).join(" ");
}

export function storedNode(id: string, state: Node["status"]): Node {
  return Node.create({ meta: { id }, spec: {}, description: description(`host-${id}`), status: state! });
}
