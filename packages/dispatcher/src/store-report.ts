/** Stores a node's reports of its leases: facts only. The orchestrator decides what follows. */
import {
  LeaseReport_State,
  LeaseState,
  ObjectKind,
  Slot,
  Task,
  TaskState,
  TaskStatus,
  type Epoch,
  type KnownRecord,
  type Lease,
  type LeaseReport,
  type ReportRefusal,
} from "@warren/api";
import {
  compareTasks,
  hasEnded,
  hasStarted,
  idOf,
  isRunning,
  isStanding,
  leaseKey,
  sameEpoch,
  slotName,
  taskIdOf,
  type RunKey,
} from "@warren/api/model";
import type { Transaction } from "@warren/store";

import { advanced, knownRecord, lastRuns, reportedSlot, reportLimits } from "./report.ts";

export interface ReportOutcome {
  readonly stored: number;
  /** Without news: repeated, or out of order. */
  readonly stale: number;
  /** L10: reports of other nodes' leases. */
  readonly refused: readonly ReportRefusal[];
  /** L12: the stored records of leases whose reports lack one. */
  readonly records: readonly KnownRecord[];
  /** Leases that the state lacks or has as released. */
  readonly unknown: readonly UnknownLease[];
}

/** A lease as its node has it, and no manager. */
type UnknownLease = Pick<LeaseReport, "slotId" | "epoch" | "versionId" | "address">;

/** The outcome of one request from those of its parts. */
export function joined(outcomes: readonly ReportOutcome[]): ReportOutcome {
  return {
    stored: outcomes.reduce((sum, { stored }) => sum + stored, 0),
    stale: outcomes.reduce((sum, { stale }) => sum + stale, 0),
    refused: outcomes.flatMap(({ refused }) => refused),
    records: outcomes.flatMap(({ records }) => records),
    unknown: outcomes.flatMap(({ unknown }) => unknown),
  };
}

export function storeReports(tx: Transaction, nodeId: string, reports: readonly LeaseReport[]): ReportOutcome {
  const refused: ReportRefusal[] = [];
  const records: KnownRecord[] = [];
  const unknown: UnknownLease[] = [];
  let stored = 0;
  for (const report of reports) {
    const { slotId, epoch, versionId, address } = report;
    const slot = tx.get("slots", slotId);
    const lease = slot?.leases.find((each) => sameEpoch(each.epoch, epoch));
    if (lease !== undefined && lease.nodeId !== nodeId && lease.nodeId !== "") {
      refused.push({ slotId, epoch, why: refusal(tx, slotId, epoch, lease.nodeId) });
    } else if (slot === undefined || lease === undefined || lease.nodeId === "" || isReleased(lease)) {
      unknown.push({ slotId, epoch, versionId, address });
    } else {
      if (report.record === undefined) records.push(knownRecord(slot, lease));
      if (storeReport(tx, slot, lease, report)) stored += 1;
    }
  }
  return { stored, stale: reports.length - stored - refused.length - unknown.length, refused, records, unknown };
}

function isReleased({ state }: Lease): boolean {
  return state === LeaseState.RELEASED;
}

/** What, why, what to do. */
function refusal(tx: Transaction, slotId: string, epoch: Epoch | undefined, holder: string): string {
  const name = tx.get("nodes", holder)?.description?.hostname ?? holder;
  return (
    `lease ${leaseKey(slotId, epoch)} is node ${name}'s (${holder}), and only that node's reports of it count; ` +
    `if two machines share a data folder, remove the copy`
  );
}

/** Whether anything was written. */
function storeReport(tx: Transaction, slot: Slot, lease: Lease, report: LeaseReport): boolean {
  const now = new Date(tx.now);
  const after = reportedSlot(slot, lease, report, now);
  const changed = Buffer.compare(Slot.encode(slot).finish(), Slot.encode(after).finish()) !== 0;
  if (changed) tx.update("slots", after);
  const ran = storeRuns(tx, slot, lease, report, now);
  return settleImage(tx, lease, report.imageDigest) || ran || changed;
}

/** The first image digest that a node reports of a version is used for all its tasks. */
function settleImage(tx: Transaction, lease: Lease, imageDigest: string): boolean {
  const version = tx.get("versions", lease.versionId);
  if (imageDigest === "" || !isStanding(lease) || version === undefined || version.imageDigest !== "") return false;
  tx.update("versions", { ...version, imageDigest });
  return true;
}

