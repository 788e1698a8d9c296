import {
  Cluster,
  ClusterSpec,
  Network,
  Node,
  NodeDescription,
  Service,
  Task,
  TaskState,
  TaskStatus,
  type AssignmentsMessage,
  type SessionMessage,
} from "@warren/api";
import { localIdentity, type CallContext } from "@warren/api/server";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom, until } from "@warren/std/testing";
import type { Store } from "@warren/store";
import { memoryStore, type MemoryStore } from "@warren/store/testing";

import { Dispatcher, type DispatcherOptions } from "../src/index.ts";

/** A node's id of the form that nodes make. */
export function nodeId(n: number | string): string {
  return `n${String(n).padStart(24, "0")}`;
}

export function description(hostname: string): NodeDescription {
  return NodeDescription.create({ hostname, os: "linux", architecture: "amd64", cpuNanos: 2e9, memoryBytes: 2 ** 32 });
}

export function context(signal: AbortSignal, name: string = localIdentity.name): CallContext {
  return { signal, identity: { name, roles: ["worker"] }, path: "/warren.v1.Dispatcher/Test" };
}

/** What a stream gave, and how it ended. */
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

  /** As when the caller goes. */
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

/** What `work` fails with; undefined if it does not. */
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
  readonly assignments: () => Reading<AssignmentsMessage>;
  readonly heartbeat: () => Promise<number>;
  readonly tell: (...updates: readonly (readonly [taskId: string, status: Partial<TaskStatus>])[]) => Promise<void>;
}

export interface Harness extends MemoryStore, AsyncDisposable {
  readonly clock: FakeClock;
  readonly dispatcher: Dispatcher;
  readonly metrics: RecordingMetrics;
  readonly log: RecordingLogger;
  /** Takes the lead; returns what ends it. */
  lead(): () => Promise<void>;
  session(id: string, hostname?: string): Reading<SessionMessage>;
  worker(n: number | string, hostname?: string): Promise<Worker>;
}

/** A dispatcher on a store in memory, with a cluster; it leads unless told. */
export async function harness(
  options: DispatcherOptions = {},
  { leads = true, storeOf = (store: Store): Store => store } = {},
): Promise<Harness> {
  const clock = new FakeClock();
  const made = memoryStore({ clock, random: seededRandom(1) });
  const metrics = new RecordingMetrics();
  const log = new RecordingLogger();
  const dispatcher = new Dispatcher(
    { clock, random: seededRandom(7), store: storeOf(made.store), metrics, log },
    options,
  );
  await made.store.update((tx) => {
    tx.create("clusters", Cluster.create({ meta: { id: "cluster" }, spec: ClusterSpec.create() }));
    tx.create("networks", Network.create({ meta: { id: "net" }, spec: { name: "default" } }));
  });
  let running: { readonly stop: AbortController; readonly run: Promise<void> } | undefined;
  const lead = (): (() => Promise<void>) => {
    const stop = new AbortController();
    const mine = { stop, run: dispatcher.run(stop.signal) };
    running = mine;
    return async () => {
      stop.abort();
      await mine.run;
    };
  };
  if (leads) lead();
  const session = (id: string, hostname = `host-${id}`): Reading<SessionMessage> =>
    new Reading((signal) =>
      dispatcher.handlers.session({ nodeId: id, description: description(hostname) }, context(signal)),
    );
  return {
    ...made,
    clock,
    dispatcher,
    metrics,
    log,
    lead,
    session,
    async worker(n, hostname) {
      const id = nodeId(n);
      const reading = session(id, hostname);
      const { sessionId } = await reading.next(1);
      const call = context(new AbortController().signal);
      return {
        id,
        sessionId,
        session: reading,
        assignments: () =>
          new Reading((signal) => dispatcher.handlers.assignments({ nodeId: id, sessionId }, context(signal))),
        heartbeat: async () => (await dispatcher.handlers.heartbeat({ nodeId: id, sessionId }, call)).periodMs,
        tell: async (...updates) => {
          const told = updates.map(([taskId, status]) => ({ taskId, status: TaskStatus.create(status) }));
          await dispatcher.handlers.updateTaskStatus({ nodeId: id, sessionId, updates: told }, call);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      running?.stop.abort();
      await running?.run;
    },
  };
}

export function service(id: string, vip = "10.96.0.10"): Service {
  return Service.create({ meta: { id }, spec: { name: id, labels: { tier: "front" } }, endpoint: { vip } });
}

export function task(id: string, on: string, overrides: Parameters<typeof Task.create>[0] = {}): Task {
  return Task.create({
    meta: { id },
    serviceId: "web",
    serviceName: "web",
    slot: 1,
    nodeId: on,
    spec: { container: { image: "nginx" } },
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.ASSIGNED },
    networks: ["net"],
    ...overrides,
  });
}

export function storedNode(id: string, state: Node["status"]): Node {
  return Node.create({ meta: { id }, spec: {}, description: description(`host-${id}`), status: state! });
}
