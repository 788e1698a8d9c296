/**
 * L9: which record a lease goes on from. Each lease has its own, as its node reported it; so that of the task that runs
 * is not lost while another lease is tried beside it.
 */
import type { Lease, Slot, SlotRecord, Version } from "@warren/api";
import { recordedLease, recordOf, sameEpoch } from "@warren/api/model";
import { emptyRecord, withRunCounts } from "@warren/slot";
import { sameMake } from "./settings.ts";

/**
 * The record with which `lease` is offered: that of the slot's runs, with the rejections of what was tried last. Another
 * version counts from the beginning, but for the runs.
 */
export function recordFor({ leases }: Slot, lease: Lease, versionOf: (id: string) => Version | undefined): SlotRecord {
  const earlier = leases.filter((each) => each.nodeId !== "" && !sameEpoch(each.epoch, lease.epoch));
  const isSame = (each: Lease | undefined): each is Lease =>
    each !== undefined && sameMake(versionOf(each.versionId), versionOf(lease.versionId));
  const runs = Math.max(0, ...earlier.map((each) => recordOf(each)?.runs ?? 0));
  const [counted, last] = [recordedLease({ leases: earlier }), earlier.at(-1)];
  // One that was tried beside the current one, and has run, went on from that one's record.
  const from = isSame(last) && (last.wasHeld || !isSame(counted)) ? last : isSame(counted) ? counted : undefined;
  const record = recordOf(from) ?? emptyRecord();
  const { rejections } = isSame(last) ? (recordOf(last) ?? record) : record;
  return { ...record, runs, rejections, firstFailure: undefined };
}

/** `lease` as it is held: with the counts of runs that there were while it was only offered. */
export function withCounts(slot: Slot, lease: Lease, versionOf: (id: string) => Version | undefined): Lease {
  const counts = recordFor(slot, lease, versionOf);
  return {
    ...lease,
    initialRecord: withRunCounts(lease.initialRecord ?? emptyRecord(), counts),
    record: lease.record && withRunCounts(lease.record, counts),
  };
}
