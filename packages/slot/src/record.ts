/**
 * A slot's record: counts of its runs and restarts, and the times that restart decisions need, without a wall clock.
 *
 * R1: a record's times are relative to one moment of one boot, `(boot_id, boot_ms)`; the wall clock is never read (L7).
 * R2: time without power does not count in a window, and ends a wait (L7).
 */
import type { SlotRecord } from "@warren/api";
import type { BootTime } from "@warren/std";

/** The record of a slot that has had no run. */
export function emptyRecord(): SlotRecord {
  return {
    runs: 0,
    restarts: 0,
    windowMs: 0,
    waitMs: 0,
    bootId: "",
    bootMs: 0,
    failures: 0,
    rejections: 0,
    firstFailure: undefined,
    lastEnd: undefined,
    shortRuns: 0,
  };
}

/** The record after the start of a run: one run more is counted, and no wait is left. */
export function recordStart(record: SlotRecord, now: BootTime): SlotRecord {
  return { ...recordAt(record, now), runs: record.runs + 1, waitMs: 0 };
}

/**
 * The same record, with its times as of `now`.
 *
 * Written to disk from time to time it is a checkpoint: a reboot takes from a window at most the uptime since the last one.
 */
export function recordAt(record: SlotRecord, now: BootTime): SlotRecord {
  return {
    ...record,
    windowMs: windowElapsed(record, now),
    waitMs: remainingWait(record, now),
    bootId: now.bootId,
    bootMs: now.elapsedMs,
  };
}

/**
 * The record as a node takes it over from the managers: another machine's boot clock means nothing here, so no time has
 * passed since the record was reported, and a wait is over.
 */
export function adoptRecord(record: SlotRecord, now: BootTime): SlotRecord {
  if (record.bootId === now.bootId) return recordAt(record, now);
  return { ...record, waitMs: 0, bootId: now.bootId, bootMs: now.elapsedMs };
}

/**
 * `record` with the counts of `from`, which are those of runs: how many there were, their restarts within the window, and
 * how many failed or were short. What a lease has of its own before it may run stays: its rejections, and the wait after
 * the last.
 */
export function withRunCounts(record: SlotRecord, from: SlotRecord): SlotRecord {
  const { runs, restarts, windowMs, bootId, bootMs, failures, shortRuns } = from;
  const waitMs = record.bootId === bootId ? record.waitMs : 0;
  return { ...record, runs, restarts, windowMs, waitMs, bootId, bootMs, failures, shortRuns };
}

/**
 * How long the window in which restarts are counted has lasted, in boot time, ms; 0 while there is none.
 *
 * After a reboot: its length when it was last recorded, and the time since the new boot began.
 */
export function windowElapsed(record: SlotRecord, now: BootTime): number {
  return record.restarts === 0 ? 0 : record.windowMs + elapsedSince(record, now);
}

/** How much of the present wait is left, ms; 0 once it is over, and after a reboot. */
export function remainingWait(record: SlotRecord, now: BootTime): number {
  // R2: a machine that was off has waited long enough.
  return record.bootId === now.bootId ? Math.max(0, record.waitMs - elapsedSince(record, now)) : 0;
}

function elapsedSince({ bootId, bootMs }: SlotRecord, now: BootTime): number {
  return bootId === now.bootId ? Math.max(0, now.elapsedMs - bootMs) : now.elapsedMs;
}
