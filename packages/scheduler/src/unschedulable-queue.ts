/**
 * The unschedulable queue: groups that found no node, and what wakes each of them.
 *
 * A group is scheduled again only after a change that may have made it schedulable:
 *
 * - a node was applied, or lost a task, and the group's filters let that node in now;
 * - a task came or went that has one of the group's wake keys (`service:web`, `volume:data`, `repelled:web`);
 * - anything changed, if one of the group's filters promises nothing.
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
  /** Those of them for which no reason was returned yet; undefined while that is all. */
  unreported: Map<string, TaskState> | undefined;
  /** What was returned for the others; undefined if it differs among them. */
  text: string | undefined;
  ask: Ask | undefined;
}

/** With more changed nodes than this, waking every waiting group costs less than testing each node for each of them. */
const fewNodes = 4;

export class UnschedulableQueue {
  readonly #groups = new Map<string, Group>();
  readonly #due = new Set<Group>();
  /** Groups that are due, and some that no longer are. */
  readonly #dueInOrder = new Heap<Group>([], compareGroups);
  readonly #waiting = new Set<Group>();
  /** Waiting groups by the text of what their filters share. */
  readonly #alike = new Map<string, Set<Group>>();
  readonly #byPriority = new Map<number, Set<Group>>();
  readonly #byWakeKey = new Map<string, Set<Group>>();
  /** Waiting groups with a filter that reads more than one node. */
  readonly #worldly = new Set<Group>();
  /** Waiting groups that any change wakes. */
  readonly #wokenByAny = new Set<Group>();
  /** Nodes that may let in more than before. */
  readonly #roomier = new Set<Node>();
  /** Something changed since the reasons of waiting groups were last compared. */
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
        ask: undefined,
      };
      this.#groups.set(key, group);
    }
    group.tasks.set(task.id, task);
    group.unreported?.set(task.id, task);
    this.#call(group);
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

  /** Enters a group that found no node for the tasks it still has. */
  wait(group: Group, ask: Ask): void {
    this.#leave(group);
    group.ask = ask;
    this.#waiting.add(group);
    enter(this.#alike, ask.sharedKey, group);
    enter(this.#byPriority, group.priority, group);
    if (ask.worldly) this.#worldly.add(group);
    for (const { filter } of ask.checks) {
      if (filter.reads !== undefined) continue;
      const keys = filter.wakeKeys?.(ask.task);
      if (keys === undefined) this.#wokenByAny.add(group);
      for (const key of keys ?? []) enter(this.#byWakeKey, key, group);
    }
  }

  /** A node may let in more than before. */
  roomier(node: Node): void {
    this.#roomier.add(node);
    this.#dirty = true;
  }

  /** A node was applied or removed; `beyond` if that may change what holds for other nodes. */
  nodesChanged(beyond: boolean): void {
    this.#dirty = true;
    if (beyond) for (const group of this.#worldly) this.#call(group);
    for (const group of this.#wokenByAny) this.#call(group);
  }

  /** A task came to hold a node, or left it. */
  taskMoved({ serviceId, localVolumes, affinity }: TaskState): void {
    this.#dirty = true;
    if (this.#waiting.size === 0) return;
    this.#wake(`service:${serviceId}`);
    for (const name of localVolumes ?? []) this.#wake(`volume:${name}`);
    for (const { kind, service } of affinity ?? []) if (kind === "anti-affinity") this.#wake(`repelled:${service}`);
    for (const group of this.#wokenByAny) this.#call(group);
  }

  /**
   * Takes the first of the groups that are due. A placement may make others due that come before those
   * that were due already, so the order does not depend on which groups were tried in vain.
   *
   * @param lowestHeld the lowest priority that a held task has
   */
  next(lowestHeld: () => number): Group | undefined {
    if (this.#roomier.size > 0) this.#lookAtNodes(lowestHeld());
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

  #lookAtNodes(lowestHeld: number): void {
    const nodes = [...this.#roomier].filter((node) => node.known);
    this.#roomier.clear();
    if (nodes.length === 0) return;
    if (nodes.length > fewNodes) {
      for (const group of this.#waiting) this.#call(group);
      return;
    }
    for (const [priority, groups] of this.#byPriority) {
      // A node may also hold a task to displace.
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
    this.#dueInOrder.push(group);
  }

  #wake(key: string): void {
    for (const group of this.#byWakeKey.get(key) ?? []) this.#call(group);
  }

  #leave(group: Group): void {
    if (!this.#waiting.delete(group)) return;
    leave(this.#alike, group.ask?.sharedKey ?? "", group);
    leave(this.#byPriority, group.priority, group);
    this.#worldly.delete(group);
    this.#wokenByAny.delete(group);
    for (const { filter } of group.ask?.checks ?? []) {
      for (const key of filter.wakeKeys?.((group.ask as Ask).task) ?? []) {
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
