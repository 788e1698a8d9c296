/**
 * A cluster without containers: the real store in memory, a clock that moves when told, the loops, and nodes that move
 * their tasks forward as a worker would.
 */
import { inspect } from "node:util";
import {
  Cluster,
  ClusterSpec,
  Network,
  Node,
  NodeSpec_Availability,
  NodeStatus_State,
  Service,
  ServiceSpec,
  Task,
  TaskState,
} from "@warren/api";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import type { Random } from "@warren/std";
import { StoreError, type Store, type Transaction, type View } from "@warren/store";
import { memoryStore, type MemoryProposer } from "@warren/store/testing";
import { startOrchestrator, type Orchestrator, type OrchestratorOptions, type StoreAccess } from "../src/index.ts";

/** What a container of an image does. */
export type Behaviour =
  | "run"
  /** Ends with code 1 as soon as it runs. */
  | "crash"
  /** Ends with code 0 as soon as it runs. */
  | "complete"
  | "reject"
  /** Stays in PREPARING. */
  | "stall";

type SomeSpec = Parameters<typeof ServiceSpec.fromPartial>[0];

const gib = 2 ** 30;

export class SimulatedCluster {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly log: RecordingLogger = new RecordingLogger();
  readonly metrics: RecordingMetrics = new RecordingMetrics();
  readonly store: Store;
  readonly proposer: MemoryProposer;
  readonly options: OrchestratorOptions;
  /** By image; others run. */
  readonly behaviours: Map<string, Behaviour> = new Map();
  /** Nodes that don't move their tasks: down, or cut off. */
  readonly silent: Set<string> = new Set();
  /** Tasks that do not stop when told, until they are taken out. */
  readonly stubborn: Set<string> = new Set();
  /** Statuses that the nodes report in one transaction. */
  reportsAtOnce: number = 10_000;
  /** Called with the view after each step of the nodes. */
  onStep: (view: View) => void = () => undefined;
  /** Transactions that a manager writes before it dies and another takes over. */
  writesOfALife: number = Number.POSITIVE_INFINITY;
  #orchestrator: Orchestrator | undefined;
  #life: Life | undefined;

  constructor(options: OrchestratorOptions = {}, seed = 1, limits: Parameters<typeof memoryStore>[1] = {}) {
    this.options = { debounceMs: 0, ...options };
    this.clock = new FakeClock();
    this.random = seededRandom(seed);
    const { store, proposer } = memoryStore({ clock: this.clock, random: this.random, log: this.log }, limits);
    this.store = store;
    this.proposer = proposer;
  }

  /** With `nodes` nodes, named edge-1 and so on, and running loops. */
  static async start(
    nodes = 1,
    {
      options = {},
      seed = 1,
      cluster = {},
      limits = {},
    }: {
      options?: OrchestratorOptions;
      seed?: number;
      cluster?: Parameters<typeof ClusterSpec.fromPartial>[0];
      limits?: Parameters<typeof memoryStore>[1];
    } = {},
  ): Promise<SimulatedCluster> {
    const world = new SimulatedCluster(options, seed, limits);
    await world.store.update((tx) => {
      tx.create("clusters", Cluster.create({ meta: { id: "cluster" }, spec: cluster }));
      tx.create("networks", Network.create({ meta: { id: "net" }, spec: { name: "default" } }));
    });
    for (let index = 1; index <= nodes; index += 1) await world.addNode(`edge-${index}`);
    world.lead();
    await world.settle();
    return world;
  }

