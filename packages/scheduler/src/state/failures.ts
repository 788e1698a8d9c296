import type { TaskState } from "../types.ts";
import type { Node } from "./node.ts";

/** As in Swarm: this many failures of a service's version within this time put a node last for it. */
const limit = 5;
const windowMs = 5 * 60_000;

const none: ReadonlySet<Node> = new Set();

/** Times of failures, by service and version. The present time comes with the deltas. */
export class Failures {
  #now = Number.NEGATIVE_INFINITY;
  /** The latest five times of each node, latest first. */
  readonly #times = new Map<string, Map<Node, number[]>>();

  advance(now: number): void {
    if (now > this.#now) this.#now = now;
  }

  add(node: Node, serviceId: string, specVersion: number, at: number): void {
    this.advance(at);
    const key = keyOf(serviceId, specVersion);
    const byNode = this.#times.get(key) ?? new Map<Node, number[]>();
    const times = byNode.get(node) ?? [];
    byNode.set(node, [...times, at].toSorted((a, b) => b - a).slice(0, limit));
    this.#times.set(key, byNode);
  }

  forget(node: Node): void {
    for (const [key, byNode] of this.#times) if (byNode.delete(node) && byNode.size === 0) this.#times.delete(key);
  }

  failing({ serviceId, specVersion }: TaskState): ReadonlySet<Node> {
    if (this.#times.size === 0) return none;
    const key = keyOf(serviceId, specVersion);
    const byNode = this.#times.get(key);
    if (byNode === undefined) return none;
    const found = new Set<Node>();
    for (const [node, times] of byNode) {
      // Time only grows, so failures that are too old can be dropped.
      if ((times[0] ?? 0) < this.#now - windowMs) byNode.delete(node);
      else if ((times[limit - 1] ?? Number.NEGATIVE_INFINITY) >= this.#now - windowMs) found.add(node);
    }
    if (byNode.size === 0) this.#times.delete(key);
    return found;
  }

  /** All failures, for a copy. */
  *all(): Generator<{ node: Node; key: string; times: readonly number[] }> {
    for (const [key, byNode] of this.#times) for (const [node, times] of byNode) yield { node, key, times };
  }

  /** Takes over the failures of `other`, of nodes that `find` returns. */
  copy(other: Failures, find: (id: string) => Node | undefined): void {
    this.#now = other.#now;
    for (const { node, key, times } of other.all()) {
      const mine = find(node.state.id);
      if (mine === undefined) continue;
      this.#times.set(key, (this.#times.get(key) ?? new Map<Node, number[]>()).set(mine, [...times]));
    }
  }
}

function keyOf(serviceId: string, specVersion: number): string {
  return `${specVersion}/${serviceId}`;
}
