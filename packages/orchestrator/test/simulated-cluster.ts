/**
 * A cluster without containers: the real store in memory, a clock that moves when told, the loops, and workers that obey
 * the lease protocol. What a dispatcher does with their reports is done here.
 */
import { inspect } from "node:util";
import {
  Cluster,
  DeletedService,
  LeaseState,
  ClusterSpec,
  Network,
  Node,
  NodeSpec_Availability,
  NodeStatus_State,
  Service,
  ServiceSpec,
  Slot,
  Task,
  TaskState,
  Version,
  RunEnd,
  type Lease,
} from "@warren/api";
import { compareTasks, numberedSlot, sameEpoch, slotIdOf, slotNumber, taskIdOf } from "@warren/api/model";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import type { Random } from "@warren/std";
import { StoreError, type Store, type Transaction, type View } from "@warren/store";
import { memoryStore, type MemoryStore } from "@warren/store/testing";
import { startOrchestrator, type Orchestrator, type OrchestratorOptions, type StoreAccess } from "../src/index.ts";
import { rollbackTarget, rollbackTo, withVersion } from "../src/plan.ts";
import { newsOf, takeReport } from "./simulated-dispatcher.ts";
import { SimulatedNode, type Behaviour, type NodeEnvironment } from "./simulated-node.ts";

export type { Behaviour };

type SomeSpec = Parameters<typeof ServiceSpec.fromPartial>[0];

const gib = 2 ** 30;
const leaseWords: readonly string[] = ["", "wanted", "offered", "held", "releasing", "released"];

export class SimulatedCluster {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly log: RecordingLogger = new RecordingLogger();
  readonly metrics: RecordingMetrics = new RecordingMetrics();
  readonly store: Store;
  readonly manager: MemoryStore;
  readonly nodes: Map<string, SimulatedNode> = new Map();
  readonly options: OrchestratorOptions;
  /** By image; others run. */
  readonly behaviours: Map<string, Behaviour> = new Map();
  /** Nodes whose machines are off: they do nothing, and are not heard. Others that are down go on by themselves. */
  readonly off: Set<string> = new Set();
  /** Tasks that do not stop when they are told to, until they are taken out. */
  readonly stubborn: Set<string> = new Set();
  /** Called after each step of the nodes. */
  onStep: (world: SimulatedCluster) => void = () => undefined;
  /** Transactions that a manager writes before it dies and another takes over. */
  writesOfALife: number = Number.POSITIVE_INFINITY;
  /** How often a service was made under each name. */
  readonly #created = new Map<string, number>();
  #orchestrator: Orchestrator | undefined;
  #life: Life | undefined;