  /** @param store what the loops are given as the store, where it is another than ours */
  lead(store?: StoreAccess): void {
    if (this.#orchestrator !== undefined) return;
    this.#life = new Life(this.store, this.writesOfALife);
    const { clock, random, log, metrics } = this;
    this.#orchestrator = startOrchestrator({ store: store ?? this.#life, clock, random, log, metrics }, this.options);
  }

  /** The manager is killed and started again. */
  async restart(): Promise<void> {
    await this.stopLeading();
    this.lead();
  }

  async stopLeading({ faults: expected = false } = {}): Promise<void> {
    await this.#orchestrator?.close();
    this.#orchestrator = undefined;
    const faults = this.log.records.filter(
      ({ level, event }) => level === "error" || event.startsWith("a full pass found"),
    );
    if (faults.length > 0 && !expected) throw new Error(`the loops told of faults: ${inspect(faults, { depth: 4 })}`);
  }

  get view(): View {
    return this.store.view();
  }

  async addNode(hostname: string, partial: Parameters<typeof Node.fromPartial>[0] = {}): Promise<string> {
    const at = new Date(this.clock.now());
    return this.store.update((tx) =>
      tx.create(
        "nodes",
        Node.create({
          meta: { id: hostname },
          spec: { labels: {}, availability: NodeSpec_Availability.ACTIVE },
          description: { hostname, os: "linux", architecture: "amd64", cpuNanos: 4e9, memoryBytes: 8 * gib },
          status: { state: NodeStatus_State.READY, at },
          ...partial,
        }),
      ),
    );
  }

  async changeNode(id: string, change: (node: Node) => Partial<Node>, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const node = tx.get("nodes", id)!;
      tx.update("nodes", { ...node, ...change(node) });
    });
    if (settle) await this.settle();
  }

  async setAvailability(id: string, availability: NodeSpec_Availability, settle = true): Promise<void> {
    await this.changeNode(id, ({ spec }) => ({ spec: { labels: spec?.labels ?? {}, availability } }), settle);
  }

  async down(id: string, settle = true): Promise<void> {
    this.silent.add(id);
    await this.setState(id, NodeStatus_State.DOWN, settle);
  }

  async up(id: string, settle = true): Promise<void> {
    this.silent.delete(id);
    await this.setState(id, NodeStatus_State.READY, settle);
  }

  async setState(id: string, state: NodeStatus_State, settle = true): Promise<void> {
    await this.changeNode(id, () => ({ status: { state, message: "", at: new Date(this.clock.now()) } }), settle);
  }

  async create(name: string, replicas = 1, spec: SomeSpec = {}, settle = true): Promise<string> {
    const id = await this.store.update((tx) =>
      tx.create(
        "services",
        Service.create({ meta: { id: name }, spec: serviceSpec(name, replicas, spec), specVersion: 1 }),
      ),
    );
    if (settle) await this.settle();
    return id;
  }

  /** As the API does it: the spec is replaced, and counted if tasks are made anew. */
  async update(id: string, change: (spec: ServiceSpec) => void, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const service = tx.get("services", id);
      if (service === undefined || service.deleting) return;
      const spec = ServiceSpec.create(service.spec);
      change(spec);
      const counts = JSON.stringify(spec.task) !== JSON.stringify(service.spec?.task);
      const specVersion = service.specVersion + (counts ? 1 : 0);
      tx.update("services", { ...service, spec, previousSpec: service.spec, specVersion });
    });
    if (settle) await this.settle();
  }

  async setImage(id: string, image: string, settle = true): Promise<void> {
    await this.update(id, (spec) => void (spec.task!.container!.image = image), settle);
  }

  async scale(id: string, replicas: number, settle = true): Promise<void> {
    await this.update(id, (spec) => void (spec.mode!.value.replicas = replicas), settle);
  }

  async delete(id: string, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const service = tx.get("services", id);
      if (service !== undefined) tx.update("services", { ...service, deleting: true });
    });
    if (settle) await this.settle();
  }

  service(id: string): Service {
    return this.view.get("services", id)!;
  }

  tasks(serviceId: string): readonly Task[] {
    return this.view
      .find("tasks", "service", serviceId)
      .toSorted((a, b) => a.slot - b.slot || a.record!.run - b.record!.run);
  }

  running(serviceId: string): Task[] {
    return this.tasks(serviceId).filter(
      (task) => task.status?.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING,
    );
  }

  slot(serviceId: string, slot: number): readonly Task[] {
    return this.tasks(serviceId).filter((task) => task.slot === slot);
  }

  /** `web.1 failed`, … */
  events(): string[] {
    return this.view.list("events").map(({ objectName, action }) => `${objectName} ${action}`);
  }

  /** Ends a running task as its container would. */
  async end(task: Task, state: TaskState = TaskState.FAILED, exitCode = 1, settle = true): Promise<void> {
    await this.#report([ended(this.view.get("tasks", task.meta!.id)!, state, exitCode, this.clock.now())]);
    if (settle) await this.settle();
  }

  /** Time passes, with everything that falls due on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    await this.settle();
    while (this.clock.monotonic() < end) {
      const next = Math.min(this.clock.nextAt ?? end, end);
      this.clock.advance(Math.max(0, next - this.clock.monotonic()));
      await this.settle();
    }
  }

  /** Until neither loops nor nodes have anything to do without time passing. */
  async settle(): Promise<void> {
    for (let steps = 0; steps < 1_000; steps += 1) {
      await this.quiet();
      if (!(await this.step())) return;
    }
    throw new Error("the nodes' tasks never come to rest");
  }

  /** Until the loops have nothing to do. */
  async quiet(): Promise<void> {
    let { version } = this.view;
    for (let turns = 0, still = 0; still < 4; turns += 1) {
      if (turns > 10_000) throw new Error("the loops never come to rest");
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#life?.over === true) await this.restart();
      still = version === this.view.version ? still + 1 : 0;
      ({ version } = this.view);
    }
  }

  /** Every node moves each of its tasks one state forward; false if none moved. */
  async step(): Promise<boolean> {
    const moved = this.view
      .list("tasks")
      .filter(({ nodeId }) => nodeId !== "" && !this.silent.has(nodeId) && this.view.get("nodes", nodeId) !== undefined)
      .map((task) => this.#next(task))
      .filter((task) => task !== undefined);
    if (moved.length === 0) return false;
    for (let from = 0; from < moved.length; from += this.reportsAtOnce)
      await this.#report(moved.slice(from, from + this.reportsAtOnce));
    this.onStep(this.view);
    return true;
  }

  /** What the store does not take is reported again in the next step. */
  async #report(tasks: readonly Task[]): Promise<void> {
    try {
      await this.store.update((tx) => {
        for (const { meta, status } of tasks) {
          const task = tx.get("tasks", meta!.id);
          if (task !== undefined && (task.status?.state ?? 0) < status!.state) tx.update("tasks", { ...task, status });
        }
      });
    } catch (error) {
      if (!StoreError.is(error)) throw error;
    }
  }

  #next(task: Task): Task | undefined {
    const state = task.status!.state;
    const now = this.clock.now();
    if (state >= TaskState.COMPLETE) return undefined;
    if (task.desiredState > TaskState.RUNNING)
      return this.stubborn.has(task.meta!.id) ? undefined : ended(task, TaskState.SHUTDOWN, 143, now);
    const behaviour = this.behaviours.get(task.spec!.container!.image) ?? "run";
    switch (state) {
      case TaskState.ASSIGNED:
        return moved(task, TaskState.ACCEPTED, now);
      case TaskState.ACCEPTED:
        return moved(task, TaskState.PREPARING, now);
      case TaskState.PREPARING:
        if (behaviour === "stall") return undefined;
        return behaviour === "reject"
          ? Task.create({
              ...task,
              status: {
                ...task.status!,
                state: TaskState.REJECTED,
                at: new Date(now),
                message: "no such image",
                code: "IMAGE_MISSING",
              },
            })
          : moved(task, TaskState.READY, now);
      case TaskState.READY:
        return task.desiredState < TaskState.RUNNING ? undefined : moved(task, TaskState.STARTING, now);
      case TaskState.STARTING: {
        const running = moved(task, TaskState.RUNNING, now);
        running.status!.container = { ...running.status!.container!, address: "10.77.0.2", startedAt: new Date(now) };
        return running;
      }
      default:
        if (behaviour === "crash") return ended(task, TaskState.FAILED, 1, now);
        return behaviour === "complete" ? ended(task, TaskState.COMPLETE, 0, now) : undefined;
    }
  }
}

