/**
 * What the decisions on a service's slots share, and how a task enters a slot.
 */
import { TaskState, type Service, type SlotRecord, type Task } from "@warren/api";
import { newId, type Random } from "@warren/std";
import type { Displacement } from "./displacement.ts";
import type { Plan } from "./plan.ts";
import { durationText } from "./restarts.ts";
import { lastRun, type Slot } from "./slots.ts";
import { hasEnded, hasStarted, idOf, isLive, remaining } from "./task.ts";

/** What all decisions on a service's slots share. */
export interface ServicePass {
  readonly plan: Plan;
  readonly service: Service;
  readonly now: number;
  readonly random: Random;
  readonly startFirst: boolean;
  readonly rollingOut: boolean;
  readonly networks: readonly string[];
  /** Why tasks can't be offered to the scheduler; empty if they can. */
  readonly unallocated: string;
  readonly displacementOf: (task: Task) => Displacement;
}

/** How the task that enters follows on the one before it. */
export interface Succession {
  readonly record: SlotRecord;
  /** As `RestartDecision`. @default 0 */
  readonly waitMs?: number;
  /** As `RestartDecision`. @default true */
  readonly prepare?: boolean;
}

/**
 * Puts a task into the slot, made from the service's spec or, as long as the rollout has not come to it, as `like` was.
 * What lived there and has not started makes way at once.
 */
export function enter(pass: ServicePass, slot: Slot, like: Task | undefined, succession: Succession): void {
  const { plan, service, now } = pass;
  for (const task of slot.tasks) if (isLive(task) && !hasStarted(task)) plan.retire(task, TaskState.REMOVE);
  const { waitMs = 0, prepare = true } = succession;
  const record = { ...succession.record, run: lastRun(slot) + 1 };
  if (waitMs > 0) plan.wakeIn(waitMs);
  const held = !pass.startFirst && slot.tasks.some((task) => blocks(pass, task));
  const allocated = pass.unallocated === "";
  plan.create({
    meta: { id: newId(pass.random), version: 0, createdAt: undefined, updatedAt: undefined },
    serviceId: idOf(service),
    serviceName: service.spec?.name ?? "",
    slot: slot.number,
    nodeId: "",
    spec: like === undefined ? service.spec?.task : like.spec,
    specVersion: like === undefined ? service.specVersion : like.specVersion,
    desiredState: firstDesired(waitMs > 0, prepare, held),
    status: {
      state: allocated ? TaskState.PENDING : TaskState.NEW,
      at: new Date(now),
      message: allocated ? waitText(now, waitMs, prepare) : `waits: ${pass.unallocated}`,
      code: "",
      container: undefined,
      pending: undefined,
    },
    networks: like === undefined ? [...pass.networks] : like.networks,
    record,
  });
}

/** P2: whether a task keeps another of its slot from starting. */
export function blocks(pass: ServicePass, task: Task): boolean {
  return !hasEnded(task) && task.nodeId !== "" && pass.displacementOf(task).kind !== "lost";
}

/** What is left of the task's delay, ms. */
export function waitOf(task: Task, now: number): number {
  const startAt = task.record?.startAt?.getTime();
  if (startAt === undefined) return 0;
  const since = task.meta?.createdAt?.getTime() ?? now;
  return remaining(since, Math.max(0, startAt - since), now);
}

/** PENDING is offered to no node yet; READY is prepared on its node and goes no further. */
function firstDesired(waits: boolean, prepare: boolean, held: boolean): TaskState {
  if (waits && !prepare) return TaskState.PENDING;
  return waits || held ? TaskState.READY : TaskState.RUNNING;
}

function waitText(now: number, waitMs: number, prepare: boolean): string {
  if (waitMs === 0 || prepare) return "waits for a node";
  return `is tried again at ${clockTime(now + waitMs)}, in ${durationText(waitMs)}`;
}

/** `12:00:05Z` */
function clockTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(11, 19)}Z`;
}
