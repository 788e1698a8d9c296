/** Checks a node's reports of leases, and computes what is stored of them. Pure. */
import {
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  TaskState,
  SlotRecord,
  TaskStatus,
  type KnownRecord,
  type Lease,
  type RunEnd,
  type RunReport,
  type Slot,
} from "@warren/api";
import { idOf, isStanding, keyOfSlot, recordOf } from "@warren/api/model";

import { wrong } from "./errors.ts";

/** L10: limits of reports. */
export const reportLimits: {
  readonly leases: number;
  /** Bytes of one lease's report. */
  readonly leaseBytes: number;
  /** Newest runs of a lease that are stored. */
  readonly runs: number;
  /** Characters of a text that are stored. */
  readonly message: number;
  readonly code: number;
  readonly name: number;
} = Object.freeze({ leases: 1_000, leaseBytes: 65_536, runs: 5, message: 1_000, code: 100, name: 100 });

const digestForm = /^[a-z0-9]+:[0-9a-f]{32,128}$/;

/** @throws ApiError `API_INVALID`: nothing of the request is stored */
export function checkReports(reports: readonly LeaseReport[]): void {
  if (reports.length > reportLimits.leases)
    throw wrong("leases", `has ${reports.length} leases; send at most ${reportLimits.leases} in a request`);
  reports.forEach((report, at) => checkReport(report, `leases[${at}]`));
}

function checkReport(report: LeaseReport, path: string): void {
  const { slotId, epoch, state, runs, imageDigest } = report;
  const { length } = LeaseReport.encode(report).finish();
  if (length > reportLimits.leaseBytes)
    throw wrong(path, `has ${length} bytes; a lease's report has at most ${reportLimits.leaseBytes}`);
  if (keyOfSlot(slotId) === undefined) throw wrong(`${path}.slot_id`, "is no slot's id: want SERVICE_ID.KEY");
  if (epoch === undefined) throw wrong(`${path}.epoch`, "is missing");
  if (state < LeaseReport_State.OFFERED || state > LeaseReport_State.RELEASED)
    throw wrong(`${path}.state`, `is ${state}; want OFFERED, HELD, SETTLED, RELEASING or RELEASED`);
  if (imageDigest !== "" && !digestForm.test(imageDigest))
    throw wrong(`${path}.image_digest`, `is no digest: want sha256: and 64 of 0-9 and a-f`);
  runs.forEach(({ life, run, status }, index) => {
    const field = `${path}.runs[${index}]`;
    if (run < 1) throw wrong(`${field}.run`, "is 0; runs are counted from 1");
    // L6: the manager names the first run only.
    if (life === 0 && run !== 1) throw wrong(`${field}.life`, "is 0, which only run 1 has");
    if (status === undefined) throw wrong(`${field}.status`, "is missing");
    if (status.state < TaskState.ASSIGNED || status.state > TaskState.REJECTED)
      throw wrong(`${field}.status.state`, `is ${status.state}; a node reports states from ASSIGNED to REJECTED`);
  });
}

/** Bytes of reports in one transaction, whose command is about twice as large, since slots are written whole. */
const batchBytes = 1_000_000;

/** Splits the reports of a request into parts that each fit one command of the log. */
export function batchesOf(reports: readonly LeaseReport[]): LeaseReport[][] {
  const batches: LeaseReport[][] = [[]];
  let bytes = 0;
  for (const report of reports) {
    const { length } = LeaseReport.encode(report).finish();
    if (bytes > 0 && bytes + length > batchBytes) {
      batches.push([]);
      bytes = 0;
    }
    bytes += length;
    batches.at(-1)?.push(report);
  }
  return batches;
}

/** The runs of a report that are stored. */
export function lastRuns({ runs }: LeaseReport): readonly (RunReport & { readonly status: TaskStatus })[] {
  return runs.filter((run) => run.status !== undefined).slice(-reportLimits.runs) as (RunReport & {
    status: TaskStatus;
  })[];
}

/** The slot after a report of `lease`, one of its unreleased leases. */
export function reportedSlot(slot: Slot, lease: Lease, report: LeaseReport, now: Date): Slot {
  const after = { ...reportedLease(lease, report.state, now), record: reportedRecord(slot, lease, report) };
  const leases = slot.leases.map((each) => (each === lease ? after : each));
  return { ...slot, leases, settled: settledBy(slot, lease, report) };
}

