/**
 * What the loops say of a task: pure readings of what is stored.
 */
import { NodeSpec_Availability, NodeStatus_State, TaskState, type Node, type Service, type Task } from "@warren/api";

/** Its container has ended, or will never be. */
export function hasEnded(task: Task): boolean {
  return stateOf(task) >= TaskState.COMPLETE;
}

/** It is meant to run, or to be made ready for that, and may yet. */
export function isLive(task: Task): boolean {
  return task.desiredState <= TaskState.RUNNING && !hasEnded(task);
}

/** Told to stop, and not heard to have stopped. */
export function isStopping(task: Task): boolean {
  return task.desiredState > TaskState.RUNNING && !hasEnded(task);
}

/** To be forgotten: its slot is given up. */
export function isReleased(task: Task): boolean {
  return task.desiredState === TaskState.REMOVE;
}

export function stateOf(task: Task): TaskState {
  return task.status?.state ?? TaskState.NEW;
}

export function isRunning(task: Task): boolean {
  return stateOf(task) === TaskState.RUNNING && task.desiredState === TaskState.RUNNING;
}

/** Its container runs, or did. */
export function hasStarted(task: Task): boolean {
  return stateOf(task) >= TaskState.STARTING;
}

export function idOf(object: { readonly meta?: { readonly id: string } | undefined }): string {
  return object.meta?.id ?? "";
}

export function runOf(task: Task): number {
  return task.record?.run ?? 0;
}

/** `web.3`, as people and DNS name it. */
export function slotName(task: { readonly serviceName: string; readonly slot: number }): string {
  return `${task.serviceName}.${task.slot}`;
}

/** The name people know a node by. */
export function nodeName(node: Node): string {
  const hostname = node.description?.hostname ?? "";
  return hostname === "" ? idOf(node) : hostname;
}

export function isReady(node: Node): boolean {
  return node.status?.state === NodeStatus_State.READY;
}

export function isDown(node: Node): boolean {
  return node.status?.state === NodeStatus_State.DOWN;
}

export function isDrained(node: Node): boolean {
  return node.spec?.availability === NodeSpec_Availability.DRAIN;
}

export function isActive(node: Node): boolean {
  const availability = node.spec?.availability ?? NodeSpec_Availability.UNSPECIFIED;
  return availability === NodeSpec_Availability.UNSPECIFIED || availability === NodeSpec_Availability.ACTIVE;
}

export function replicasOf(service: Service): number {
  return service.spec?.mode?.value.replicas ?? 0;
}

/**
 * When the task entered the state that it is in, by the managers' clock, ms.
 *
 * The node says it by its own clock, which may be wrong by years; so it is held between the task's creation and its
 * last write, which managers date.
 */
export function stateSince(task: Task, now: number): number {
  const created = task.meta?.createdAt?.getTime() ?? now;
  const written = task.meta?.updatedAt?.getTime() ?? now;
  const said = task.status?.at?.getTime() ?? written;
  return Math.max(created, Math.min(said, written));
}

/**
 * How much of a wait of `delayMs` that began at `since` is left, ms; 0 once it is over.
 *
 * More left than twice the wait itself means that the clock was set back meanwhile (or that managers' clocks differ by
 * that much): nothing is waited for then, rather than for as long as the clock is wrong.
 */
export function remaining(since: number, delayMs: number, now: number): number {
  const left = since + delayMs - now;
  return left <= 0 || left > 2 * delayMs ? 0 : left;
}