  constructor(options: OrchestratorOptions = {}, seed = 1, limits: Parameters<typeof memoryStore>[1] = {}) {
    this.options = { debounceMs: 0, ...options };
    this.clock = new FakeClock();
    this.random = seededRandom(seed);
    this.manager = memoryStore({ clock: this.clock, random: this.random, log: this.log }, limits);
    this.store = this.manager.store;
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

  /** The manager is killed, and leads again in another term. */
  async restart(): Promise<void> {
    await this.stopLeading();
    await this.beginTerm();
    this.lead();
  }

  /** Tried again where it fails, as a manager does. */
  async beginTerm(): Promise<void> {
    for (let tries = 0; tries < 20; tries += 1) {
      try {
        return void (await this.manager.beginTerm());
      } catch (error) {
        if (!StoreError.is(error)) throw error;
      }
    }
    throw new Error("no term begins");
  }

  async stopLeading({ faults: expected = false } = {}): Promise<void> {
    await this.#orchestrator?.close();
    this.#orchestrator = undefined;
    const faults = this.log.records.filter(
      ({ level, event }) => level === "error" || event.startsWith("a full pass found"),
    );
    if (faults.length > 0 && !expected) throw new Error(`the loops logged faults: ${inspect(faults, { depth: 4 })}`);
  }

  get view(): View {
    return this.store.view();
  }

  async addNode(hostname: string, partial: Parameters<typeof Node.fromPartial>[0] = {}): Promise<string> {
    const at = new Date(this.clock.now());
    const worker = new SimulatedNode(hostname, this.#environment());
    this.nodes.set(hostname, worker);
    return this.store.update((tx) =>
      tx.create(
        "nodes",
        Node.create({
          meta: { id: hostname },
          spec: { labels: {}, availability: NodeSpec_Availability.ACTIVE },
          description: {
            hostname,
            os: "linux",
            architecture: "amd64",
            cpuNanos: 4e9,
            memoryBytes: 8 * gib,
            level: 1,
            minLevel: 1,
            life: worker.life,
          },
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

  /** The managers hear nothing of it. @param off its machine is off, too */
  async down(id: string, settle = true, { off = true } = {}): Promise<void> {
    this.node(id).connected = false;
    if (off) this.off.add(id);
    await this.setState(id, NodeStatus_State.DOWN, settle);
  }

  async up(id: string, settle = true): Promise<void> {
    this.node(id).connected = true;
    if (this.off.delete(id)) this.node(id).reboot();
    await this.setState(id, NodeStatus_State.READY, settle);
  }

  async setState(id: string, state: NodeStatus_State, settle = true): Promise<void> {
    await this.changeNode(id, () => ({ status: { state, message: "", at: new Date(this.clock.now()) } }), settle);
  }

  node(id: string): SimulatedNode {
    return this.nodes.get(id)!;
  }

  /** Its id is its name; one that is made again under a name has another. */
  async create(name: string, replicas = 1, spec: SomeSpec = {}, settle = true): Promise<string> {
    this.#created.set(name, (this.#created.get(name) ?? 0) + 1);
    const id = this.#created.get(name) === 1 ? name : `${name}-${this.#created.get(name)}`;
    await this.store.update((tx) => {
      const service = Service.create({ meta: { id }, spec: serviceSpec(name, replicas, spec), specVersion: 1 });
      tx.create("services", service);
      const made = tx.get("services", id)!;
      tx.update("services", { ...made, ...newVersion(tx, made) });
    });
    if (settle) await this.settle();
    return id;
  }

  /** The id of the service that has the name now; the name where none has. */
  named(name: string): string {
    return this.view.find("services", "name", name)[0]?.meta!.id ?? name;
  }

  /** As the API does it: the spec is replaced, and another task is another version. */
  async update(id: string, change: (spec: ServiceSpec) => void, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const service = tx.get("services", id);
      if (service === undefined) return;
      const spec = ServiceSpec.fromPartial(service.spec!);
      change(spec);
      const isOther = JSON.stringify(spec.task) !== JSON.stringify(service.spec?.task);
      const edited = { ...service, spec, specVersion: service.specVersion + 1 };
      tx.update("services", { ...edited, ...(isOther && newVersion(tx, edited)) });
    });
    if (settle) await this.settle();
  }

  async setImage(id: string, image: string, settle = true): Promise<void> {
    await this.update(id, (spec) => void (spec.task!.container!.image = image), settle);
  }

  /** As the API does it on a user's behalf: to the last version that completed before. */
  async rollback(id: string, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const service = tx.get("services", id)!;
      const target = tx.get("versions", rollbackTarget(service)!)!;
      const changes = rollbackTo(service, target, "as was asked", this.clock.now(), 0);
      tx.update("services", { ...service, ...changes, specVersion: service.specVersion + 1 });
    });
    if (settle) await this.settle();
  }

  async scale(id: string, replicas: number, settle = true): Promise<void> {
    await this.update(id, (spec) => void (spec.mode!.value.replicas = replicas), settle);
  }

  async delete(id: string, settle = true): Promise<void> {
    await this.store.update((tx) => {
      const service = tx.get("services", id);
      if (service === undefined) return;
      const { spec, endpoint } = service;
      const deleted = { meta: { id }, name: spec?.name ?? "", vip: endpoint?.vip ?? "" };
      if (tx.find("slots", "service", id).length > 0) tx.create("deletedServices", DeletedService.fromPartial(deleted));
      tx.delete("services", id);
    });
    if (settle) await this.settle();
  }

  service(id: string): Service {
    return this.view.get("services", id)!;
  }

  slots(serviceId: string): readonly Slot[] {
    return this.view.find("slots", "service", serviceId).toSorted((a, b) => slotNumber(a.key) - slotNumber(b.key));
  }

  slot(serviceId: string, number: number): Slot | undefined {
    return this.view.get("slots", slotIdOf(serviceId, numberedSlot(number)));
  }

  /** `held@edge-1`, …: of each lease of a slot that is not released. */
  leases(serviceId: string, number: number): string[] {
    const leases = this.slot(serviceId, number)?.leases ?? [];
    return leases
      .filter(({ state }) => state !== LeaseState.RELEASED)
      .map(({ state, nodeId }) => `${leaseWords[state]}@${nodeId}`);
  }

  /** In the order of slots, then of runs. */
  tasks(serviceId: string): readonly Task[] {
    return this.view
      .find("tasks", "service", serviceId)
      .toSorted((a, b) => slotNumber(a.slot) - slotNumber(b.slot) || compareTasks(a, b));
  }

  tasksOf(serviceId: string, number: number): readonly Task[] {
    return this.tasks(serviceId).filter(({ slot }) => slotNumber(slot) === number);
  }

  /** The running tasks of leases that are held. */
  running(serviceId: string): Task[] {
    return this.tasks(serviceId).filter((task) => {
      const lease = this.leaseOf(task);
      return task.status?.state === TaskState.RUNNING && lease?.state === LeaseState.HELD;
    });
  }

  image(task: Task): string {
    return this.view.get("versions", task.versionId)?.task?.container?.image ?? "";
  }

  leaseOf(task: Task): Lease | undefined {
    return this.view.get("slots", task.slotId)?.leases.find(({ epoch }) => sameEpoch(epoch, task.epoch));
  }

  /** `web.1 failed`, … */
  events(): string[] {
    return this.view.list("events").map(({ objectName, action }) => `${objectName} ${action}`);
  }

  /** Ends a running task as its container would. */
  async end(task: Task, end: Parameters<typeof RunEnd.fromPartial>[0] = {}, settle = true): Promise<void> {
    this.node(task.nodeId).end(task.meta!.id, RunEnd.fromPartial({ exitCode: 1, ranMs: 600_000, ...end }));
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
    for (let steps = 0; steps < 2_000; steps += 1) {
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

  /** Every node that is on moves each of its leases one state further; false if none moved. */
  async step(): Promise<boolean> {
    let moved = false;
    for (const node of this.nodes.values()) {
      if (this.off.has(node.id)) continue;
      await this.#introduce(node);
      if (node.connected && this.view.get("nodes", node.id) !== undefined) node.receive(this.view);
      moved = node.step() || moved;
    }
    const reported = await this.report();
    this.onStep(this);
    return moved || reported;
  }

  /** What the store does not take is reported again in the next step. */
  async report(): Promise<boolean> {
    const reports = [...this.nodes.values()]
      .filter(({ id, connected }) => connected && !this.off.has(id))
      .flatMap((node) => [...node.leases.values()].map((lease) => ({ node, lease })))
      .filter(({ lease }) => lease.reported !== newsOf(lease));
    if (reports.length === 0) return false;
    try {
      await this.store.update((tx) => {
        for (const { node, lease } of reports) takeReport(tx, node.id, lease, this.clock.now());
      });
      for (const { lease } of reports) lease.reported = newsOf(lease);
    } catch (error) {
      if (!StoreError.is(error)) throw error;
    }
    return true;
  }

  /** A worker's session begins with its life. */
  async #introduce({ id, connected, life }: SimulatedNode): Promise<void> {
    const stored = this.view.get("nodes", id);
    if (!connected || stored?.description === undefined || stored.description.life === life) return;
    try {
      await this.changeNode(id, ({ description }) => ({ description: { ...description!, life } }), false);
    } catch (error) {
      if (!StoreError.is(error)) throw error;
    }
  }

  #environment(): NodeEnvironment {
    return {
      clock: this.clock,
      random: this.random,
      behaviourOf: (nodeId, image) => this.behaviours.get(`${image}@${nodeId}`) ?? this.behaviours.get(image) ?? "run",
      isStubborn: (taskId) => this.stubborn.has(taskId),
      taskIdOf,
    };
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

/** The service's version fields once its spec's task is to be run, as the API makes them. */
function newVersion(tx: Transaction, service: Service): Partial<Service> {
  const number = service.lastVersionNumber + 1;
  const id = `${service.meta!.id}-v${number}`;
  const { placement: _placement, restart: _restart, ...parts } = service.spec!.task!;
  const make = JSON.stringify(parts);
  tx.create(
    "versions",
    Version.create({
      meta: { id },
      serviceId: service.meta!.id,
      number,
      task: service.spec!.task,
      networks: ["net"],
      level: 1,
      make,
    }),
  );
  return { versionId: id, lastVersionNumber: number, recentVersionIds: withVersion(service.recentVersionIds, id) };
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

  get term(): Store["term"] {
    return this.#store.term;
  }

  update<R>(work: (tx: Transaction) => R, options: Parameters<Store["update"]>[1] = {}): Promise<R> {
    return this.#store.update((tx) => {
      if (this.over) throw new StoreError({ code: "STORE_NOT_LEADER", leader: undefined }, "this manager has died");
      const before = writesIn(tx);
      const result = work(tx);
      if (writesIn(tx) > before) this.#writesLeft -= 1;
      return result;
    }, options);
  }
}

/** The store's own transactions list their writes. */
function writesIn(tx: Transaction): number {
  return (tx as unknown as { readonly writes: readonly unknown[] }).writes.length;
}
