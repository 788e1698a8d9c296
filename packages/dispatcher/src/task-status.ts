/** What a node may say of a task, and what of it is stored. Pure. */
import { ObjectKind, TaskState, type Task, type TaskStatus, type TaskStatusUpdate } from "@warren/api";
import type { Transaction } from "@warren/store";
import { isDeepStrictEqual } from "node:util";

import { wrong } from "./errors.ts";

/** Characters of a status's message and code that are kept. */
const maxMessage = 1_000;
const maxCode = 100;

/** States that are the node's to tell. */
const told: ReadonlySet<TaskState> = new Set<TaskState>([
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
  TaskState.COMPLETE,
  TaskState.SHUTDOWN,
  TaskState.FAILED,
  TaskState.REJECTED,
]);

export interface StatusOutcome {
  readonly applied: number;
  /** Behind what is stored: reported again, or out of order. */
  readonly stale: number;
  /** Tasks that this node has not, or no longer: it is to remove them. */
  readonly unknown: readonly string[];
}

/** @throws ApiError `API_INVALID` */
export function checkUpdates(updates: readonly TaskStatusUpdate[]): void {
  updates.forEach(({ taskId, status }, at) => {
    if (taskId === "") throw wrong(`updates[${at}].task_id`, "is empty; name the task");
    if (status === undefined) throw wrong(`updates[${at}].status`, "is missing");
    if (!told.has(status.state))
      throw wrong(`updates[${at}].status.state`, `is ${status.state}; a node tells states from ASSIGNED to REJECTED`);
  });
}

/** Writes what goes forward. */
export function storeStatuses(
  tx: Transaction,
  nodeId: string,
  updates: readonly TaskStatusUpdate[],
  now: Date,
): StatusOutcome {
  const unknown: string[] = [];
  let applied = 0;
  let stale = 0;
  for (const { taskId, status } of updates) {
    const task = tx.get("tasks", taskId);
    if (task === undefined || task.nodeId !== nodeId || task.status?.state === TaskState.ORPHANED) {
      unknown.push(taskId);
      continue;
    }
    const next = status === undefined ? undefined : advanced(task.status, status, now);
    if (next === undefined) {
      stale += 1;
      continue;
    }
    applied += 1;
    tx.update("tasks", { ...task, status: next });
    if (next.state === TaskState.RUNNING && task.status?.state !== TaskState.RUNNING) tellStarted(tx, task);
  }
  return { applied, stale, unknown };
}

/**
 * What is stored after a node told `reported` of a task that is at `current`; undefined if that leads nowhere.
 *
 * A state only goes forward, and of the ways to end the first stays. The same state may come again with more to say.
 */
export function advanced(current: TaskStatus | undefined, reported: TaskStatus, now: Date): TaskStatus | undefined {
  const state = current?.state ?? TaskState.UNSPECIFIED;
  if (reported.state < state) return undefined;
  if (state >= TaskState.COMPLETE && reported.state !== state) return undefined;
  const next: TaskStatus = {
    ...reported,
    at: reported.at ?? now,
    message: reported.message.slice(0, maxMessage),
    code: reported.code.slice(0, maxCode),
    pending: undefined,
  };
  return isDeepStrictEqual(current, next) ? undefined : next;
}

function tellStarted(tx: Transaction, task: Task): void {
  tx.emit({
    kind: ObjectKind.TASK,
    objectId: task.meta?.id ?? "",
    objectName: `${task.serviceName}.${task.slot}`,
    action: "started",
    message: `runs on ${tx.get("nodes", task.nodeId)?.description?.hostname ?? task.nodeId}`,
  });
}
