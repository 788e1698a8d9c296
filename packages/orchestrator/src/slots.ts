/**
 * The slots of a service, and how each stands: one reading that all decisions share.
 */
import { isDeepStrictEqual } from "node:util";
import { TaskState, type Service, type Task } from "@warren/api";
import type { Displacement } from "./displacement.ts";
import { hasEnded, idOf, isLive, isReleased, isRunning, runOf, stateOf } from "./task.ts";

/** The tasks of one slot, in the order of their runs. */
export interface Slot {
  readonly number: number;
  readonly tasks: readonly Task[];
}

export interface SlotReading {
  readonly slot: Slot;
  /** Not released. */
  readonly live: readonly Task[];
  /** The one that holds the slot, or is to: it may stay where it is. Others that live make way for it. */
  readonly keeper: Task | undefined;
  /** Lives, and may not stay. */
  readonly displaced: readonly Task[];
  /** Whose end decides what follows where nothing lives; undefined if the slot is given up. */
  readonly decider: Task | undefined;
  /** What holds the slot, or last did, is made from the service's present spec. */
  readonly current: boolean;
}

export function slotsOf(tasks: readonly Task[]): Map<number, Slot> {
  const byNumber = Map.groupBy(tasks, ({ slot }) => slot);
  return new Map([...byNumber].map(([number, found]) => [number, { number, tasks: found.toSorted(byRun) }]));
}

/** Its slot counts as one of the service's replicas. */
export function isOccupied({ tasks }: Slot): boolean {
  return tasks.some((task) => !isReleased(task));
}

export function lastRun({ tasks }: Slot): number {
  return tasks.reduce((most, task) => Math.max(most, runOf(task)), 0);
}

/** Made from what the service's spec says now, though perhaps under an earlier number, as after a rollback. */
export function isCurrent(task: Task, service: Service): boolean {
  return task.specVersion === service.specVersion || isDeepStrictEqual(task.spec, service.spec?.task);
}

/**
 * @param rolling whether replacements of another version may take over; while a rollout is paused, none that has not
 * started does
 */
export function readSlot(
  slot: Slot,
  service: Service,
  displacementOf: (task: Task) => Displacement,
  rolling: boolean,
): SlotReading {
  const live = slot.tasks.filter(isLive);
  const staying = live.filter((task) => !isDisplaced(displacementOf(task)));
  const preferred = (task: Task): number =>
    isCurrent(task, service) && (rolling || task.desiredState === TaskState.RUNNING) ? 0 : 1;
  const keeper = staying.toSorted(
    (a, b) =>
      preferred(a) - preferred(b) ||
      Number(isRunning(b)) - Number(isRunning(a)) ||
      stateOf(b) - stateOf(a) ||
      byRun(a, b),
  )[0];
  const decider = deciderOf(slot);
  const leading = keeper ?? decider;
  return {
    slot,
    live,
    keeper,
    displaced: live.filter((task) => !staying.includes(task)),
    decider,
    current: leading !== undefined && isCurrent(leading, service),
  };
}

/** One that ended unasked and is not answered yet goes before those that were told to stop; else it is the last. */
function deciderOf({ tasks }: Slot): Task | undefined {
  const kept = tasks.filter((task) => !isReleased(task));
  return kept.findLast((task) => hasEnded(task) && task.desiredState <= TaskState.RUNNING) ?? kept.at(-1);
}

function isDisplaced({ kind }: Displacement): boolean {
  return kind === "must-go" || kind === "lost";
}

function byRun(a: Task, b: Task): number {
  return runOf(a) - runOf(b) || (idOf(a) < idOf(b) ? -1 : 1);
}
