import { type Requirements, compileRequirements, type Rules } from "./requirements.ts";
import { SchedulerError } from "./errors.ts";
import { Explainer, type Explanation } from "./explanation.ts";
import { defaultFilters } from "./filters/index.ts";
import { type Choice, Picker } from "./picker.ts";
import { type Eviction, findVictims } from "./preemption.ts";
import { type Move, rebalance, type RebalanceOptions } from "./rebalance.ts";
import type { Filter, Scorer } from "./rules.ts";
import { defaultScorers, type Strategy } from "./scorers/index.ts";
import { packing } from "./scorers/load.ts";
import type { Node } from "./state/node.ts";
import { CandidateIndexes } from "./state/candidate-indexes.ts";
import { World } from "./state/world.ts";
import { listText, taskText } from "./text.ts";
import type { Decision, Delta, NodeState, Placed, TaskState, Victim, Waiting, WouldFitOptions } from "./types.ts";
import { validateGroup, validateNode, validateTask, validateTime } from "./validation.ts";
import { compareGroups, type Group, UnschedulableQueue } from "./unschedulable-queue.ts";
import { asLeaving, capacity, type Capacity, drain, type Drain, once, unplaced } from "./what-if.ts";

export interface SchedulerOptions {
  /** Orders nodes that are equal in all else; the same seed and state give the same placements. @default 0 */
  readonly seed?: number;
  /** `spread` evens out the service's own tasks, then load; `binpack` fills nodes up. @default "spread" */
  readonly strategy?: Strategy;
  /** @default defaultFilters */
  readonly filters?: readonly Filter[];
  /**
   * Exactly one must have an `order`: the built-in ones are `load` and `packing`.
   *
   * @default defaultScorers[strategy]
   * @throws SchedulerError `SCHEDULER_OPTIONS_INVALID`
   */
  readonly scorers?: readonly Scorer[];
}

/** Nodes that one `schedule()` reads, at most, to find reasons that have changed; `explain` returns one at any time. */
const reportReads = 4_096;

