/** Pure readings of a task. */
import { TaskState, type TaskStatus } from "../generated/warren/v1/task.ts";

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
  [TaskState.ORPHANED]: "orphaned",
};

/** The state in a word or two, for people. */
export function taskStateText(state: TaskState): string {
  return words[state] ?? String(state);
}

export function stateOf({ status }: { readonly status?: TaskStatus | undefined }): TaskState {
  return status?.state ?? TaskState.NEW;
}

/** Its container has ended, or will never be. */
export function hasEnded(task: { readonly status?: TaskStatus | undefined }): boolean {
  return stateOf(task) >= TaskState.COMPLETE;
}

/** Its container runs, or did. */
export function hasStarted(task: { readonly status?: TaskStatus | undefined }): boolean {
  return stateOf(task) >= TaskState.STARTING;
}

/** Up and, where there is a health check, healthy. */
export function isRunning(task: { readonly status?: TaskStatus | undefined }): boolean {
  return stateOf(task) === TaskState.RUNNING;
}

export function idOf(object: { readonly meta?: { readonly id: string } | undefined }): string {
  return object.meta?.id ?? "";
}
