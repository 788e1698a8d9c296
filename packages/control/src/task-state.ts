/** Questions about one task, and its state in words. */
import { TaskState, type Node, type PendingExplanation, type Task } from "@warren/api";

const words: Readonly<Record<TaskState, string>> = {
  [TaskState.UNSPECIFIED]: "unknown",
  [TaskState.NEW]: "new",
  [TaskState.PENDING]: "pending",
  [TaskState.ASSIGNED]: "assigned",
  [TaskState.ACCEPTED]: "accepted",
  [TaskState.PREPARING]: "preparing",
  [TaskState.READY]: "ready",
  [TaskState.STARTING]: "starting",
  [TaskState.RUNNING]: "running",
  [TaskState.COMPLETE]: "complete",
  [TaskState.SHUTDOWN]: "shut down",
  [TaskState.FAILED]: "failed",
  [TaskState.REJECTED]: "rejected",
  [TaskState.REMOVE]: "removed",
  [TaskState.ORPHANED]: "orphaned",
};

export function stateOf(task: Task): TaskState {
  return task.status?.state ?? TaskState.NEW;
}
export function stateText(state: TaskState): string {
  return words[state] ?? String(state);
}
/** It is meant to run, or has been and nobody told it to stop. */
export function isWanted(task: Task): boolean {
  return task.desiredState <= TaskState.RUNNING;
}
export function isRunning(task: Task): boolean {
  return isWanted(task) && stateOf(task) === TaskState.RUNNING;
}
export function hasEnded(task: Task): boolean {
  return stateOf(task) > TaskState.RUNNING;
}

/** `failed with exit code 1: no such file` */
export function endText(task: Task): string {
  const { message = "", container, code = "" } = task.status ?? {};
  const reason = message === "" ? (code === "" ? "" : `: ${code}`) : `: ${message}`;
  if (container?.oomKilled === true) return `ran out of memory and was killed${reason}`;
  const exit = container?.exitCode;
  const withCode = exit === undefined || message.includes("exit code") ? "" : ` with exit code ${exit}`;
  return `${stateText(stateOf(task))}${stateOf(task) === TaskState.FAILED ? withCode : ""}${reason}`;
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
  const where = node === undefined ? "" : ` on ${node.description?.hostname || node.meta?.id}`;
  return `${stateText(state)}${where}${message === "" ? "" : `: ${message}`}`;
}
