/**
 * `warren why`: what is known of a service or a task, as reasons in the order of time, each with what would help.
 *
 * Pure over one view: the same state gives the same answer.
 */
import {
  LeaseState,
  NodeStatus_State,
  ObjectKind,
  TaskState,
  UpdateStatus_State,
  type ExplainResponse,
  type Lease,
  type Node,
  type NodeCondition,
  type Reason,
  type Service,
  type Slot,
  type Task,
  type UpdateStatus,
} from "@warren/api";
import {
  compareSlotKeys,
  compareTasks,
  currentLease,
  hasEnded,
  isRunning,
  isStanding,
  mayRun,
  newestTask,
  recordOf,
  stateOf,
  taskStateText,
} from "@warren/api/model";
import type { View } from "@warren/store";
import { idOf, nodeName, serviceName, taskName } from "./access.ts";
import { endRemedy, noRemedy, tryAgain, waitingRemedy, type Remedy } from "./remedies.ts";
import { currentUpdate, replicasOf, summarize } from "./summary.ts";
import { endText, isWanted, isNodeDown, leaseOf, serves, waitingText, waitsForNode } from "./task-reading.ts";

/** Reasons of one answer; the newest are kept. */
const mostReasons = 100;
/** Ended tasks of one slot that are in it. */
const historyPerSlot = 3;

/** What `explanationOf` completes. */
export interface Found {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly name: string;
  readonly summary: string;
  readonly reasons: readonly Reason[];
  /** @default none */
  readonly logTaskId?: string;
}

export function explainService(view: View, service: Service): ExplainResponse {
  const tasks = Map.groupBy(view.find("tasks", "service", idOf(service)), ({ slotId }) => slotId);
  const slots = view.find("slots", "service", idOf(service)).toSorted((a, b) => compareSlotKeys(a.key, b.key));
  const nodes = new Set([...tasks.values()].flat().map(({ nodeId }) => nodeId));
  const reasons = [...ofService(service, slots), ...ofNodes(view, idOf(service), nodes)];
  let failed: Task | undefined;
  for (const slot of slots) {
    const history = tasks.get(idOf(slot)) ?? [];
    const newest = newestTask(history);
    const isMoving = slot.wanted && newest !== undefined && waitsForNode(newest);
    if (isMoving || !history.some((task) => serves(view, task)) || history.some(endedBadly))
      reasons.push(...ofSlot(view, slot, history));
    const last = lastFailure(history);
    if (last !== undefined && isLater(last, failed)) failed = last;
  }
  return explanationOf({
    kind: ObjectKind.SERVICE,
    id: idOf(service),
    name: serviceName(service),
    summary: serviceSummary(view, service),
    reasons,
    ...(failed !== undefined && { logTaskId: idOf(failed) }),
  });
}

export function explanationOf({ reasons, logTaskId = "", ...found }: Found): ExplainResponse {
  return { ...found, reasons: inOrder(reasons), logTaskId };
}

/** Of a slot in which nothing runs, the run that ended last, if that ended badly: its last lines may say why. */
function lastFailure(history: readonly Task[]): Task | undefined {
  if (history.some(isRunning)) return undefined;
  const last = newestTask(history.filter(hasEnded));
  return last !== undefined && stateOf(last) === TaskState.FAILED ? last : undefined;
}

function isLater({ status }: Task, other: Task | undefined): boolean {
  return (status?.at?.getTime() ?? 0) > (other?.status?.at?.getTime() ?? -1);
}

export function explainTask(view: View, task: Task): ExplainResponse {
  const history = view.find("tasks", "slot", task.slotId).filter((each) => compareTasks(each, task) <= 0);
  const node = nodeOf(view, task);
  const where = node === undefined ? "" : ` on ${nodeName(node)}`;
  const failed = lastFailure(history);
  return explanationOf({
    kind: ObjectKind.TASK,
    id: idOf(task),
    name: taskName(task),
    summary: `task ${taskName(task)} ${taskText(view, task, where)}`,
    reasons: [
      ...ofSlot(view, view.get("slots", task.slotId), history),
      ...ofNodes(view, task.serviceId, new Set([task.nodeId])),
    ],
    ...(failed !== undefined && { logTaskId: idOf(failed) }),
  });
}

function taskText(view: View, task: Task, where: string): string {
  if (hasEnded(task)) return `${endText(task)}${where}`;
  if (!isWanted(view, task)) return `is ${taskStateText(stateOf(task))}${where} and told to stop`;
  if (isRunning(task) && isNodeDown(nodeOf(view, task))) return `ran${where}, which is down`;
  return isRunning(task) ? `runs${where}` : `waits: ${waitingText(task, nodeOf(view, task))}`;
}