/** L9: each lease has the record that its own node reported. */
function reportedRecord(slot: Slot, lease: Lease, { record, settled }: LeaseReport): SlotRecord | undefined {
  // A slot that is settled no more has begun anew, whatever its last lease had counted.
  const isOver = settled !== "" && slot.settled === "" && !isStanding(lease);
  return record === undefined || isOver ? lease.record : bounded(record);
}

/** L4, L11: the lease after a report by its own node. */
function reportedLease(lease: Lease, reported: LeaseReport_State, now: Date): Lease {
  switch (reported) {
    case LeaseReport_State.HELD:
      return { ...lease, wasHeld: true };
    case LeaseReport_State.RELEASING: {
      // L4: from now on it is not taken back. If it just was, the node had already begun to stop it.
      const since = lease.state === LeaseState.RELEASING ? lease.since : now;
      return { ...lease, state: LeaseState.RELEASING, releaseAcknowledged: true, since };
    }
    case LeaseReport_State.RELEASED:
      return { ...lease, state: LeaseState.RELEASED, since: now };
    default:
      return lease;
  }
}

/** L12: the stored record, for a worker that has lost its own. */
export function knownRecord(slot: Slot, lease: Lease): KnownRecord {
  const newest = slot.leases.findLast((each) => each.nodeId !== "" && (isStanding(each) || each.wasHeld));
  const record = recordOf(lease) ?? SlotRecord.create();
  return { slotId: idOf(slot), epoch: lease.epoch, record, settled: newest === lease ? slot.settled : "" };
}

/**
 * L4: why the rules allow no further run, or why the node refused the offer. The orchestrator then releases the lease.
 */
function settledBy(slot: Slot, lease: Lease, { state, settled }: LeaseReport): string {
  if (state !== LeaseReport_State.SETTLED || !isStanding(lease)) return slot.settled;
  return settled.slice(0, reportLimits.message) || "no further run is allowed; the node did not report why";
}

function bounded(record: SlotRecord): SlotRecord {
  return {
    ...record,
    bootId: record.bootId.slice(0, reportLimits.name),
    firstFailure: boundedEnd(record.firstFailure),
    lastEnd: boundedEnd(record.lastEnd),
  };
}

function boundedEnd(end: RunEnd | undefined): RunEnd | undefined {
  if (end === undefined) return undefined;
  return {
    ...end,
    taskId: end.taskId.slice(0, reportLimits.name),
    code: end.code.slice(0, reportLimits.code),
    message: end.message.slice(0, reportLimits.message),
  };
}

/**
 * The status to store after a report; undefined if nothing changes.
 *
 * States only move forward, and the first reported end stays. The same state may be reported again with more details.
 */
export function advanced(current: TaskStatus | undefined, reported: TaskStatus, now: Date): TaskStatus | undefined {
  const state = current?.state ?? TaskState.UNSPECIFIED;
  const isOrphan = state === TaskState.ORPHANED;
  if (isOrphan ? reported.state < TaskState.COMPLETE : reported.state < state) return undefined;
  if (state >= TaskState.COMPLETE && !isOrphan && reported.state !== state) return undefined;
  const container = completed(current?.container, reported.container);
  const next: TaskStatus = {
    ...reported,
    at: reported.at ?? now,
    message: reported.message.slice(0, reportLimits.message),
    code: reported.code.slice(0, reportLimits.code),
    container: container && {
      ...container,
      containerId: container.containerId.slice(0, reportLimits.name),
      address: container.address.slice(0, reportLimits.name),
      imageDigest: container.imageDigest.slice(0, 2 * reportLimits.name),
    },
    pending: undefined,
  };
  if (current === undefined) return next;
  return Buffer.compare(TaskStatus.encode(current).finish(), TaskStatus.encode(next).finish()) === 0 ? undefined : next;
}

type ReportedContainer = NonNullable<TaskStatus["container"]>;

/** L12: fields that a worker lost with its record stay as they were reported before. */
function completed(
  known: ReportedContainer | undefined,
  reported: ReportedContainer | undefined,
): ReportedContainer | undefined {
  if (known === undefined || reported === undefined) return reported ?? known;
  return {
    ...reported,
    containerId: reported.containerId || known.containerId,
    address: reported.address || known.address,
    imageDigest: reported.imageDigest || known.imageDigest,
    startedAt: reported.startedAt ?? known.startedAt,
  };
}
