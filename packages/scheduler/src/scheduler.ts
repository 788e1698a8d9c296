import { parseConstraints } from "./constraints.ts";
import { SchedulerError } from "./errors.ts";
import { defaultFilters } from "./filters.ts";
import { Heap } from "./heap.ts";
import { type Node, Nodes, tieBreak } from "./nodes.ts";
import type { Decision, Delta, Filter, NodeView, Refusal, TaskState } from "./types.ts";

export interface SchedulerOptions {
  /** Orders nodes that are equal in all else; the same seed and state give the same placements. @default 0 */
  readonly seed?: number;
  /** @default defaultFilters */
  readonly filters?: readonly Filter[];
}

/** Groups up to this size look for each node from the least loaded on; larger ones sort the nodes that pass once. */
const smallGroup = 8;

/** Places pending tasks, spread: on the node with the fewest of the service's tasks, then with the fewest tasks. */
export class Scheduler {
  readonly #filters: readonly Filter[];
  readonly #nodes: Nodes;
  readonly #tasks = new Map<string, TaskState>();
  /** Pending tasks by group. */
  readonly #pending = new Map<string, Map<string, TaskState>>();
  /** Groups whose answer may have changed since they were last asked. */
  readonly #due = new Set<string>();

  constructor(options: SchedulerOptions = {}) {
    this.#filters = options.filters ?? defaultFilters;
    this.#nodes = new Nodes(options.seed ?? 0);
  }

  /**
   * Takes a change in. A change that can't be read leaves the state as it was.
   *
   * @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`, `SCHEDULER_TASK_INVALID`
   */
  apply(delta: Delta): void {
    switch (delta.kind) {
      case "node":
        this.#nodes.put(delta.node);
        return this.#askAllAgain();
      case "node-gone":
        return this.#nodes.remove(delta.nodeId);
      case "task":
        validate(delta.task);
        return this.#put(delta.task);
      case "task-gone":
        return this.#forget(delta.taskId);
    }
  }

  /**
   * Decides for every pending task whose answer may have changed. A placed task holds its node from here on, as if
   * its delta had come; a caller that fails to record a placement applies the pending task again.
   */
  schedule(): Decision[] {
    const groups = [...this.#due].map((key) => [...(this.#pending.get(key)?.values() ?? [])].toSorted(byId));
    this.#due.clear();
    return groups.toSorted(byGroup).flatMap((tasks) => this.#scheduleGroup(tasks));
  }

  #put(task: TaskState): void {
    const before = this.#tasks.get(task.id);
    // The usual echo of a placement: nothing is freed, so nothing is asked again.
    if (before !== undefined && before.nodeId === task.nodeId && sameNeeds(before, task)) {
      this.#tasks.set(task.id, task);
      if (task.nodeId === undefined) this.#pend(task);
      return;
    }
    this.#forget(task.id);
    this.#tasks.set(task.id, task);
    if (task.nodeId === undefined) this.#pend(task);
    else this.#nodes.hold(task.nodeId, task);
  }

  #pend(task: TaskState): void {
    const key = groupOf(task);
    const group = this.#pending.get(key) ?? new Map<string, TaskState>();
    this.#pending.set(key, group.set(task.id, task));
    this.#due.add(key);
  }

