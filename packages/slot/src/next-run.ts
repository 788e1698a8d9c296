/**
 * The restart decision: whether a run is followed by another under the same lease, and when that one may start.
 *
 * The decision needs nothing but the record and the end, so that it is the same on a worker that has no manager (L6).
 */
import { RestartPolicy_Condition as Condition, type RestartPolicy, type RunEnd, type SlotRecord } from "@warren/api";
import { defaultRestartDelayMs } from "@warren/api/model";
import type { BootTime, Random } from "@warren/std";
import { recordAt, windowElapsed } from "./record.ts";
import { durationText } from "./text.ts";

/** A run that ended sooner after its start, ms, is short, whatever its outcome. */
export const shortRunMs = 10_000;

/** After a run that lasted at least this long, ms, failures in a row are counted from 0 again. */
export const steadyRunMs = 300_000;

/** Least waits after short runs in a row, ms: the first, then doubled with each further run, up to the second. */
const shortRunFloor = { firstMs: 100, mostMs: 5_000 } as const;

/** The wait after a rejection, ms: the policy's delay, but no less than the first; doubled with each further rejection, up to the second. */
const rejection = { firstMs: 1_000, mostMs: 300_000 } as const;

export type NextRun =
  | {
      readonly kind: "run";
      /** From `now` to the start of the next run, ms; `record` has it too. */
      readonly waitMs: number;
      readonly record: SlotRecord;
    }
  | {
      /** The lease is settled: its restart policy allows no further run. */
      readonly kind: "settled";
      /** The reason, as a clause that continues "it is not restarted, since". */
      readonly why: string;
      readonly record: SlotRecord;
    };

/**
 * What follows a run that ended though its lease was held.
 *
 * - By the machine (power cut, reboot): run again at once, whatever the policy; nothing is counted.
 * - Rejected: it never ran, so neither the policy's condition nor its limit of attempts applies. The wait is
 *   `delay × 2ⁿ`, at least 1 s and at most 5 min, plus up to a tenth, so that many slots do not retry together.
 * - Else the policy decides. Restarts count from the first in a window; once the window is over, counting begins anew.
 *   The wait is the policy's delay, and after short runs in a row no less than 100 ms, doubled with each up to 5 s.
 *
 * @param record as it was while the run lasted
 * @param end its `ranMs` is the run's length in boot time
 * @param now when the end was noticed
 */
export function nextRun(
  policy: RestartPolicy | undefined,
  record: SlotRecord,
  end: RunEnd,
  now: BootTime,
  random: Random,
): NextRun {
  const before = { ...recordAt(record, now), lastEnd: end, waitMs: 0 };
  // L7: an end by the machine is no failure of the run and uses up no attempt.
  if (end.byMachine) return { kind: "run", waitMs: 0, record: before };

  const after = counted(policy, before, end);
  const delayMs = policy?.delayMs ?? defaultRestartDelayMs;
  if (end.rejected)
    return run(after, Math.round(rejectionDelayMs(delayMs, after.rejections) * (1 + random.next() / 10)));

  const condition = conditionOf(policy);
  if (condition === Condition.NONE) return { kind: "settled", why: "its restart policy is none", record: after };
  if (end.complete && condition === Condition.ON_FAILURE)
    return { kind: "settled", why: "it completed, and its restart policy is on-failure", record: after };

  const restarts = countRestart(policy, after, now);
  if (restarts === undefined) return { kind: "settled", why: attemptsText(policy), record: after };
  return run({ ...after, ...restarts }, Math.max(delayMs, shortRunFloorMs(after.shortRuns)));
}

/**
 * Whether an end counts as a failure of the version: the run was rejected, it failed, or it completed though its policy
 * keeps it running.
 */
export function isFailure(policy: RestartPolicy | undefined, end: RunEnd): boolean {
  if (end.byMachine) return false;
  return !end.complete || conditionOf(policy) === Condition.ANY;
}

/** The wait before the try that follows the `count`th rejection in a row, ms, without its random part. */
export function rejectionDelayMs(delayMs: number, count: number): number {
  return doubled(Math.max(delayMs, rejection.firstMs), count, Math.max(rejection.mostMs, delayMs));
}

/** The least wait after `count` short runs in a row, ms; 0 after none. */
export function shortRunFloorMs(count: number): number {
  return count === 0 ? 0 : doubled(shortRunFloor.firstMs, count, shortRunFloor.mostMs);
}

function run(record: SlotRecord, waitMs: number): NextRun {
  return { kind: "run", waitMs, record: { ...record, waitMs } };
}

/** The counts in a row, with `end` counted. */
function counted(policy: RestartPolicy | undefined, record: SlotRecord, end: RunEnd): SlotRecord {
  const firstFailure = record.firstFailure ?? (isFailure(policy, end) ? end : undefined);
  if (end.rejected) return { ...record, firstFailure, rejections: record.rejections + 1 };
  const begun = end.ranMs >= steadyRunMs ? 0 : record.failures;
  return {
    ...record,
    firstFailure,
    rejections: 0,
    failures: end.complete ? 0 : begun + 1,
    shortRuns: end.ranMs < shortRunMs ? record.shortRuns + 1 : 0,
  };
}

/** Undefined where no restart is left. */
function countRestart(
  policy: RestartPolicy | undefined,
  record: SlotRecord,
  now: BootTime,
): Pick<SlotRecord, "restarts" | "windowMs"> | undefined {
  const { maxAttempts = 0, windowMs = 0 } = policy ?? {};
  const elapsed = windowElapsed(record, now);
  if (record.restarts === 0 || (windowMs > 0 && elapsed >= windowMs)) return { restarts: 1, windowMs: 0 };
  if (maxAttempts > 0 && record.restarts >= maxAttempts) return undefined;
  return { restarts: record.restarts + 1, windowMs: elapsed };
}

function attemptsText({ maxAttempts = 0, windowMs = 0 }: Partial<RestartPolicy> = {}): string {
  const times = maxAttempts === 1 ? "once" : `${maxAttempts} times`;
  const within = windowMs > 0 ? ` within ${durationText(windowMs)}` : "";
  return `it was restarted ${times}${within}, as often as its policy allows`;
}

function conditionOf(policy: RestartPolicy | undefined): Condition {
  const condition = policy?.condition ?? Condition.UNSPECIFIED;
  return condition === Condition.UNSPECIFIED ? Condition.ANY : condition;
}

/** `firstMs`, doubled for each but the first, at most `mostMs`. */
function doubled(firstMs: number, count: number, mostMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(Math.max(0, count - 1), 30), mostMs);
}
