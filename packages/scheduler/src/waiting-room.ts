/**
 * The groups that wait, and what each waits for.
 *
 * A group that found no node is asked again only when something may have changed its answer:
 *
 * - a node that was told anew, or where a task ended, and that its filters now let in;
 * - a task of a service (or with a volume) that one of its filters watches;
 * - any change, if it has a filter that promises nothing.
 */
import type { Ask } from "./ask.ts";
import { Heap } from "./heap.ts";
import type { Node } from "./state/node.ts";
import type { TaskState } from "./types.ts";

/** Pending tasks of one service and version. */
export interface Group {
  readonly key: string;
  readonly serviceId: string;
  readonly specVersion: number;
  readonly priority: number;
  readonly tasks: Map<string, TaskState>;
  /** Those of them that were not told yet that they wait; undefined while that is all. */
  untold: Map<string, TaskState> | undefined;
  /** What the others were told; undefined if not all the same. */
  text: string | undefined;
  ask: Ask | undefined;
}

/** Beyond so many changed nodes, to ask each waiting group again is cheaper than to look at each node for it. */
const fewNodes = 4;

export class WaitingRoom {
  readonly #groups = new Map<string, Group>();
  readonly #due = new Set<Group>();
  /** Those that are due, and some that no longer are. */
  readonly #queue = new Heap<Group>([], compareGroups);
  readonly #waiting = new Set<Group>();
  /** Waiting groups by the text of what their filters share. */
  readonly #alike = new Map<string, Set<Group>>();
  readonly #byPriority = new Map<number, Set<Group>>();
  readonly #watchers = new Map<string, Set<Group>>();
  /** Waiting groups whose filters look beyond a node, and those that any change may wake. */
  readonly #worldly = new Set<Group>();
  readonly #restless = new Set<Group>();
  /** Nodes that may let in more than before. */
  readonly #roomier = new Set<Node>();
  #stirred = false;

  /** Groups that wait. */
  get waiting(): ReadonlySet<Group> {
    return this.#waiting;
  }

  group(task: TaskState): Group | undefined {
    return this.#groups.get(groupKey(task));
  }

  add(task: TaskState): void {
    const key = groupKey(task);
    let group = this.#groups.get(key);
    if (group === undefined) {
      const { serviceId, specVersion, priority = 0 } = task;
      group = {
        key,
        serviceId,
        specVersion,
        priority,
        tasks: new Map(),
        untold: undefined,
        text: undefined,
        ask: undefined,
      };
      this.#groups.set(key, group);
    }
    group.tasks.set(task.id, task);
    group.untold?.set(task.id, task);
    this.#call(group);
  }

  remove(task: TaskState): void {
    const group = this.group(task);
    if (group === undefined) return;
    group.tasks.delete(task.id);
    group.untold?.delete(task.id);
    if (group.tasks.size > 0) return;
    this.#groups.delete(group.key);
    this.#due.delete(group);
    this.#leave(group);
  }

  /** The group found no node for those it still holds. */
  wait(group: Group, ask: Ask): void {
    this.#leave(group);
    group.ask = ask;
    this.#waiting.add(group);
    enter(this.#alike, ask.sharedKey, group);
    enter(this.#byPriority, group.priority, group);
    if (ask.worldly) this.#worldly.add(group);
    for (const { filter } of ask.checks) {
      if (filter.reads !== undefined) continue;
      const keys = filter.watches?.(ask.task);
      if (keys === undefined) this.#restless.add(group);
      for (const key of keys ?? []) enter(this.#watchers, key, group);
    }
  }

  /** A node may let in more than before. */
  roomier(node: Node): void {
    this.#roomier.add(node);
    this.#stirred = true;
  }

  /** A node came, went or was told anew; `beyond` if that may change what holds for other nodes. */
  nodesChanged(beyond: boolean): void {
    this.#stirred = true;
    if (beyond) for (const group of this.#worldly) this.#call(group);
    for (const group of this.#restless) this.#call(group);
  }

  /** A task came to hold a node, or left it. */
  taskMoved({ serviceId, localVolumes, affinity }: TaskState): void {
    this.#stirred = true;
    if (this.#waiting.size === 0) return;
    this.#wake(`service:${serviceId}`);
    for (const name of localVolumes ?? []) this.#wake(`volume:${name}`);
    for (const { kind, service } of affinity ?? []) if (kind === "anti-affinity") this.#wake(`repelled:${service}`);
    for (const group of this.#restless) this.#call(group);
  }

  /**
   * The first of the groups to ask now; it is not due any more. A placement may make others due that come before those
   * that were due already: so which are asked does not depend on who was asked in vain.
   *
   * @param lowestHeld the lowest priority that a held task has
   */
  next(lowestHeld: () => number): Group | undefined {
    if (this.#roomier.size > 0) this.#lookAtNodes(lowestHeld());
    for (;;) {
      const group = this.#queue.pop();
      if (group === undefined || this.#due.delete(group)) return group;
    }
  }

  /** Whether anything changed since it was last asked that waiting tasks might like to know. */
  takeStirred(): boolean {
    const stirred = this.#stirred;
    this.#stirred = false;
    return stirred;
  }

  #lookAtNodes(lowestHeld: number): void {
    const nodes = [...this.#roomier].filter((node) => node.known);
    this.#roomier.clear();
    if (nodes.length === 0) return;
    if (nodes.length > fewNodes) {
      for (const group of this.#waiting) this.#call(group);
      return;
    }
    for (const [priority, groups] of this.#byPriority) {
      // A node may also hold somebody to displace.
      if (priority > lowestHeld) for (const group of groups) this.#call(group);
    }
    for (const groups of this.#alike.values()) {
      const shared = groups.values().next().value?.ask?.shared;
      if (shared === undefined) continue;
      // What they share is asked once for all of them.
      let open: Node[] | undefined;
      for (const node of nodes) if (shared.every(({ test }) => test(node))) (open ??= []).push(node);
      if (open === undefined) continue;
      for (const group of groups) {
        if (open.some((node) => group.ask?.unshared.every(({ test }) => test(node)))) this.#call(group);
      }
    }
  }

  #call(group: Group): void {
    if (this.#due.has(group)) return;
    this.#due.add(group);
    this.#queue.push(group);
  }

  #wake(key: string): void {
    for (const group of this.#watchers.get(key) ?? []) this.#call(group);
  }

  #leave(group: Group): void {
    if (!this.#waiting.delete(group)) return;
    leave(this.#alike, group.ask?.sharedKey ?? "", group);
    leave(this.#byPriority, group.priority, group);
    this.#worldly.delete(group);
    this.#restless.delete(group);
    for (const { filter } of group.ask?.checks ?? []) {
      for (const key of filter.watches?.((group.ask as Ask).task) ?? []) {
        leave(this.#watchers, key, group);
      }
    }
  }
}

function groupKey({ serviceId, specVersion }: TaskState): string {
  return `${specVersion}/${serviceId}`;
}

/** Higher priority first, then by service and version. */
export function compareGroups(a: Group, b: Group): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.serviceId !== b.serviceId) return a.serviceId < b.serviceId ? -1 : 1;
  return a.specVersion - b.specVersion;
}

function enter<K>(index: Map<K, Set<Group>>, key: K, group: Group): void {
  const groups = index.get(key);
  if (groups === undefined) index.set(key, new Set([group]));
  else groups.add(group);
}

function leave<K>(index: Map<K, Set<Group>>, key: K, group: Group): void {
  const groups = index.get(key);
  groups?.delete(group);
  if (groups?.size === 0) index.delete(key);
}
