/**
 * The slots of a service, and how each stands: one reading that all decisions share.
 */
import { LeaseState, TaskState, type Lease, type Slot, type Task, type Version } from "@warren/api";
import {
  compareTasks,
  currentLease,
  epochText,
  hasEnded,
  incomingLease,
  isRunning,
  isStanding,
  mayRun,
  recordOf,
  stateOf,
} from "@warren/api/model";
import { emptyRecord, shortRunMs } from "@warren/slot";
import type { Displacement } from "./displacement.ts";
import { remainingWall, stateSince } from "./reading.ts";
import { sameMake } from "./settings.ts";

/** Failures or rejections in a row after which a lease is tried on another node (L9). */
export const failuresToMove = 3;

/** What readings of a service's slots need. */
export interface SlotSources {
  readonly wanted: Version | undefined;
  readonly versionOf: (id: string) => Version | undefined;
  readonly displacementOf: (slot: Slot, lease: Lease) => Displacement;
}

export interface SlotReading {
  readonly slot: Slot;
  /** All of the slot. */
  readonly tasks: readonly Task[];
  readonly current: Lease | undefined;
  readonly incoming: Lease | undefined;
  /** What it runs, is to run, or ran last. */
  readonly leading: Lease | undefined;
  /** What leads is made as the wanted version is. */
  readonly upToDate: boolean;
  /** Its rules allow no further run of what leads. */
  readonly settled: boolean;
  isUpToDate(lease: Lease): boolean;
  /** The newest run of a lease. */
  taskOf(lease: Lease | undefined): Task | undefined;
  displacementOf(lease: Lease): Displacement;
}

export function readSlot(slot: Slot, tasks: readonly Task[], sources: SlotSources): SlotReading {
  const newest = newestByEpoch(tasks);
  const [current, incoming] = [currentLease(slot), incomingLease(slot)];
  const isUpToDate = ({ versionId }: Lease): boolean => sameMake(sources.versionOf(versionId), sources.wanted);
  const standing = [incoming, current].filter((lease) => lease !== undefined);
  const leading = standing.find(isUpToDate) ?? current ?? incoming ?? lastHeld(slot);
  const upToDate = leading !== undefined && isUpToDate(leading);
  return {
    slot,
    tasks,
    current,
    incoming,
    leading,
    upToDate,
    settled: slot.settled !== "" && standing.length === 0,
    isUpToDate,
    taskOf: (lease) => (lease === undefined ? undefined : newest.get(epochText(lease.epoch))),
    displacementOf: (lease) => sources.displacementOf(slot, lease),
  };
}

/** Of each lease that has runs. One that has not ended is newer than those that have. */
function newestByEpoch(tasks: readonly Task[]): Map<string, Task> {
  const newest = new Map<string, Task>();
  for (const task of tasks.length > 1 ? tasks.toSorted(compareTasks) : tasks) {
    const key = epochText(task.epoch);
    const before = newest.get(key);
    if (before === undefined || !hasEnded(task) || hasEnded(before)) newest.set(key, task);
  }
  return newest;
}

function lastHeld({ leases }: Slot): Lease | undefined {
  return leases.findLast(({ wasHeld }) => wasHeld) ?? leases.at(-1);
}

/**
 * L9: it failed, or could not be run, so often in a row since it has its node; and has not run since for longer than a
 * crash loop does.
 */
export function isFailing(reading: SlotReading, lease: Lease, now: number): boolean {
  const task = reading.taskOf(lease);
  if (task !== undefined && isRunning(task) && remainingWall(stateSince(task, now), shortRunMs, now) === 0)
    return false;
  const record = recordOf(lease) ?? emptyRecord();
  const before = lease.initialRecord ?? emptyRecord();
  const failed = record.failures >= failuresToMove && record.runs - before.runs >= failuresToMove;
  // A count that is lower than at the offer has begun anew since.
  const earlier = record.rejections < before.rejections ? 0 : before.rejections;
  return failed || record.rejections - earlier >= failuresToMove;
}

/** Whether a lease's task runs, healthy where it has a health check. */
export function runs(reading: SlotReading, lease: Lease | undefined): boolean {
  const task = reading.taskOf(lease);
  return lease?.state === LeaseState.HELD && task !== undefined && isRunning(task);
}

/** Other leases of the slot that may run, and whose nodes are waited for. */
export function othersThatMayRun(reading: SlotReading, lease: Lease): readonly Lease[] {
  return reading.slot.leases.filter(
    (each) => each !== lease && mayRun(each) && reading.displacementOf(each).kind !== "lost",
  );
}

/** The newest standing lease whose task has ended: the one that a settled slot speaks of. */
export function endedLease(reading: SlotReading): Lease | undefined {
  return reading.slot.leases.findLast((lease) => {
    const task = reading.taskOf(lease);
    return isStanding(lease) && task !== undefined && hasEnded(task);
  });
}

/** It failed, or its node could not run it. */
export function hasFailed(task: Task): boolean {
  return stateOf(task) === TaskState.FAILED || stateOf(task) === TaskState.REJECTED;
}

/** READY or further, and not ended. */
export function isPrepared(task: Task | undefined): boolean {
  return task !== undefined && !hasEnded(task) && stateOf(task) >= TaskState.READY;
}