  #forget(taskId: string): void {
    const task = this.#tasks.get(taskId);
    if (task === undefined) return;
    this.#tasks.delete(taskId);
    if (task.nodeId === undefined) return this.#unpend(task);
    this.#nodes.release(task.nodeId, task);
    this.#askAllAgain();
  }

  #unpend(task: TaskState): void {
    const key = groupOf(task);
    const group = this.#pending.get(key);
    group?.delete(task.id);
    if (group?.size === 0) this.#pending.delete(key);
  }

  #askAllAgain(): void {
    for (const key of this.#pending.keys()) this.#due.add(key);
  }

  #scheduleGroup(tasks: readonly TaskState[]): Decision[] {
    const [first] = tasks;
    if (first === undefined) return [];
    const { serviceId } = first;
    const checks = this.#filters.map((filter) => filter.check(first)).filter((check) => check !== undefined);
    const passes = (node: NodeView): boolean => checks.every((check) => check(node));
    const own = (node: Node): number => node.services.get(serviceId) ?? 0;
    const rank = (a: Node, b: Node): number => own(a) - own(b) || a.load - b.load || tieBreak(a, b);
    let heap: Heap<Node> | undefined;

    const next = (): Node | undefined => {
      if (heap === undefined && tasks.length <= smallGroup) {
        for (const node of this.#nodes.inOrder()) if (own(node) === 0 && passes(node)) return node;
      }
      heap ??= new Heap([...this.#nodes.inOrder()].filter(passes), rank);
      return heap.pop();
    };

    const decisions: Decision[] = [];
    for (const [index, task] of tasks.entries()) {
      const node = next();
      if (node === undefined) return [...decisions, ...this.#wait(tasks.slice(index))];
      decisions.push(placed(task, node, own(node)));
      this.#place(task, node);
      if (heap !== undefined && passes(node)) heap.push(node);
    }
    return decisions;
  }

  #place(task: TaskState, node: Node): void {
    this.#unpend(task);
    const held = { ...task, nodeId: node.state.id };
    this.#tasks.set(task.id, held);
    this.#nodes.hold(held.nodeId, held);
  }

  /** Tasks of a group ask for the same, so one reading of the nodes answers for all. */
  #wait(tasks: readonly TaskState[]): Decision[] {
    const [first] = tasks;
    if (first === undefined) return [];
    const refusals = this.#refusals(first);
    const nodes = this.#nodes.size;
    const text =
      nodes === 0
        ? "there are no nodes"
        : refusals.map((each) => `${each.nodes} of ${nodes} ${nodes === 1 ? "node" : "nodes"} ${each.text}`).join("; ");
    return tasks.map((task) => ({ kind: "waiting", taskId: task.id, nodes, refusals, text }));
  }

  #refusals(task: TaskState): Refusal[] {
    const checks = this.#filters.map((filter) => ({ filter, check: filter.check(task) }));
    const found = new Map<Filter, { nodes: number; nearest: Node; distance: number }>();
    for (const node of this.#nodes.inOrder()) {
      const filter = checks.find(({ check }) => check?.(node) === false)?.filter;
      if (filter === undefined) continue;
      const distance = filter.distance?.(task, node) ?? 0;
      const entry = found.get(filter);
      if (entry === undefined) {
        found.set(filter, { nodes: 1, nearest: node, distance });
        continue;
      }
      entry.nodes += 1;
      if (distance > entry.distance || (distance === entry.distance && node.state.id > entry.nearest.state.id))
        continue;
      entry.nearest = node;
      entry.distance = distance;
    }
    return [...found]
      .map(([filter, { nodes, nearest }]) => ({
        filter: filter.name,
        nodes,
        nearestNodeId: nearest.state.id,
        text: filter.explain(task, nearest),
      }))
      .toSorted((a, b) => b.nodes - a.nodes || (a.filter < b.filter ? -1 : 1));
  }
}

function placed(task: TaskState, node: Node, serviceTasks: number): Decision {
  const nodeTasks = node.load;
  const text = `fewest tasks of its service (${serviceTasks}), then fewest tasks (${nodeTasks}), of the nodes that pass`;
  return { kind: "placed", taskId: task.id, nodeId: node.state.id, serviceTasks, nodeTasks, text };
}

function validate(task: TaskState): void {
  parseConstraints(task.constraints ?? []);
  for (const [kind, amount] of Object.entries(task.reservations ?? {})) {
    if (Number.isSafeInteger(amount) && amount >= 0) continue;
    throw new SchedulerError(
      { code: "SCHEDULER_TASK_INVALID", taskId: task.id },
      `task ${task.id} reserves ${amount} of ${kind}: give a whole number, 0 or more, in its smallest unit`,
    );
  }
}

function groupOf(task: TaskState): string {
  return JSON.stringify([task.serviceId, task.specVersion]);
}

function sameNeeds(a: TaskState, b: TaskState): boolean {
  const { nodeId: _a, ...left } = a;
  const { nodeId: _b, ...right } = b;
  return JSON.stringify(left) === JSON.stringify(right);
}

function byId(a: TaskState, b: TaskState): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

function byGroup([a]: readonly TaskState[], [b]: readonly TaskState[]): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  if (a.serviceId !== b.serviceId) return a.serviceId < b.serviceId ? -1 : 1;
  return a.specVersion - b.specVersion;
}