/**
 * L6, L10: stores the rows of the lease's last runs. At most one row is not ended, since a lease has one container.
 *
 * L7: runs are ordered by the report and by their numbers, never by the node's wall clock, which may be set back.
 */
function storeRuns(tx: Transaction, slot: Slot, lease: Lease, report: LeaseReport, now: Date): boolean {
  const reported = lastRuns(report).map((run) => ({ ...run, id: taskIdOf(idOf(slot), lease.epoch, run) }));
  const kept = rowsOf(tx, slot, lease);
  let changed = false;
  let newest = "";
  for (const [at, { id, life, run, status }] of reported.entries()) {
    const task = tx.get("tasks", id);
    const next = advanced(task?.status, status, now);
    if (next === undefined || (task === undefined && isForgotten(kept, { life, run }, next, reported.slice(at + 1))))
      continue;
    changed = true;
    if (task !== undefined) tx.update("tasks", { ...task, status: next });
    else {
      tx.create("tasks", runOf(slot, lease, { id, life, run }, next));
      if (at === reported.length - 1) newest = id;
    }
    if (next.state === TaskState.RUNNING && !(task !== undefined && isRunning(task)))
      emitStarted(tx, id, slot, lease.nodeId);
  }
  const released = report.state === LeaseReport_State.RELEASED;
  const rows = changed ? rowsOf(tx, slot, lease) : kept;
  // A new run is later than all stored ones.
  const over = released ? rows : newest === "" ? [] : rows.filter((row) => idOf(row) !== newest);
  for (const row of over.filter((each) => !hasEnded(each))) {
    tx.update("tasks", { ...row, status: endUnreported(row, released, now) });
    changed = true;
  }
  // Runs that the report leaves out are older than those in it.
  const older = rows.filter((row) => !reported.some(({ id }) => id === idOf(row)));
  const excess = Math.max(0, rows.length - reportLimits.runs);
  for (const row of older.slice(0, excess)) tx.delete("tasks", idOf(row));
  return changed;
}

/** Whether an ended run was stored and trimmed before: the rows are full, and one of them is of a later run. */
function isForgotten(
  kept: readonly Task[],
  { life, run }: RunKey,
  status: TaskStatus,
  later: readonly { readonly id: string }[],
): boolean {
  if (!hasEnded({ status }) || kept.length < reportLimits.runs) return false;
  return kept.some((row) => (row.life === life && row.run > run) || later.some(({ id }) => id === idOf(row)));
}

/** The rows of a lease, the oldest first. */
function rowsOf(tx: Transaction, slot: Slot, { epoch }: Lease): readonly Task[] {
  return tx
    .find("tasks", "slot", idOf(slot))
    .filter((task) => sameEpoch(task.epoch, epoch))
    .toSorted(compareTasks);
}

function runOf(
  slot: Slot,
  lease: Lease,
  { id, life, run }: { readonly id: string; readonly life: number; readonly run: number },
  status: TaskStatus,
): Task {
  const { serviceId, serviceName, key } = slot;
  const { epoch, nodeId, versionId } = lease;
  const meta = { id, version: 0, createdAt: undefined, updatedAt: undefined };
  return Task.fromPartial({
    meta,
    serviceId,
    serviceName,
    slotId: idOf(slot),
    slot: key,
    epoch,
    life,
    run,
    nodeId,
    versionId,
    status,
  });
}

/** The status of a run whose end was never reported, when its lease was released or a later run began. */
function endUnreported(task: Task, released: boolean, now: Date): TaskStatus {
  const { status } = task;
  const why = released ? "its lease was released" : "a later run of its lease has begun";
  if (!hasStarted(task) || released)
    return { ...(status ?? TaskStatus.create()), state: TaskState.SHUTDOWN, at: now, message: why, pending: undefined };
  const message = `${why}; how this one ended was not reported`;
  return { ...(status ?? TaskStatus.create()), state: TaskState.ORPHANED, at: now, message };
}

function emitStarted(tx: Transaction, objectId: string, slot: Slot, nodeId: string): void {
  tx.emit({
    kind: ObjectKind.TASK,
    objectId,
    objectName: slotName({ serviceName: slot.serviceName, slot: slot.key }),
    action: "started",
    message: `runs on ${tx.get("nodes", nodeId)?.description?.hostname ?? nodeId}`,
  });
}
