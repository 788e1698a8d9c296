/**
 * The scheduler's state: nodes, their tasks, and the indexes over both.
 *
 * I1: an index equals one that is built anew from the present nodes and placed tasks.
 * I2: every change of a node, or of its tasks, is in `journal`; a candidate index reads it from where it stopped
 *     (`candidate-indexes.ts`).
 */
import { topologyOf } from "../constraints.ts";
import type { Partitioning, World as WorldView } from "../rules.ts";
import type { Delta, NodeState, TaskState } from "../types.ts";
import { hashOf, Node } from "./node.ts";
import { Failures } from "./failures.ts";
import { OrderedNodes } from "./ordered-nodes.ts";
import { portsOf } from "./ports.ts";
import { isNarrow, pathOf, Topology } from "./topology.ts";

/** Label keys that are indexed by value, at most; constraints on further keys are checked node by node. */
const indexLimit = 64;

const noNodes: ReadonlySet<Node> = new Set();

export class World implements WorldView {
  readonly #seed: number;
  readonly #byId = new Map<string, Node>();
  readonly #services = new Map<string, Map<Node, number>>();
  readonly #topologies = new Map<string, Topology>();
  /** Topologies by key with values in lower case, for constraints. */
  readonly #values = new Map<string, Topology>();
  /** service → topology → value → placed tasks that keep the service away. */
  readonly #repulsions = new Map<string, Map<string, Map<string, number>>>();
  readonly #volumes = new Map<string, Map<Node, number>>();
  readonly #images = new Map<string, Set<Node>>();
  /** priority → nodes that hold tasks of it that stay. */
  readonly #priorities = new Map<number, Map<Node, number>>();
  /** Known nodes in the seed's order, which does not depend on their tasks. */
  readonly #fixed = new OrderedNodes();
  readonly #down = new OrderedNodes();
  readonly #kinds: string[] = [];
  readonly failures: Failures = new Failures();
  #softTaints = 0;
  #limitedAddresses = 0;
  /** Nodes in the order in which they changed; the first has number `journalStart`. */
  readonly journal: Node[] = [];
  journalStart = 0;
  /** Incremented with every change. */
  version = 0;
  /** Incremented when a node is applied or removed. */
  nodesVersion = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Known nodes. */
  get size(): number {
    return this.#fixed.size;
  }

  get softTaints(): boolean {
    return this.#softTaints > 0;
  }

  get limitedAddresses(): boolean {
    return this.#limitedAddresses > 0;
  }

  /** Known nodes that are not ready or not active. */
  get down(): OrderedNodes {
    return this.#down;
  }

  /** Known nodes, in the seed's order. */
  get known(): OrderedNodes {
    return this.#fixed;
  }

  node(id: string): Node | undefined {
    return this.#byId.get(id);
  }

  /** The lowest priority of a placed task; infinite where there is none. */
  lowestPriority(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const priority of this.#priorities.keys()) if (priority < lowest) lowest = priority;
    return lowest;
  }

  /** Known nodes that hold tasks of a priority below `priority`. */
  nodesBelow(priority: number): Set<Node> {
    const found = new Set<Node>();
    for (const [each, nodes] of this.#priorities) {
      if (each < priority) for (const node of nodes.keys()) if (node.known) found.add(node);
    }
    return found;
  }

  put(state: NodeState): Node {
    const node = this.#named(state.id);
    if (node.known) this.#index(node, -1);
    else this.#fixed.insert({ node, first: 0, second: 0 });
    node.known = true;
    node.state = state;
    this.#index(node, 1);
    this.#changed(node);
    this.nodesVersion += 1;
    return node;
  }

  remove(id: string): Node | undefined {
    const node = this.#byId.get(id);
    if (node === undefined || !node.known) return undefined;
    this.#index(node, -1);
    this.#fixed.remove({ node, first: 0, second: 0 });
    node.known = false;
    node.state = { id, role: "worker", ready: false, active: false };
    this.failures.forget(node);
    this.#changed(node);
    this.nodesVersion += 1;
    this.#forgetIfEmpty(node);
    return node;
  }

  hold(id: string, task: TaskState): Node {
    const node = this.#named(id);
    node.tasks.set(task.id, task);
    this.#count(node, task, 1);
    return node;
  }

  release(id: string, task: TaskState): Node {
    const node = this.#named(id);
    node.tasks.delete(task.id);
    this.#count(node, task, -1);
    this.#forgetIfEmpty(node);
    return node;
  }