function serviceSummary(view: View, service: Service): string {
  const { desired, running, updated, waiting, completed } = summarize(view, service);
  const name = `service ${serviceName(service)}`;
  const blocked = service.updateStatus?.blocked ?? "";
  const update = blocked === "" ? "" : `; its update waits: ${blocked}`;
  if (desired === 0) return `${name} is scaled to zero`;
  // First what keeps it as it is, though nothing may be missing.
  if (isHalted(service)) {
    const halted = `${name} runs ${running} of ${desired}, ${updated} of them as asked for: its update is paused`;
    return waiting === "" ? halted : `${halted}; ${waiting}`;
  }
  if (completed >= desired)
    return `${name} has completed: ${completed} of ${desired} task${desired === 1 ? "" : "s"} ended with code 0`;
  if (waiting === "" && updated < running) {
    const why = update === "" ? ": its update is under way" : update;
    return `${name} runs ${running} of ${desired}, ${updated} of them as asked for${why}`;
  }
  if (waiting === "") return `${name} runs as asked for: ${running} of ${desired}${update || moveText(view, service)}`;
  return `${name} runs ${running} of ${desired}; ${waiting}${update}`;
}

/** Of the first slot whose task runs where it should not stay, and has no other place; empty where there is none. */
function moveText(view: View, service: Service): string {
  const newest = view
    .find("slots", "service", idOf(service))
    .filter(({ wanted }) => wanted)
    .toSorted((a, b) => compareSlotKeys(a.key, b.key))
    .map((slot) => newestTask(view.find("tasks", "slot", idOf(slot))))
    .find((task) => task !== undefined && waitsForNode(task));
  return newest === undefined ? "" : `; ${taskName(newest)} is to move, but ${waitingText(newest, undefined)}`;
}

function isHalted(service: Service): boolean {
  const state = currentUpdate(service)?.state;
  return state === UpdateStatus_State.PAUSED || state === UpdateStatus_State.ROLLBACK_PAUSED;
}

function inOrder(reasons: readonly Reason[]): Reason[] {
  const time = ({ at }: Reason): number => at?.getTime() ?? Number.POSITIVE_INFINITY;
  return reasons.toSorted((a, b) => (time(a) === time(b) ? 0 : time(a) < time(b) ? -1 : 1)).slice(-mostReasons);
}

function* ofService(service: Service, slots: readonly Slot[]): Iterable<Reason> {
  const { updateStatus: update, meta } = service;
  if (update !== undefined && update.versionId === service.versionId) {
    const text = updateText(update);
    const past = update.state === UpdateStatus_State.COMPLETED;
    const at = update.completedAt ?? update.startedAt;
    yield { ...reason(at, text, updateRemedy(update.state, serviceName(service))), past };
  }
  if (slots.length === 0 && replicasOf(service) > 0)
    yield reason(meta?.createdAt, "no task has been made yet", {
      text: "see whether the manager works",
      command: "warren cluster info",
    });
}

/**
 * What nodes say of themselves that concerns the service: by its id on any node, and of all their tasks on those that have
 * one of its.
 */
function* ofNodes(view: View, serviceId: string, withTasks: ReadonlySet<string>): Iterable<Reason> {
  for (const node of view.list("nodes")) {
    if (node.status?.state !== NodeStatus_State.READY) continue;
    for (const condition of node.description?.conditions ?? []) {
      const { serviceIds, everyTask, message } = condition;
      if (!serviceIds.includes(serviceId) && !(everyTask && withTasks.has(idOf(node)))) continue;
      yield ofCondition(condition, `on ${nodeName(node)}: ${message}`);
    }
  }
}

export function ofCondition({ since, remedy, command }: NodeCondition, text: string): Reason {
  return reason(since, text, { text: remedy === command ? "" : remedy, command });
}

/** One that concerns no single task. */
export function reason(at: Date | undefined, text: string, { text: remedy, command }: Remedy = noRemedy): Reason {
  return { at, taskId: "", slot: undefined, text, remedy, command, past: false };
}

function updateText({ state, message, cause }: UpdateStatus): string {
  const words: Readonly<Record<UpdateStatus_State, string>> = {
    [UpdateStatus_State.UNSPECIFIED]: "update",
    [UpdateStatus_State.UPDATING]: "an update is under way",
    [UpdateStatus_State.PAUSED]: "the update is paused",
    [UpdateStatus_State.COMPLETED]: "the update was completed",
    [UpdateStatus_State.ROLLING_BACK]: "a rollback is under way",
    [UpdateStatus_State.ROLLBACK_PAUSED]: "the rollback is paused",
    [UpdateStatus_State.ROLLED_BACK]: "the service was rolled back",
  };
  // A paused one's message says that it is, for those who read it alone.
  const why = message.replace(/^paused, /, "");
  const text = why === "" ? words[state] : `${words[state]}: ${why}`;
  // While it rolls back its message has the cause.
  return cause === "" || message.includes(cause) ? text : `${text}; it was rolled back since ${cause}`;
}

