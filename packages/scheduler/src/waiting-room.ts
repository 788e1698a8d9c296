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
import type { Node } from "./state/node.ts";
import type { TaskState } from "./types.ts";

/** Pending tasks of one service and version. */
export interface Group {
  readonly key: string;
  readonly serviceId: string;
  readonly specVersion: number;
  readonly priority: number;
  readonly tasks: Map<string, TaskState>;
  /** Tasks that were told that they wait. */
  readonly told: Set<string>;
  /** What they were told. */
  text: string | undefined;
  ask: Ask | undefined;
}

/** Beyond so many changed nodes, to ask each waiting group again is cheaper than to look at each node for it. */
const fewNodes = 4;

export class WaitingRoom {
  readonly #groups = new Map<string, Group>();
  readonly #due = new Set<Group>();
  readonly #waiting = new Set<Group>();
  readonly #watchers = new Map<string, Set<Group>>();
  /** Waiting groups whose filters look beyond a node, and those that any change may wake. */
  readonly #worldly = new Set<Group>();
  readonly #restless = new Set<Group>();
  /** Nodes that may let in more than before. */
  readonly #roomier = new Set<Node>();
  #stirred = false;

  /** Groups that wait, in order. */
  waiting(): Group[] {
    return [...this.#waiting].toSorted(compareGroups);
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
        told: new Set(),
        text: undefined,
        ask: undefined,
      };
      this.#groups.set(key, group);
    }
    group.tasks.set(task.id, task);
    group.told.delete(task.id);
    this.#due.add(group);
  }

  remove(task: TaskState): void {
    const group = this.group(task);
    if (group === undefined) return;
    group.tasks.delete(task.id);
    group.told.delete(task.id);
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
    if (ask.worldly) this.#worldly.add(group);
    for (const { filter } of ask.checks) {
      if (filter.reads !== undefined) continue;
      const keys = filter.watches?.(ask.task);
      if (keys === undefined) this.#restless.add(group);
      for (const key of keys ?? []) this.#watchers.set(key, (this.#watchers.get(key) ?? new Set()).add(group));
    }
  }

  /** A node may let in more than before. */
  roomier(node: Node): void {
    this.#roomier.add(node);
    this.#stirred = true;
  }

  /** A node came, went or was told anew: what looks beyond one node may see something else. */
  nodesChanged(): void {
    this.#stirred = true;
    for (const group of this.#worldly) this.#due.add(group);
  }

  /** A task came to hold a node, or left it. */
  taskMoved({ serviceId, localVolumes, affinity }: TaskState): void {
    if (this.#waiting.size === 0) return;
    this.#wake(`service:${serviceId}`);
    for (const name of localVolumes ?? []) this.#wake(`volume:${name}`);
    for (const { kind, service } of affinity ?? []) if (kind === "anti-affinity") this.#wake(`repelled:${service}`);
    for (const group of this.#restless) this.#due.add(group);
  }

  /** Groups to ask now, first to last; they are not due any more. */
  takeDue(): Group[] {
    this.#lookAtNodes();
    const due = [...this.#due].toSorted(compareGroups);
    this.#due.clear();
    return due;
  }

  /** Whether anything changed since it was last asked that waiting tasks might like to know. */
  takeStirred(): boolean {
    const stirred = this.#stirred;
    this.#stirred = false;
    return stirred;
  }

  #lookAtNodes(): void {
    const nodes = [...this.#roomier].filter((node) => node.known);
    this.#roomier.clear();
    if (nodes.length === 0) return;
    const answers = new Map<string, boolean>();
    for (const group of this.#waiting) {
      if (this.#due.has(group)) continue;
      const { ask } = group;
      let answer = ask?.group === undefined ? undefined : answers.get(ask.group);
      answer ??=
        nodes.length > fewNodes ||
        ask === undefined ||
        group.priority > 0 ||
        nodes.some((node) => ask.checks.every(({ test }) => test(node)));
      if (ask?.group !== undefined) answers.set(ask.group, answer);
      if (answer) this.#due.add(group);
    }
  }

  #wake(key: string): void {
    for (const group of this.#watchers.get(key) ?? []) this.#due.add(group);
  }

  #leave(group: Group): void {
    if (!this.#waiting.delete(group)) return;
    this.#worldly.delete(group);
    this.#restless.delete(group);
    for (const { filter } of group.ask?.checks ?? []) {
      for (const key of filter.watches?.((group.ask as Ask).task) ?? []) {
        const watchers = this.#watchers.get(key);
        watchers?.delete(group);
        if (watchers?.size === 0) this.#watchers.delete(key);
      }
    }
  }
}

export function groupKey({ serviceId, specVersion }: TaskState): string {
  return `${specVersion}/${serviceId}`;
}

/** Higher priority first, then by service and version. */
export function compareGroups(a: Group, b: Group): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.serviceId !== b.serviceId) return a.serviceId < b.serviceId ? -1 : 1;
  return a.specVersion - b.specVersion;
}
