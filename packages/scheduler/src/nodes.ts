/**
 * The nodes, what they hold, and their order by load.
 *
 * I1: `levels[n]` holds exactly the known nodes with `n` tasks, sorted by (hash of seed and id, id). So the order in
 *     which nodes are tried depends on what is, never on how it came to be.
 */
import type { NodeState, NodeView, TaskState } from "./types.ts";

export class Node implements NodeView {
  state: NodeState;
  /** False for a node that is known only by name, from a task that says it is there. */
  known = false;
  readonly hash: number;
  readonly tasks: Set<string> = new Set();
  readonly used: Map<string, number> = new Map();
  readonly hostPorts: Map<string, number> = new Map();
  readonly services: Map<string, number> = new Map();

  constructor(id: string, hash: number) {
    this.state = { id, role: "worker", ready: false, active: false };
    this.hash = hash;
  }

  get load(): number {
    return this.tasks.size;
  }
}

export class Nodes {
  readonly #seed: number;
  readonly #byId = new Map<string, Node>();
  readonly #levels: Node[][] = [];
  #known = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#known;
  }

  put(state: NodeState): void {
    const node = this.#named(state.id);
    node.state = state;
    if (node.known) return;
    node.known = true;
    this.#known += 1;
    this.#enter(node);
  }

  remove(id: string): void {
    const node = this.#byId.get(id);
    if (node === undefined || !node.known) return;
    this.#leave(node);
    this.#known -= 1;
    node.known = false;
    this.#forgetIfEmpty(node);
  }

  hold(id: string, task: TaskState): void {
    this.#count(this.#named(id), task, 1);
  }

  release(id: string, task: TaskState): void {
    const node = this.#byId.get(id);
    if (node === undefined) return;
    this.#count(node, task, -1);
    this.#forgetIfEmpty(node);
  }

  /** Known nodes, least loaded first. Nothing may be placed while this is read. */
  *inOrder(): Generator<Node> {
    for (const level of this.#levels) yield* level;
  }

  #named(id: string): Node {
    let node = this.#byId.get(id);
    if (node === undefined) this.#byId.set(id, (node = new Node(id, hashOf(this.#seed, id))));
    return node;
  }

  #forgetIfEmpty(node: Node): void {
    if (!node.known && node.load === 0) this.#byId.delete(node.state.id);
  }

  #count(node: Node, task: TaskState, by: 1 | -1): void {
    if (node.known) this.#leave(node);
    if (by === 1) node.tasks.add(task.id);
    else node.tasks.delete(task.id);
    add(node.services, task.serviceId, by);
    for (const [kind, amount] of Object.entries(task.reservations ?? {})) add(node.used, kind, by * amount);
    for (const { port, protocol } of task.hostPorts ?? []) add(node.hostPorts, `${port}/${protocol}`, by);
    if (node.known) this.#enter(node);
  }

  #enter(node: Node): void {
    while (this.#levels.length <= node.load) this.#levels.push([]);
    const level = this.#levels[node.load] as Node[];
    level.splice(position(level, node), 0, node);
  }

  #leave(node: Node): void {
    const level = this.#levels[node.load] as Node[];
    level.splice(position(level, node), 1);
  }
}

/** The order of nodes that are equal in all else. */
export function tieBreak(a: Node, b: Node): number {
  if (a.hash !== b.hash) return a.hash - b.hash;
  return a.state.id < b.state.id ? -1 : a.state.id > b.state.id ? 1 : 0;
}

function position(level: readonly Node[], node: Node): number {
  let low = 0;
  let high = level.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (tieBreak(level[middle] as Node, node) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const sum = (counts.get(key) ?? 0) + by;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}

/** FNV-1a, 32 bits. */
function hashOf(seed: number, text: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