  /** Replaces a placed task by one with the same needs. */
  replace(id: string, task: TaskState): void {
    this.#byId.get(id)?.tasks.set(task.id, task);
  }

  fail({ nodeId, serviceId, specVersion, at }: Delta & { kind: "failure" }): void {
    const node = this.#byId.get(nodeId);
    if (node?.known === true) this.failures.add(node, serviceId, specVersion, at);
    else this.failures.advance(at);
  }

  nodesOf(serviceId: string): ReadonlyMap<Node, number> {
    return this.#services.get(serviceId) ?? emptyCounts;
  }

  tasksIn(serviceId: string, topology: string, value: string): number {
    return this.#topology(topology).tasks(value, serviceId);
  }

  domain(topology: string, value: string): ReadonlySet<Node> {
    return this.#topology(topology).nodes(value);
  }

  /** Nodes by their path of partitions, level by level, and the tasks under each path. */
  paths(partitions: readonly Partitioning[]): Topology {
    const key = `path:${partitions.map((each) => each.key).join("\n")}`;
    let topology = this.#topologies.get(key);
    if (topology === undefined) {
      topology = new Topology(({ state }) => pathOf(partitions.map((each) => each.of(state))));
      for (const node of this.#fixed) topology.enter(node);
      this.#topologies.set(key, topology);
    }
    return topology;
  }

  nodesWith(topology: string, value: string): ReadonlySet<Node> | undefined {
    let index = this.#values.get(topology);
    if (index === undefined) {
      const read = topologyOf(topology);
      if (read === undefined) return noNodes;
      if (this.#values.size >= indexLimit) return undefined;
      index = new Topology(({ state }) => read(state)?.toLowerCase());
      for (const node of this.#fixed) index.enter(node);
      this.#values.set(topology, index);
    }
    return index.nodes(value.toLowerCase());
  }

  repulsions(serviceId: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#repulsions.get(serviceId) ?? emptyRepulsions;
  }

  volumeHomes(name: string): ReadonlyMap<Node, number> {
    return this.#volumes.get(name) ?? emptyCounts;
  }

  imageHomes(image: string): ReadonlySet<Node> {
    return this.#images.get(image) ?? noNodes;
  }

  failing(task: TaskState): ReadonlySet<Node> {
    return this.failures.failing(task);
  }

  /** The number of a kind of resource, for `Node.freeOf`. */
  kind(name: string): number {
    const at = this.#kinds.indexOf(name);
    if (at >= 0) return at;
    this.#kinds.push(name);
    for (const node of this.#byId.values()) {
      node.reckon(this.#kinds);
      this.#touch(node);
    }
    return this.#kinds.length - 1;
  }

  #topology(key: string): Topology {
    let topology = this.#topologies.get(key);
    if (topology === undefined) {
      const read = topologyOf(key);
      topology = new Topology(({ state }) => read?.(state), isNarrow(key));
      for (const node of this.#fixed) topology.enter(node);
      this.#topologies.set(key, topology);
    }
    return topology;
  }

  #named(id: string): Node {
    let node = this.#byId.get(id);
    if (node === undefined) {
      this.#byId.set(id, (node = new Node(id, hashOf(this.#seed, id))));
      node.reckon(this.#kinds);
    }
    return node;
  }

  #forgetIfEmpty(node: Node): void {
    if (!node.known && node.held === 0) this.#byId.delete(node.state.id);
  }

  /** Adds (1) or removes (−1) what follows from the node's state in the indexes; removed before a change, added after it. */
  #index(node: Node, by: 1 | -1): void {
    for (const index of [...this.#topologies.values(), ...this.#values.values()]) {
      if (by === 1) index.enter(node);
      else index.leave(node);
    }
    if (node.held > 0) this.#touchNarrow(node);
    for (const name of node.state.volumes ?? []) this.#countVolume(name, node, by);
    for (const image of node.state.images ?? []) this.#indexImage(image, node, by);
    if (node.state.taints?.some((taint) => taint.effect === "prefer-no-schedule") === true) this.#softTaints += by;
    if (node.state.addresses !== undefined) this.#limitedAddresses += by;
    for (const task of node.tasks.values()) if (task.leaving !== true) this.#countRepulsion(node, task, by);
    if (!(node.state.ready && node.state.active)) {
      if (by === 1) this.#down.insert({ node, first: 0, second: 0 });
      else this.#down.remove({ node, first: 0, second: 0 });
    }
  }

  /** A node with tasks enters or leaves its domains, which may change the answers for the other nodes there. */
  #touchNarrow(node: Node): void {
    for (const [key, topology] of this.#topologies) {
      const value = topology.narrow ? topologyOf(key)?.(node.state) : undefined;
      if (value !== undefined) for (const each of topology.nodes(value)) if (each !== node) this.#touch(each);
    }
  }

  #count(node: Node, task: TaskState, by: 1 | -1): void {
    for (const kind in task.reservations) add(node.used, kind, by * (task.reservations[kind] ?? 0));
    for (const port of portsOf(task)) add(node.hostPorts, port, by);
    if (task.named !== undefined) this.#countNames(node, task.named, by);
    if (task.localVolumes !== undefined) for (const name of task.localVolumes) this.#countVolume(name, node, by);
    if (task.leaving === true) node.leaving += by;
    else this.#countStaying(node, task, by);
    this.#changed(node);
  }

  /** Adds or removes a task in the counts that leave out tasks that are leaving. */
  #countStaying(node: Node, task: TaskState, by: 1 | -1): void {
    const { serviceId } = task;
    add(node.services, serviceId, by);
    this.#countPriority(task.priority ?? 0, node, by);
    const held = this.#services.get(serviceId) ?? new Map<Node, number>();
    add(held, node, by);
    if (held.size === 0) this.#services.delete(serviceId);
    else this.#services.set(serviceId, held);
    if (node.known) {
      for (const [, topology] of this.#topologies) this.#countTopology(topology, node, serviceId, by);
      this.#countRepulsion(node, task, by);
    }
  }

  /** When a narrow domain gains its first task of a service, or loses its last, all its nodes count as changed. */
  #countTopology(topology: Topology, node: Node, serviceId: string, by: 1 | -1): void {
    const value = topology.count(node, serviceId, by);
    if (value === undefined || !topology.narrow) return;
    for (const each of topology.nodes(value)) if (each !== node) this.#touch(each);
  }

