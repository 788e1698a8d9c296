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

/**
 * As `remainingSince`, of a wait that ends in taking something away: it lasts until the clock has also gone on without a
 * step for as long, in this term (see `ClockSteps`).
 */
export function remainingSteadily(
  since: Date | undefined,
  delayMs: number,
  { now, steadyMs }: { readonly now: number; readonly steadyMs: number },
): number {
  return Math.max(remainingSince(since, delayMs, now), delayMs - steadyMs, 0);
}

/** As `remaining`, for a stored time; nothing is left of a wait that has no beginning. */
export function remainingSince(since: Date | undefined, delayMs: number, now: number): number {
  return since === undefined ? 0 : remaining(since.getTime(), delayMs, now);
}
