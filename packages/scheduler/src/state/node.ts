import type { NodeView } from "../rules.ts";
import type { NodeState, TaskState } from "../types.ts";

/** The kinds of resources that count for headroom. */
const sharedKinds = ["cpu", "memory", "disk", "pids"];

/** A node with its tasks and what they hold. Only `World` changes it. */
export class Node implements NodeView {
  state: NodeState;
  /** False for a node that was not applied, and is known only from tasks that name it. */
  known = false;
  readonly hash: number;
  readonly tasks: Map<string, TaskState> = new Map();
  readonly used: Map<string, number> = new Map();
  readonly hostPorts: Map<string, number> = new Map();
  readonly services: Map<string, number> = new Map();
  /** Names of generic resources that tasks hold, by kind. */
  readonly names: Map<string, Set<string>> = new Map();
  /** Free amounts, by the number of the kind, of kinds that any task ever reserved; by these, blocks of nodes are skipped. */
  readonly freeOf: number[] = [];
  headroom = 1;
  /** Tasks on it that are leaving. */
  leaving = 0;

  constructor(id: string, hash: number) {
    this.state = { id, role: "worker", ready: false, active: false };
    this.hash = hash;
  }

  get load(): number {
    return this.tasks.size - this.leaving;
  }

  get held(): number {
    return this.tasks.size;
  }

  capacity(kind: string): number {
    return this.state.named?.[kind]?.length ?? this.state.resources?.[kind] ?? 0;
  }

  free(kind: string): number {
    return this.capacity(kind) - (this.used.get(kind) ?? 0);
  }

  /** The first `amount` names of `kind` that no task holds. */
  freeNames(kind: string, amount: number): string[] {
    const held = this.names.get(kind);
    const names = this.state.named?.[kind] ?? [];
    return names.filter((name) => held?.has(name) !== true).slice(0, amount);
  }

  /** Recomputes derived values after a change of its state or its tasks. */
  reckon(kinds: readonly string[]): void {
    for (let at = 0; at < kinds.length; at += 1) this.freeOf[at] = this.free(kinds[at] as string);
    let least = 1;
    const offers = this.state.resources;
    if (offers !== undefined) {
      for (const kind of sharedKinds) {
        const all = offers[kind] ?? 0;
        if (all > 0) least = Math.min(least, Math.max(0, (all - (this.used.get(kind) ?? 0)) / all));
      }
    }
    this.headroom = least;
  }
}

/** The tie-break: the order of nodes that are equal by all rules. */
export function tieBreak(a: Node, b: Node): number {
  if (a.hash !== b.hash) return a.hash - b.hash;
  return a.state.id < b.state.id ? -1 : a.state.id > b.state.id ? 1 : 0;
}

/** FNV-1a of 32 bits with a final mixing step, so that names that differ in their last letter are far apart. */
export function hashOf(seed: number, text: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
