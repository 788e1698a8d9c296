/** A task with the lease that it is a run of, as it is given out and spoken of. */
import {
  LeaseState,
  NodeStatus_State,
  TaskState,
  type Lease,
  type Node,
  type PendingExplanation,
  type Slot,
  type Task,
} from "@warren/api";
import {
  hasEnded,
  isRunning,
  isStanding,
  newestTask,
  sameEpoch,
  standingLeases,
  stateOf,
  taskStateText,
} from "@warren/api/model";
import type { View } from "@warren/store";

/** Undefined once the lease is forgotten. */
export function leaseOf(view: View, task: Task): Lease | undefined {
  return view.get("slots", task.slotId)?.leases.find(({ epoch }) => sameEpoch(epoch, task.epoch));
}

/** The newest run of a lease that is not released: what its slot has now. */
function isCurrent(view: View, task: Task): boolean {
  const lease = leaseOf(view, task);
  if (lease === undefined || lease.state === LeaseState.RELEASED) return false;
  const runs = view.find("tasks", "slot", task.slotId).filter(({ epoch }) => sameEpoch(epoch, task.epoch));
  return newestTask(runs)?.meta?.id === task.meta?.id;
}

/** How far the task should go. */
export function desiredState(view: View, task: Task): TaskState {
  if (!isWanted(view, task)) return TaskState.SHUTDOWN;
  return leaseOf(view, task)?.state === LeaseState.OFFERED ? TaskState.READY : TaskState.RUNNING;
}

/** It is meant to run, or to be made ready for that. */
export function isWanted(view: View, task: Task): boolean {
  const lease = leaseOf(view, task);
  return lease !== undefined && isStanding(lease) && isCurrent(view, task);
}

/** Up, healthy, and meant to be. */
export function runsAsWanted(view: View, task: Task): boolean {
  return isRunning(task) && isWanted(view, task);
}

/** Up, healthy, and meant to be, on a node that is not down: of one that is, nobody knows what runs there. */
export function serves(view: View, task: Task): boolean {
  return runsAsWanted(view, task) && !isNodeDown(view.get("nodes", task.nodeId));
}

export function isNodeDown(node: Node | undefined): boolean {
  return node?.status?.state === NodeStatus_State.DOWN;
}

/** Undefined of a service that is gone. */
export function wantedMake(view: View, serviceId: string): string | undefined {
  const service = view.get("services", serviceId);
  return service === undefined ? undefined : view.get("versions", service.versionId)?.make;
}

/** With what stands elsewhere: its version, and what is wanted of it. */
export function presentTask(view: View, task: Task): Task {
  const version = view.get("versions", task.versionId);
  return {
    ...task,
    desiredState: desiredState(view, task),
    spec: version?.task,
    versionNumber: version?.number ?? 0,
    current: isCurrent(view, task),
    upToDate: version !== undefined && version.make === wantedMake(view, task.serviceId),
    settled: settledReason(view, task),
  };
}

/** A slot in which no further task follows, once its lease is on its way out. */
export function isSettled(slot: Slot): boolean {
  return slot.wanted && slot.settled !== "" && standingLeases(slot).length === 0;
}

function settledReason(view: View, task: Task): string {
  const slot = view.get("slots", task.slotId);
  if (slot === undefined || !isSettled(slot)) return "";
  return newestTask(view.find("tasks", "slot", task.slotId))?.meta?.id === task.meta?.id ? slot.settled : "";
}

/** `failed with exit code 1: no such file` */
export function endText(task: Task): string {
  const { message = "", container, code = "" } = task.status ?? {};
  const reason = message === "" ? (code === "" ? "" : `: ${code}`) : `: ${message}`;
  if (container?.oomKilled === true) return `ran out of memory and was killed${reason}`;
  const exit = container?.exitCode;
  const withCode = exit === undefined || message.includes("exit code") ? "" : ` with exit code ${exit}`;
  return `${taskStateText(stateOf(task))}${stateOf(task) === TaskState.FAILED ? withCode : ""}${reason}`;
}

/** `no node of 3 can take it: 2 lack memory, 1 is drained` */
function pendingText(pending: PendingExplanation): string {
  if (pending.nodes === 0) return "there is no node";
  const refusals = pending.refusals.map(({ nodes, text, filter }) => `${nodes}: ${text || filter}`).join("; ");
  const which = pending.nodes === 1 ? "the only node can't take it" : `none of ${pending.nodes} nodes can take it`;
  return refusals === "" ? which : `${which} (${refusals})`;
}

/** Why a task that is meant to run does not yet. */
export function waitingText(task: Task, node: Node | undefined): string {
  const { message = "", pending } = task.status ?? {};
  const state = stateOf(task);
  if (hasEnded(task)) return endText(task);
  if (state <= TaskState.PENDING && pending !== undefined) return pendingText(pending);
  const name = node?.description?.hostname || node?.meta?.id;
  if (isNodeDown(node)) return `its node ${name} is down${withReason(node?.status?.message)}`;
  const where = node === undefined ? "" : ` on ${name}`;
  return `${taskStateText(state)}${where}${message === "" ? "" : `: ${message}`}`;
}

function withReason(text = ""): string {
  return text === "" ? "" : `: ${text}`;
}

/** Whether it has no node yet. */
export function waitsForNode(task: Task): boolean {
  return stateOf(task) <= TaskState.PENDING;
}