/** Places pending tasks by deltas: nothing is recomputed that did not change. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #rules: Rules;
  readonly #world: World;
  readonly #indexes: CandidateIndexes;
  readonly #explainer: Explainer;
  readonly #queue = new UnschedulableQueue();
  readonly #tasks = new Map<string, TaskState>();
  #isFork = false;
  /** Unschedulable groups whose last reason may be out of date. */
  readonly #stale = new Set<Group>();

  constructor(options: SchedulerOptions = {}) {
    this.#options = options;
    this.#rules = rulesOf(options);
    this.#world = new World(options.seed ?? 0);
    this.#indexes = new CandidateIndexes(this.#world, this.#rules.order);
    this.#explainer = new Explainer(this.#world, this.#indexes);
  }

  /**
   * Applies a change. An invalid change leaves the state as it was.
   *
   * @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`, `SCHEDULER_TASK_INVALID`, `SCHEDULER_NODE_INVALID`,
   *   `SCHEDULER_TIME_INVALID`
   */
  apply(delta: Delta): void {
    switch (delta.kind) {
      case "node":
        validateNode(delta.node);
        return this.#putNode(delta.node);
      case "node-gone": {
        const node = this.#world.node(delta.nodeId);
        if (node?.known !== true) return;
        const beyond = node.held > 0 || node.state.volumes !== undefined;
        this.#world.remove(delta.nodeId);
        return this.#queue.nodesChanged(beyond);
      }
      case "task":
        validateTask(delta.task);
        this.#checkGroup(delta.task);
        return this.#put(delta.task);
      case "task-gone":
        return this.#forget(delta.taskId);
      case "failure":
        validateTime(delta.at);
        return this.#world.fail(delta);
      case "time":
        validateTime(delta.now);
        return this.#world.failures.advance(delta.now);
    }
  }

  /**
   * Decides for every pending task whose decision may have changed. A task gets one decision that it waits, a further one
   * whenever the reason changes, and one when it is placed. In clusters of more than 4,096 nodes changed reasons are not
   * returned; elsewhere as many as a fixed effort allows (see `outdated`). A placed task holds its node from then on, and
   * its victims none, as if their deltas had been applied; a caller that fails to record a placement applies the pending
   * task, and the victims, again.
   *
   * Placements are returned in the order in which they were made, then the tasks that wait. Groups of higher priority come
   * first, then by service and version; tasks by id.
   */
  schedule(): Decision[] {
    const placed: Placed[] = [];
    const failed = new Map<Group, Requirements>();
    const unschedulable = new Set<string>();
    const lowestHeld = (): number => this.#world.lowestPriority();
    for (let group = this.#queue.next(lowestHeld); group !== undefined; group = this.#queue.next(lowestHeld)) {
      failed.delete(group);
      for (const decision of this.#scheduleGroup(group, unschedulable, failed)) placed.push(decision);
    }
    const waiting = this.#reportWaiting(failed);
    const groups = [...waiting.keys()].toSorted(compareGroups);
    return [...placed, ...groups.flatMap((group) => waiting.get(group) ?? [])];
  }

  /**
   * Groups of waiting tasks whose last reason may be out of date, since more changed than the effort of one call covers;
   * the next `schedule()` goes on with them. Always 0 in clusters of more than 4,096 nodes, where a reason is returned once.
   */
  get outdated(): number {
    return this.#stale.size;
  }

  /** Why a pending task waits now; undefined for a task that is unknown or placed. */
  explain(taskId: string): Waiting | undefined {
    const task = this.#tasks.get(taskId);
    if (task === undefined || task.nodeId !== undefined) return undefined;
    return { kind: "waiting", taskId, ...this.#explainer.explain(compileRequirements(task, this.#rules, this.#world)) };
  }

  /**
   * Where a task would be placed once some others are gone, or why it would wait even then; no task is displaced for it.
   * Changes nothing: to keep the place, apply the task with the decision's `nodeId` (and `named`).
   *
   * @throws SchedulerError as `apply`; `SCHEDULER_NODE_UNKNOWN`
   */
  wouldFit(task: TaskState, { onceGone = [], onceLeaving = [], nodeId }: WouldFitOptions = {}): Decision {
    const pending = unplaced(task);
    validateTask(pending);
    const only = nodeId === undefined ? undefined : this.#known(nodeId);
    const goneIds = new Set([task.id, ...onceGone]);
    const known = (ids: Iterable<string>): TaskState[] => [...ids].flatMap((id) => this.#tasks.get(id) ?? []);
    const leaving = known(new Set(onceLeaving).difference(goneIds));
    return once(this.#world, known(goneIds), () =>
      asLeaving(this.#world, leaving, () => {
        const requirements = compileRequirements(pending, this.#rules, this.#world);
        const choice = only === undefined ? this.#choose(requirements) : this.#chooseOnly(requirements, only);
        if (choice !== undefined) return placedOf(pending, choice);
        return { kind: "waiting", taskId: task.id, ...this.#explainer.explain(requirements, nodeId) };
      }),
    );
  }

  /** How many more tasks like this one fit, placed by all rules. Changes nothing. */
  capacity(task: TaskState): Capacity {
    const pending = unplaced(task);
    validateTask(pending);
    return capacity(this.#world, this.#rules, () => this.#fork(false), pending);
  }

  /**
   * Where the node's tasks would be placed if it were drained, and which would wait. Changes nothing.
   *
   * @throws SchedulerError `SCHEDULER_NODE_UNKNOWN`
   */
  drain(nodeId: string): Drain {
    return drain(this.#fork(true), this.#known(nodeId));
  }

  /**
   * Few moves that would even the cluster out; none for a gain too small to matter, and none with `binpack`. Changes
   * nothing.
   *
   * @throws SchedulerError `SCHEDULER_OPTIONS_INVALID`
   */
  rebalance(options: RebalanceOptions): Move[] {
    return this.#rules.orderScorer === packing ? [] : rebalance(this.#fork(false), this.#world, options);
  }

  #known(nodeId: string): Node {
    const node = this.#world.node(nodeId);
    if (node?.known === true) return node;
    throw new SchedulerError(
      { code: "SCHEDULER_NODE_UNKNOWN", nodeId },
      `node ${nodeId} is not known: name one that was applied`,
    );
  }

  #choose(requirements: Requirements): Choice | undefined {
    const picker = new Picker(this.#world, this.#indexes, this.#rules, requirements, 1);
    const choice = picker.next();
    picker.done();
    return choice;
  }

  #chooseOnly(requirements: Requirements, node: Node): Choice | undefined {
    if (!requirements.checks.every(({ test }) => test(node))) return undefined;
    return { node, decided: { by: "only" }, text: "the only node that was named" };
  }

  /** An independent scheduler with the same options and state. */
  #fork(withPending: boolean): Scheduler {
    const other = new Scheduler(this.#options);
    other.#isFork = true;
    for (const node of this.#world.known) other.apply({ kind: "node", node: node.state });
    for (const task of this.#tasks.values()) if (withPending || task.nodeId !== undefined) other.#put(task);
    other.#world.failures.copy(this.#world.failures, (id) => other.#world.node(id));
    return other;
  }

  #checkGroup(task: TaskState): void {
    // The fork's tasks are as the original has them.
    if (this.#isFork) return;
    const [first, second] = task.nodeId === undefined ? (this.#queue.group(task)?.tasks.values() ?? []) : [];
    const other = first?.id === task.id ? second : first;
    if (other !== undefined) validateGroup(task, other);
  }

  #putNode(state: NodeState): void {
    const before = this.#world.node(state.id);
    const old = before?.known === true ? before.state : undefined;
    // Answers for other nodes depend on where this one's volumes and tasks are.
    const moved = (before?.held ?? 0) > 0 && (old === undefined || domains(old) !== domains(state));
    const beyond = moved || JSON.stringify(old?.volumes ?? []) !== JSON.stringify(state.volumes ?? []);
    this.#queue.roomier(this.#world.put(state));
    this.#queue.nodesChanged(beyond);
  }

  #put(task: TaskState): void {
    const before = this.#tasks.get(task.id);
    if (before !== undefined && before.nodeId === task.nodeId && sameNeeds(before, task)) {
      if (task.nodeId === undefined) {
        this.#tasks.set(task.id, task);
        return this.#queue.add(task);
      }
      // The delta of a placement that the scheduler made itself: nothing is freed, so no group wakes.
      const { named = before.named } = task;
      const echoed = named === undefined ? task : { ...task, named };
      if (JSON.stringify(named) === JSON.stringify(before.named)) {
        this.#tasks.set(task.id, echoed);
        return this.#world.replace(task.nodeId, echoed);
      }
    }
    this.#forget(task.id);
    this.#tasks.set(task.id, task);
    if (task.nodeId === undefined) return this.#queue.add(task);
    this.#world.hold(task.nodeId, task);
    this.#queue.taskMoved(task);
  }

  #forget(taskId: string): void {
    const task = this.#tasks.get(taskId);
    if (task === undefined) return;
    this.#tasks.delete(taskId);
    if (task.nodeId === undefined) return this.#queue.remove(task);
    this.#queue.roomier(this.#world.release(task.nodeId, task));
    this.#queue.taskMoved(task);
  }

  #scheduleGroup(group: Group, unschedulable: Set<string>, failed: Map<Group, Requirements>): readonly Placed[] {
    const [any] = group.tasks.values();
    if (any === undefined) return [];
    const decisions: Placed[] = [];
    let requirements = compileRequirements(any, this.#rules, this.#world);
    let picker: Picker | undefined;
    // The tasks are sorted only once one of them can be placed.
    let ordered: Iterator<TaskState> | undefined;
    const next = (): TaskState => {
      ordered ??= [...group.tasks.values()].toSorted(byId).values();
      return ordered.next().value as TaskState;
    };
    while (group.tasks.size > 0 && (requirements.group === undefined || !unschedulable.has(requirements.group))) {
      picker ??= new Picker(this.#world, this.#indexes, this.#rules, requirements, group.tasks.size);
      const choice = picker.next();
      if (choice !== undefined) {
        decisions.push(this.#place(next(), choice));
        picker.took(choice.node);
        continue;
      }
      picker.done();
      const eviction = findVictims(this.#world, requirements);
      if (eviction === undefined) {
        if (requirements.group !== undefined) unschedulable.add(requirements.group);
        break;
      }
      // Room was made, so unschedulable groups may fit now, and the picker's candidates are out of date.
      unschedulable.clear();
      decisions.push(this.#displace(next(), eviction));
      requirements = compileRequirements(any, this.#rules, this.#world);
      picker = undefined;
    }
    picker?.done();
    if (group.tasks.size > 0) {
      this.#queue.wait(group, requirements);
      failed.set(group, requirements);
    }
    return decisions;
  }

  #place(task: TaskState, choice: Choice, victims: readonly TaskState[] = []): Placed {
    const decision = placedOf(task, choice, victims);
    const { nodeId, named } = decision;
    const held = named === undefined ? { ...task, nodeId } : { ...task, nodeId, named };
    this.#queue.remove(task);
    this.#tasks.set(task.id, held);
    this.#world.hold(nodeId, held);
    this.#queue.taskMoved(held);
    return decision;
  }

  #displace(task: TaskState, { node, victims }: Eviction): Placed {
    for (const victim of victims) this.#forget(victim.id);
    const names = listText(victims.map((each) => each.id));
    const text = `no node has room; displaces ${taskText(victims.length)} of lower priority, the lowest and fewest: ${names}`;
    return this.#place(task, { node, decided: { by: "preemption" }, text }, victims);
  }

  /** Reasons of new waiting tasks, and changed ones while the effort lasts; computed after all placements. */
  #reportWaiting(failed: ReadonlyMap<Group, Requirements>): Map<Group, Waiting[]> {
    const rereports = this.#queue.takeDirty() && this.#world.size <= reportReads;
    if (rereports) for (const group of this.#queue.waiting) this.#stale.add(group);
    const decisions = new Map<Group, Waiting[]>();
    for (const group of failed.keys()) {
      if ((group.unreported ?? group.tasks).size > 0) this.#report(group, decisions, this.#world.size <= reportReads);
      else if (rereports) this.#stale.add(group);
    }
    const enough = this.#explainer.reads + reportReads;
    for (const group of this.#stale) {
      if (this.#explainer.reads >= enough) break;
      this.#stale.delete(group);
      if (group.tasks.size > 0) this.#report(group, decisions, true);
    }
    return decisions;
  }

  /** Reports the reason for tasks that have none yet; with `again` for all of the group's, if the reason changed. */
  #report(group: Group, decisions: Map<Group, Waiting[]>, again: boolean): void {
    this.#stale.delete(group);
    const [any] = group.tasks.values();
    if (any === undefined) return;
    const explanation: Explanation = this.#explainer.explain(compileRequirements(any, this.#rules, this.#world));
    const text = reportOf(explanation);
    const isNew = text !== group.text;
    const all = again && isNew;
    const tasks = [...(all ? group.tasks : (group.unreported ?? group.tasks)).values()].toSorted(byId);
    const reportedAll = all || tasks.length === group.tasks.size;
    if (isNew) group.text = reportedAll ? text : undefined;
    group.unreported = new Map();
    if (tasks.length === 0) return;
    decisions.set(
      group,
      tasks.map(({ id }) => ({ kind: "waiting", taskId: id, ...explanation })),
    );
  }
}

function rulesOf({
  strategy = "spread",
  filters = defaultFilters,
  scorers = defaultScorers[strategy],
}: SchedulerOptions): Rules {
  const at = scorers.findIndex((each) => each.order !== undefined);
  const orderScorer = scorers[at];
  if (orderScorer?.order === undefined || scorers.findLastIndex((each) => each.order !== undefined) !== at) {
    throw new SchedulerError(
      { code: "SCHEDULER_OPTIONS_INVALID", option: "scorers" },
      "the scorers need exactly one order of nodes: include either load or packing",
    );
  }
  return { filters, lead: scorers.slice(0, at), orderScorer, order: orderScorer.order, tail: scorers.slice(at + 1) };
}

function placedOf(task: TaskState, { node, decided, text }: Choice, victims: readonly TaskState[] = []): Placed {
  const named = namesFor(task, node);
  return {
    kind: "placed",
    taskId: task.id,
    nodeId: node.state.id,
    serviceTasks: node.services.get(task.serviceId) ?? 0,
    nodeTasks: node.load,
    decided,
    ...(named === undefined ? {} : { named }),
    ...(victims.length === 0 ? {} : { victims: victims.map(victimOf) }),
    text,
  };
}

/** Names for the task's reservations of kinds whose units have names on this node. */
function namesFor(
  { reservations, named: before }: TaskState,
  node: Node,
): Record<string, readonly string[]> | undefined {
  const { named } = node.state;
  if (named === undefined || reservations === undefined) return before;
  let names: Record<string, readonly string[]> | undefined;
  for (const [kind, amount] of Object.entries(reservations)) {
    if (amount > 0 && Object.hasOwn(named, kind)) names = { ...names, [kind]: node.freeNames(kind, amount) };
  }
  return names;
}

function victimOf({ id, serviceId, priority = 0 }: TaskState): Victim {
  return { taskId: id, serviceId, priority };
}

/** All values of a node that a topology may name. */
function domains({ hostname, role, platform, labels, engineLabels }: NodeState): string {
  return JSON.stringify([hostname, role, platform, labels, engineLabels]);
}

function sameNeeds(a: TaskState, b: TaskState): boolean {
  const { nodeId: _a, named: _an, ...left } = a;
  const { nodeId: _b, named: _bn, ...right } = b;
  return JSON.stringify(left) === JSON.stringify(right);
}

/** The parts of an explanation that are reported; equal where nothing is to be reported again. */
function reportOf({ text, refusals }: Explanation): string {
  return [text, ...refusals.flatMap(({ nearestNodeId, help = "" }) => [nearestNodeId, help])].join("\n");
}

function byId(a: TaskState, b: TaskState): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