export function serviceSpec(name: string, replicas: number, spec: SomeSpec = {}): ServiceSpec {
  return ServiceSpec.create({
    mode: { $case: "replicated", value: { replicas } },
    ...spec,
    name,
    task: { ...spec.task, container: { image: "app:1", ...spec.task?.container } },
  });
}

function moved(task: Task, state: TaskState, now: number): Task {
  return Task.create({
    ...task,
    status: {
      ...task.status,
      state,
      at: new Date(now),
      message: "",
      container: { containerId: "c", ...task.status?.container },
    },
  });
}

function ended(task: Task, state: TaskState, exitCode: number, now: number): Task {
  const over = moved(task, state, now);
  over.status!.container = { ...over.status!.container!, exitCode, finishedAt: new Date(now) };
  return over;
}

/** The store as a manager has it that dies after so many transactions: what it would write after that is not written. */
class Life implements StoreAccess {
  readonly #store: Store;
  #writesLeft: number;

  constructor(store: Store, writes: number) {
    this.#store = store;
    this.#writesLeft = writes;
  }

  get over(): boolean {
    return this.#writesLeft <= 0;
  }

  view(): View {
    return this.#store.view();
  }

  watch(options: Parameters<Store["watch"]>[0]): ReturnType<Store["watch"]> {
    return this.#store.watch(options);
  }

  update<R>(work: (tx: Transaction) => R): Promise<R> {
    return this.#store.update((tx) => {
      if (this.over) throw new StoreError({ code: "STORE_NOT_LEADER", leader: undefined }, "this manager has died");
      const before = writesIn(tx);
      const result = work(tx);
      if (writesIn(tx) > before) this.#writesLeft -= 1;
      return result;
    });
  }
}

/** The store's own transactions list their writes. */
function writesIn(tx: Transaction): number {
  return (tx as unknown as { readonly writes: readonly unknown[] }).writes.length;
}
