/**
 * Which tasks and versions are kept for people to read.
 */
import { LeaseState, type Service, type Slot, type Task, type Version } from "@warren/api";
import { compareTasks, epochText, hasEnded, idOf } from "@warren/api/model";
import type { Plan } from "./writes.ts";

/** Runs of unreleased leases that a slot keeps. */
const keptRuns = 5;

/** Keeps of a slot's tasks the last runs of its unreleased leases, and of the others the last `history` that ended. */
export function trimTasks(plan: Plan, slot: Slot, tasks: readonly Task[], history: number): void {
  // Nearly every slot has one task, which is its lease's.
  if (tasks.length <= 1 && history > 0) return;
  const unreleased = new Set(
    slot.leases.filter(({ state }) => state !== LeaseState.RELEASED).map(({ epoch }) => epochText(epoch)),
  );
  let [runs, ended] = [keptRuns, history];
  for (const task of tasks.toSorted(compareTasks).toReversed()) {
    if (plan.isDeleted(task)) continue;
    const live = unreleased.has(epochText(task.epoch));
    if (live && (runs > 0 || !hasEnded(task))) runs -= 1;
    else if (ended > 0) ended -= 1;
    else plan.deleteTask(task);
  }
}

/**
 * L18: a version lives while its service names it (wanted, recent, completed), or a slot's lease or a kept task refers
 * to it.
 */
export function trimVersions(
  plan: Plan,
  service: Service | undefined,
  versions: readonly Version[],
  slots: readonly Slot[],
  tasks: readonly Task[],
): void {
  const named = new Set<string>();
  if (service !== undefined) {
    const { versionId, recentVersionIds, completedVersionIds, updateStatus } = plan.drafted(service);
    for (const id of [versionId, ...recentVersionIds, ...completedVersionIds]) named.add(id);
    if (updateStatus !== undefined) named.add(updateStatus.fromVersionId);
  }
  for (const { leases } of slots) for (const { versionId } of leases) named.add(versionId);
  for (const task of tasks) if (!plan.isDeleted(task)) named.add(task.versionId);
  for (const version of versions) if (!named.has(idOf(version))) plan.deleteVersion(version);
}