function updateRemedy(state: UpdateStatus_State, name: string): Remedy {
  if (state === UpdateStatus_State.PAUSED)
    return { text: "mend what failed and update again, or go back", command: `warren service rollback ${name}` };
  return state === UpdateStatus_State.ROLLBACK_PAUSED
    ? { text: "update to something that works", command: `warren service inspect ${name}` }
    : noRemedy;
}

/** What led to the present state of a slot: its last ends, and what it does now. */
function* ofSlot(view: View, slot: Slot | undefined, history: readonly Task[]): Iterable<Reason> {
  const ordered = history.toSorted(compareTasks);
  const newest = newestTask(ordered);
  const ended = ordered.filter((task) => hasEnded(task) && (endedBadly(task) || task === newest));
  const last = ended.at(-1);
  const runs = ordered.some(isRunning);
  for (const task of ended.slice(-historyPerSlot)) yield { ...ofEnd(view, slot, task), past: runs || task !== last };
  if (newest === undefined) return;
  if (slot !== undefined) yield* ofLeases(view, slot, newest);
  if (hasEnded(newest)) return;
  const node = nodeOf(view, newest);
  if (isRunning(newest) && !isNodeDown(node)) {
    yield about(newest, `runs${node === undefined ? "" : ` on ${nodeName(node)}`}`);
    return;
  }
  if (node === undefined || !isNodeDown(node)) {
    yield about(newest, `waits: ${waitingText(newest, node)}`, waitingRemedy(view, newest, node));
    return;
  }
  const before = isRunning(newest) ? "it ran when last heard of" : `it was ${taskStateText(stateOf(newest))}`;
  const remedy = {
    text: "bring the node back, or wait: the task is replaced elsewhere",
    command: `warren why ${nodeName(node)}`,
  };
  yield { ...about(newest, `${waitingText(newest, node)}; ${before}`, remedy), at: node.status?.at };
}

/** What the slot's leases wait for, beyond what its newest task says. */
function* ofLeases(view: View, slot: Slot, newest: Task): Iterable<Reason> {
  if (slot.retryAt !== undefined) {
    const text = `is tried again at ${slot.retryAt.toISOString()}: back-off after what happened before`;
    yield { ...about(newest, text), at: slot.retryAt };
  }
  const lease = leaseOf(view, newest);
  const waitMs = recordOf(lease)?.waitMs ?? 0;
  if (hasEnded(newest) && lease?.state === LeaseState.HELD && waitMs > 0 && slot.settled === "")
    yield about(newest, `its node starts it again by itself, after a wait of ${Math.ceil(waitMs / 1_000)} s`);
  if (lease === undefined || !isStanding(lease) || isRunning(newest)) return;
  if (lease.cause !== "" && currentLease(slot) !== lease && currentLease(slot) !== undefined)
    yield {
      ...about(newest, `is to take the place of the task before it: ${lease.cause}`),
      at: newest.meta?.createdAt,
    };
  // L2: on one node the worker waits by itself.
  if (lease.state !== LeaseState.OFFERED && lease.after === undefined) return;
  for (const before of slot.leases) {
    if (before === lease || !mayRun(before) || before.state !== LeaseState.RELEASING) continue;
    const text = `waits for ${leaseNode(view, before)} to say that the task before it is gone`;
    const command = `warren why ${leaseNode(view, before)}`;
    yield { ...about(newest, text, { text: "see why that node does not answer", command }), at: before.since };
  }
}

function leaseNode(view: View, { nodeId }: Lease): string {
  const node = view.get("nodes", nodeId);
  return node === undefined ? nodeId : nodeName(node);
}

function ofEnd(view: View, slot: Slot | undefined, task: Task): Reason {
  const node = nodeOf(view, task);
  const lease = leaseOf(view, task);
  const last = newestTask(view.find("tasks", "slot", task.slotId));
  const settled = lease !== undefined && last === task ? (slot?.settled ?? "") : "";
  const where = node === undefined ? "" : ` on ${nodeName(node)}`;
  const text = `${endText(task)}${where}${settled === "" ? "" : `; no further task follows: ${settled}`}`;
  const remedy = endRemedy(view, task);
  if (settled === "" || stateOf(task) === TaskState.COMPLETE) return about(task, text, remedy);
  const again = tryAgain(task);
  return about(task, text, { text: [remedy.text, again.text].filter(Boolean).join("; "), command: again.command });
}

function about(task: Task, text: string, { text: remedy, command }: Remedy = noRemedy): Reason {
  const at = task.status?.at ?? task.meta?.updatedAt;
  return { at, taskId: idOf(task), slot: task.slot, text, remedy, command, past: false };
}

function nodeOf(view: View, task: Task): Node | undefined {
  return task.nodeId === "" ? undefined : view.get("nodes", task.nodeId);
}

function endedBadly(task: Task): boolean {
  const state = stateOf(task);
  return state === TaskState.FAILED || state === TaskState.REJECTED || state === TaskState.ORPHANED;
}
