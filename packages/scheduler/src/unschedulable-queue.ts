/**
 * The unschedulable queue: groups that found no node, and the changes that wake each of them.
 *
 * A group is scheduled again only after a change that may have made it schedulable:
 *
 * - a node was applied, or lost a task, and passes the group's filters now;
 * - a task came or went that has one of the group's wake keys (`service:web`, `volume:data`, `repelled:web`);
 * - anything changed, if one of the group's filters makes no promise (`reads`, `wakeKeys`).
 */
import type { Requirements } from "./requirements.ts";
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
  /** Tasks for which no reason was returned yet; undefined while that is all of them. */
  unreported: Map<string, TaskState> | undefined;
  /** The reason that was returned for the others; undefined if it differs among them. */
  text: string | undefined;
  requirements: Requirements | undefined;
}

/** With more changed nodes than this, waking every waiting group costs less than testing each node for each of them. */
const fewNodes = 4;

export class UnschedulableQueue {
  readonly #groups = new Map<string, Group>();
  readonly #due = new Set<Group>();
  /** A heap of the groups that are due; some entries are out of date. */
  readonly #dueInOrder = new Heap<Group>([], compareGroups);
  readonly #waiting = new Set<Group>();
  /** Waiting groups by the keys of their shared requirements. */
  readonly #bySharedKey = new Map<string, Set<Group>>();
  readonly #byPriority = new Map<number, Set<Group>>();
  readonly #byWakeKey = new Map<string, Set<Group>>();
  /** Waiting groups with a filter that reads more than one node. */
  readonly #readsOtherNodes = new Set<Group>();
  /** Waiting groups that every change wakes. */
  readonly #wokenByAny = new Set<Group>();
  /** Nodes that may pass for more tasks than before. */
  readonly #changedNodes = new Set<Node>();
  /** Whether anything changed since the reasons of waiting groups were last compared. */
  #dirty = false;

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
        unreported: undefined,
        text: undefined,
        requirements: undefined,
      };
      this.#groups.set(key, group);
    }
    group.tasks.set(task.id, task);
    group.unreported?.set(task.id, task);
    this.#makeDue(group);
  }

  remove(task: TaskState): void {
    const group = this.group(task);
    if (group === undefined) return;
    group.tasks.delete(task.id);
    group.unreported?.delete(task.id);
    if (group.tasks.size > 0) return;
    this.#groups.delete(group.key);
    this.#due.delete(group);
    this.#leave(group);
  }

  /** Adds a group that found no node for the rest of its tasks. */
  wait(group: Group, requirements: Requirements): void {
    this.#leave(group);
    group.requirements = requirements;
    this.#waiting.add(group);
    enter(this.#bySharedKey, requirements.sharedKey, group);
    enter(this.#byPriority, group.priority, group);
    if (requirements.readsOtherNodes) this.#readsOtherNodes.add(group);
    for (const { filter } of requirements.checks) {
      if (filter.reads !== undefined) continue;
      const keys = filter.wakeKeys?.(requirements.task);
      if (keys === undefined) this.#wokenByAny.add(group);
      for (const key of keys ?? []) enter(this.#byWakeKey, key, group);
    }
  }

  /** A node may pass for more tasks than before. */
  roomier(node: Node): void {
    this.#changedNodes.add(node);
    this.#dirty = true;
  }

  /** A node was applied or removed; `beyond` if that may change the answers for other nodes. */
  nodesChanged(beyond: boolean): void {
    this.#dirty = true;
    if (beyond) for (const group of this.#readsOtherNodes) this.#makeDue(group);
    for (const group of this.#wokenByAny) this.#makeDue(group);
  }

  /** A task was placed on a node, or left it. */
  taskMoved({ serviceId, localVolumes, affinity }: TaskState): void {
    this.#dirty = true;
    if (this.#waiting.size === 0) return;
    this.#wake(`service:${serviceId}`);
    for (const name of localVolumes ?? []) this.#wake(`volume:${name}`);
    for (const { kind, service } of affinity ?? []) if (kind === "anti-affinity") this.#wake(`repelled:${service}`);
    for (const group of this.#wokenByAny) this.#makeDue(group);
  }

  /**
   * Removes and returns the first group that is due. A placement may make further groups due that come before others, so
   * the order of placements does not depend on which groups were tried without success.
   *
   * @param lowestHeld the lowest priority of a placed task
   */
  next(lowestHeld: () => number): Group | undefined {
    if (this.#changedNodes.size > 0) this.#wakeForNodes(lowestHeld());
    for (;;) {
      const group = this.#dueInOrder.pop();
      if (group === undefined || this.#due.delete(group)) return group;
    }
  }

  /** Whether anything changed since the last call. */
  takeDirty(): boolean {
    const dirty = this.#dirty;
    this.#dirty = false;
    return dirty;
  }

  #wakeForNodes(lowestHeld: number): void {
    const nodes = [...this.#changedNodes].filter((node) => node.known);
    this.#changedNodes.clear();
    if (nodes.length === 0) return;
    if (nodes.length > fewNodes) {
      for (const group of this.#waiting) this.#makeDue(group);
      return;
    }
    for (const [priority, groups] of this.#byPriority) {
      // The node may also have a task to displace.
      if (priority > lowestHeld) for (const group of groups) this.#makeDue(group);
    }
    for (const groups of this.#bySharedKey.values()) {
      const shared = groups.values().next().value?.requirements?.shared;
      if (shared === undefined) continue;
      // Their shared requirements are tested once for all of them.
      let open: Node[] | undefined;
      for (const node of nodes) if (shared.every(({ test }) => test(node))) (open ??= []).push(node);
      if (open === undefined) continue;
      for (const group of groups) {
        if (open.some((node) => group.requirements?.unshared.every(({ test }) => test(node)))) this.#makeDue(group);
      }
    }
  }

  #makeDue(group: Group): void {
    if (this.#due.has(group)) return;
    this.#due.add(group);
    this.#dueInOrder.push(group);
  }

  #wake(key: string): void {
    for (const group of this.#byWakeKey.get(key) ?? []) this.#makeDue(group);
  }

  #leave(group: Group): void {
    if (!this.#waiting.delete(group)) return;
    leave(this.#bySharedKey, group.requirements?.sharedKey ?? "", group);
    leave(this.#byPriority, group.priority, group);
    this.#readsOtherNodes.delete(group);
    this.#wokenByAny.delete(group);
    for (const { filter } of group.requirements?.checks ?? []) {
      for (const key of filter.wakeKeys?.((group.requirements as Requirements).task) ?? []) {
        leave(this.#byWakeKey, key, group);
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
