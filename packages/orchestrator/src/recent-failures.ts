import { failuresToMove } from "./slots.ts";

/** How long a node on which a version failed is avoided by leases that move, ms (L9). */
const avoidMs = 300_000;

/**
 * L9: on which nodes a version has failed lately, so often that leases which move avoid them.
 *
 * Kept apart from tasks, of which a slot keeps its last few: what fails on one node after the other would soon be forgotten
 * where it failed first. Times are monotonic; a new leader begins with the failures that are stored.
 */
export class RecentFailures {
  /** Service → version → node → when it failed there last, the oldest first, `failuresToMove` times at most. */
  readonly #failures = new Map<string, Map<string, Map<string, readonly number[]>>>();

  put(serviceId: string, versionId: string, nodeId: string, at: number): void {
    const versions = this.#failures.get(serviceId) ?? new Map<string, Map<string, readonly number[]>>();
    this.#failures.set(serviceId, versions);
    const nodes = versions.get(versionId) ?? new Map<string, readonly number[]>();
    versions.set(versionId, nodes);
    nodes.set(nodeId, [...(nodes.get(nodeId) ?? []), at].slice(-failuresToMove));
    for (const [id, each] of versions) {
      for (const [node, times] of each) if ((times.at(-1) ?? 0) + avoidMs <= at) each.delete(node);
      if (each.size === 0) versions.delete(id);
    }
  }

  /** Nodes that are avoided, and for how long yet, ms. */
  of(
    serviceId: string,
    versionId: string,
    now: number,
  ): readonly { readonly nodeId: string; readonly leftMs: number }[] {
    const nodes = this.#failures.get(serviceId)?.get(versionId) ?? new Map<string, readonly number[]>();
    return [...nodes]
      .filter(([, times]) => times.length >= failuresToMove)
      .map(([nodeId, [first = 0]]) => ({ nodeId, leftMs: Math.ceil(first + avoidMs - now) }))
      .filter(({ leftMs }) => leftMs > 0);
  }

  forget(serviceId: string): void {
    this.#failures.delete(serviceId);
  }

  clear(): void {
    this.#failures.clear();
  }
}
