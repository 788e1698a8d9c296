/** Pure functions on tasks and their states. */
import { TaskState, type Task, type TaskStatus } from "../generated/warren/v1/task.ts";

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

/** Its container has ended, or will never exist. */
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

/** It is meant to run, or to be made ready for that, rather than to stop. */
export function isMeantToRun({ desiredState }: Pick<Task, "desiredState">): boolean {
  return desiredState === TaskState.RUNNING || desiredState === TaskState.READY;
}

export function idOf(object: { readonly meta?: { readonly id: string } | undefined }): string {
  return object.meta?.id ?? "";
}

/** The order of a slot's tasks: by lease, then by the run within it. */
export function compareTasks(a: Task, b: Task): number {
  return (
    (a.epoch?.index ?? 0) - (b.epoch?.index ?? 0) ||
    Number(a.life !== 0) - Number(b.life !== 0) ||
    (a.life === b.life ? a.run - b.run : compareLives(a, b))
  );
}

/** The newest of a slot's tasks; undefined if there is none. */
export function newestTask(tasks: readonly Task[]): Task | undefined {
  return tasks.reduce<Task | undefined>(
    (newest, task) => (newest === undefined || compareTasks(task, newest) > 0 ? task : newest),
    undefined,
  );
}

/**
 * Runs of different lives of one lease are on one node, one after the other. Those of different reports are in the order in
 * which managers stored them, as the node's clock may have begun anew with the machine; only those of one report are
 * ordered by it.
 */
function compareLives(a: Task, b: Task): number {
  const [storedA, storedB] = [storedAt(a), storedAt(b)];
  return storedA === storedB ? beginningOf(a) - beginningOf(b) : storedA - storedB;
}

/** Later than all others where it is being stored. */
function storedAt({ meta }: Task): number {
  return meta?.createdAt?.getTime() ?? Number.POSITIVE_INFINITY;
}

function beginningOf({ status }: Task): number {
  return (status?.container?.startedAt ?? status?.at)?.getTime() ?? 0;
}
