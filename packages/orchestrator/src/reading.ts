/**
 * Pure readings of stored nodes, services and times.
 */
import {
  NodeSpec_Availability,
  NodeStatus_State,
  type Node,
  type Service,
  type Task,
  type UpdateConfig,
} from "@warren/api";
import { idOf } from "@warren/api/model";

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

/** Of an update's config: how long it may make no progress, ms. */
export function progressDeadline(config: UpdateConfig | undefined): number {
  return config?.progressDeadlineMs ?? defaultProgressDeadlineMs;
}
export const defaultProgressDeadlineMs = 600_000;

/**
 * When the task entered the state that it is in, by the managers' clock, ms.
 *
 * The node dates it by its own clock, which may be wrong by years; so it is held between the task's creation and its
 * last write, which managers date.
 */
export function stateSince(task: Task, now: number): number {
  const created = task.meta?.createdAt?.getTime() ?? now;
  const written = task.meta?.updatedAt?.getTime() ?? now;
  const reported = task.status?.at?.getTime() ?? written;
  return Math.max(created, Math.min(reported, written));
}

/** Now, and how far waits that began at a stored wall time can be judged by it: see `ClockSteps`. */
export interface Moment {
  /** Wall time, ms. */
  readonly now: number;
  /** How long the wall clock has gone on without a step in this term, ms. */
  readonly steadyMs: number;
  /** How long ago the last step was that was seen in this term, ms; infinite where none was. */
  readonly sinceStepMs: number;
}

/**
 * How much of a wait of `delayMs` that began at `since` is left, ms; 0 once it is over, and of a wait that has no beginning.
 *
 * It is over once so much wall time has passed, and the clock has gone on without a step for as long in this term. So it
 * begins again with each step and each term: what ends with it takes something away, or goes on with a rollout, and must
 * not come early.
 */
export function remaining(since: number | Date | undefined, delayMs: number, at: Moment): number {
  return since === undefined ? 0 : whole(remainingWall(since, delayMs, at.now), delayMs - at.steadyMs);
}

/** As `remaining`, of a wait that only delays a further try: it begins again with a step, but not with a term. */
export function remainingOfDelay(since: number | Date | undefined, delayMs: number, at: Moment): number {
  return since === undefined ? 0 : whole(remainingWall(since, delayMs, at.now), delayMs - at.sinceStepMs);
}

/** The longer of two waits, rounded up: a timer of a fraction of a millisecond may not move a monotonic clock on. */
function whole(oneMs: number, otherMs: number): number {
  return Math.ceil(Math.max(oneMs, otherMs, 0));
}

/**
 * By wall time alone: for the age of something, where too old is the safe reading.
 *
 * More left than twice the wait itself means that the clock was set back meanwhile (or that managers' clocks differ by
 * that much): nothing is waited for then, rather than for as long as the clock is wrong.
 */
export function remainingWall(since: number | Date, delayMs: number, now: number): number {
  const left = Number(since) + delayMs - now;
  return left <= 0 || left > 2 * delayMs ? 0 : left;
}