  #countNames(node: Node, named: NonNullable<TaskState["named"]>, by: 1 | -1): void {
    for (const [kind, names] of Object.entries(named)) {
      const held = node.names.get(kind) ?? new Set();
      for (const name of names) {
        if (by === 1) held.add(name);
        else held.delete(name);
      }
      node.names.set(kind, held);
    }
  }

  #countVolume(name: string, node: Node, by: 1 | -1): void {
    const homes = this.#volumes.get(name) ?? new Map<Node, number>();
    add(homes, node, by);
    if (homes.size === 0) this.#volumes.delete(name);
    else this.#volumes.set(name, homes);
  }

  #indexImage(image: string, node: Node, by: 1 | -1): void {
    const homes = this.#images.get(image) ?? new Set<Node>();
    if (by === 1) this.#images.set(image, homes.add(node));
    else if (homes.delete(node) && homes.size === 0) this.#images.delete(image);
  }

  #countPriority(priority: number, node: Node, by: 1 | -1): void {
    const nodes = this.#priorities.get(priority) ?? new Map<Node, number>();
    add(nodes, node, by);
    if (nodes.size === 0) this.#priorities.delete(priority);
    else this.#priorities.set(priority, nodes);
  }

  #countRepulsion(node: Node, task: TaskState, by: 1 | -1): void {
    if (task.affinity === undefined) return;
    for (const { kind, service, topology, required = true } of task.affinity) {
      const value = topologyOf(topology)?.(node.state);
      if (kind === "affinity" || !required || value === undefined) continue;
      const byTopology = this.#repulsions.get(service) ?? new Map<string, Map<string, number>>();
      const counts = byTopology.get(topology) ?? new Map<string, number>();
      add(counts, value, by);
      if (isNarrow(topology)) for (const each of this.domain(topology, value)) if (each !== node) this.#touch(each);
      if (counts.size === 0) byTopology.delete(topology);
      else byTopology.set(topology, counts);
      if (byTopology.size === 0) this.#repulsions.delete(service);
      else this.#repulsions.set(service, byTopology);
    }
  }

  #changed(node: Node): void {
    node.reckon(this.#kinds);
    this.version += 1;
    this.#touch(node);
  }

  #touch(node: Node): void {
    this.journal.push(node);
    // An index that has not read half of this is built anew more cheaply.
    if (this.journal.length < 4 * this.size + 4096) return;
    const half = this.journal.length >>> 1;
    this.journal.splice(0, half);
    this.journalStart += half;
  }
}

const emptyCounts: ReadonlyMap<Node, number> = new Map();
const emptyRepulsions: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map();

function add<K>(counts: Map<K, number>, key: K, by: number): void {
  const sum = (counts.get(key) ?? 0) + by;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}
