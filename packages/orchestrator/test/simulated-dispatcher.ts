/** What a dispatcher makes of a worker's report, as far as leases go. */
import { LeaseState, Task, TaskState, type Slot, type TaskStatus } from "@warren/api";
import { hasEnded, idOf, isStanding, sameEpoch, stateOf } from "@warren/api/model";
import type { Transaction } from "@warren/store";
import type { HeldLease } from "./simulated-node.ts";

/** All that a report of the lease would have in it; it is sent where this differs from the last. */
export function newsOf({ state, record, runs, settled, released }: HeldLease): string {
  const acknowledged = state === LeaseState.RELEASING;
  const { windowMs: _w, waitMs: _m, bootMs: _b, ...counts } = record;
  return JSON.stringify([
    acknowledged,
    counts,
    runs.map(({ taskId, status }) => [taskId, status.state]),
    settled,
    released,
  ]);
}

/** L10: one on a lease that is unknown, released or of another node changes nothing. */
export function takeReport(tx: Transaction, nodeId: string, held: HeldLease, now: number): void {
  const slot = tx.get("slots", held.slotId);
  const lease = slot?.leases.find(({ epoch }) => sameEpoch(epoch, held.epoch));
  if (slot === undefined || lease === undefined || lease.nodeId !== nodeId || lease.state === LeaseState.RELEASED)
    return;
  const isOver = held.settled !== "" && slot.settled === "" && !isStanding(lease);
  const record = isOver ? lease.record : held.record;
  const next = held.released
    ? { ...lease, record, state: LeaseState.RELEASED, since: new Date(now) }
    : { ...lease, record, releaseAcknowledged: lease.releaseAcknowledged || acknowledges(held, lease.state) };
  const leases: Slot["leases"] = slot.leases.map((each) => (each === lease ? next : each));
  const settled = held.settled !== "" && isStanding(lease) ? held.settled : slot.settled;
  tx.update("slots", { ...slot, leases, settled });
  for (const { taskId, status, life, run } of held.runs) {
    const task = tx.get("tasks", taskId);
    if (task !== undefined) {
      if (stateOf(task) < status.state) tx.update("tasks", { ...task, status: copied(status) });
      continue;
    }
    if (hasEnded({ status }) && held.runs.at(-1)?.taskId !== taskId && held.runs.length > 5) continue;
    const { serviceId, serviceName, key } = slot;
    tx.create(
      "tasks",
      Task.create({
        meta: { id: taskId },
        serviceId,
        serviceName,
        slotId: held.slotId,
        slot: key,
        epoch: held.epoch,
        life,
        run,
        nodeId,
        versionId: held.versionId,
        status: copied(status),
      }),
    );
  }
  // L10: what a bounded report leaves out has ended all the same.
  const newest = held.runs.at(-1)?.taskId;
  for (const task of tx.find("tasks", "slot", held.slotId)) {
    if (!sameEpoch(task.epoch, held.epoch) || hasEnded(task) || (idOf(task) === newest && !held.released)) continue;
    const state = held.released ? TaskState.SHUTDOWN : TaskState.ORPHANED;
    tx.update("tasks", { ...task, status: { ...task.status!, state, at: new Date(now) } });
  }
}

function acknowledges({ state }: HeldLease, stored: LeaseState): boolean {
  return state === LeaseState.RELEASING && stored === LeaseState.RELEASING;
}

function copied(status: TaskStatus): TaskStatus {
  return structuredClone(status);
}
