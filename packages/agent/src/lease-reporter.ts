import { LeaseReport_State, type KnownRecord, type LeaseReport, type ReportResponse } from "@warren/api";
import { Changes, type Clock, type Logger } from "@warren/std";
import type { LocalRecord } from "./local-record.ts";
import { within } from "./waiting.ts";

/** Reports in one request; a request of gRPC holds 4 MiB, and a report is a few kB (L10). */
const batchReports = 200;

/** Runs in a report. */
const reportedRuns = 5;

/** The longest that a report waits for the record to be written, ms. */
const writeWaitMs = 5_000;

/**
 * Leases whose state is to be reported: the newest state of each, sent again until a manager has stored it.
 *
 * A state is on disk before it is reported, so that the next worker reports nothing else; but a disk that can't be
 * written delays a report by `writeWaitMs` at most.
 */
export class LeaseReporter {
  readonly #record: LocalRecord;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** By lease key: the count of its last change. */
  readonly #waiting = new Map<string, number>();
  readonly #changes = new Changes();
  readonly #acknowledged: (key: string, report: LeaseReport) => void;
  readonly #known: (record: KnownRecord) => void;
  #count = 0;

  /**
   * @param acknowledged called when a manager has stored a report
   * @param known called with a record that this node has lost and a manager has
   */
  constructor(
    { record, clock, log }: { readonly record: LocalRecord; readonly clock: Clock; readonly log: Logger },
    acknowledged: (key: string, report: LeaseReport) => void,
    known: (record: KnownRecord) => void,
  ) {
    this.#record = record;
    this.#clock = clock;
    this.#log = log;
    this.#acknowledged = acknowledged;
    this.#known = known;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Call when a lease has changed: it is reported. */
  push(key: string): void {
    if (this.#record.leases.get(key)?.local.foreign === true) return;
    // Deleted first, so that the map is in the order of changes.
    this.#waiting.delete(key);
    this.#waiting.set(key, (this.#count += 1));
    this.#changes.notify();
  }

  /** Call when a lease is forgotten: it is no longer reported. */
  drop(key: string): void {
    this.#waiting.delete(key);
  }

  /**
   * Sends reports, one batch at a time, until the signal aborts or `send` fails. Reports that were not acknowledged
   * wait for the next call.
   */
  async run(send: (reports: LeaseReport[]) => Promise<ReportResponse>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#changes.until(() => (this.#waiting.size > 0 ? true : undefined), signal);
      const batch = [...this.#waiting].slice(0, batchReports);
      const reports = batch.map(([key]) => reportOf(this.#record, key));
      if (!(await within(this.#clock, writeWaitMs, this.#record.durable(signal), signal)))
        this.#log.warn("leases are reported although their state is not on disk");
      const { refused, records } = await send(reports.filter((report) => report !== undefined));
      // L10: another node has the lease. This node goes on as assigned, and reports again only after a change.
      for (const { slotId, why } of refused)
        this.#log.error("a manager refuses the report of a lease", { slotId, why });
      batch.forEach(([key, count], index) => {
        if (this.#waiting.get(key) === count) this.#waiting.delete(key);
        const report = reports[index];
        if (report !== undefined) this.#acknowledged(key, report);
      });
      for (const record of records) this.#known(record);
    }
  }
}

/** The report of a lease; undefined if it is forgotten. Bounded: counts, two ends and the last few runs (L10). */
function reportOf(record: LocalRecord, key: string): LeaseReport | undefined {
  const lease = record.leases.get(key);
  if (lease === undefined) return undefined;
  const { slotId, epoch, versionId, address, imageDigest = "", settled = "", stage, held, recordLost } = lease.local;
  const state =
    stage === "released"
      ? LeaseReport_State.RELEASED
      : stage === "releasing"
        ? LeaseReport_State.RELEASING
        : settled !== ""
          ? LeaseReport_State.SETTLED
          : held === true
            ? LeaseReport_State.HELD
            : LeaseReport_State.OFFERED;
  const runs = record.runsOf(key).slice(-reportedRuns);
  return {
    slotId,
    epoch,
    state,
    record: recordLost === true ? undefined : lease.record,
    runs: runs.map(({ local: { life, run }, status }) => ({ life, run, status })),
    settled,
    versionId,
    address,
    imageDigest,
  };
}
