/**
 * When a task that ended is followed by another, and when that one may start.
 *
 * A slot's record travels from task to task, so that a decision needs nothing but the task that ended.
 */
import { RestartPolicy_Condition, TaskState, type RestartPolicy, type SlotRecord, type Task } from "@warren/api";
import { hasEnded, remaining, runOf, stateOf, stateSince } from "./task.ts";

/** From the end of a task to the start of the next in its slot, ms, where the policy names none. */
export const defaultRestartDelayMs = 5_000;

/** The first wait after a rejection, ms: the policy's delay, but no less than this. It doubles with each in a row. */
const rejectionBaseMs = 1_000;

/** No rejected task waits longer than this, ms, unless the policy's own delay is longer. */
const rejectionMaxMs = 300_000;

export type RestartDecision =
  | {
      readonly kind: "restart";
      /** Of the task that follows. */
      readonly record: SlotRecord;
      /** How long from now until it may start, ms; 0: at once. */
      readonly waitMs: number;
      /** Whether its image may be pulled meanwhile: not if that is what went wrong. */
      readonly prepare: boolean;
    }
  | { readonly kind: "settled"; readonly why: string };

/**
 * What follows a task that has ended without being told to.
 *
 * - REJECTED: its container never ran, so no condition and no limit of attempts speaks against another try; it comes
 *   after a back-off of delay × 2ⁿ, at most five minutes, plus up to a tenth so that many do not return together.
 * - ORPHANED, or SHUTDOWN without being asked: lost, not failed; replaced whatever the policy, and not counted.
 * - COMPLETE and FAILED: as the policy says. Restarts are counted from the first in a window; once the window is over
 *   counting begins anew, as systemd's start limit does it.
 *
 * @param chance in `[0, 1)`
 */
export function decideRestart(
  policy: RestartPolicy | undefined,
  ended: Task,
  now: number,
  chance: number,
): RestartDecision {
  const endedAt = stateSince(ended, now);
  const record = nextRecord(ended);
  const delayMs = policy?.delayMs ?? defaultRestartDelayMs;
  const restart = (delayMs: number, changes: Partial<SlotRecord>, prepare = true): RestartDecision => ({
    kind: "restart",
    waitMs: remaining(endedAt, delayMs, now),
    prepare,
    record: { ...record, ...changes, startAt: delayMs > 0 ? new Date(endedAt + delayMs) : undefined },
  });

  switch (stateOf(ended)) {
    case TaskState.REJECTED: {
      const rejections = record.rejections + 1;
      const step = rejectionDelay(delayMs, rejections);
      return restart(Math.round(step * (1 + chance / 10)), { rejections }, false);
    }
    case TaskState.ORPHANED:
      return restart(0, {});
    case TaskState.SHUTDOWN:
      return restart(delayMs, {});
    default:
  }

  const condition = policy?.condition ?? RestartPolicy_Condition.UNSPECIFIED;
  const completed = stateOf(ended) === TaskState.COMPLETE;
  if (condition === RestartPolicy_Condition.NONE) return settled("its restart policy is none");
  if (completed && condition === RestartPolicy_Condition.ON_FAILURE)
    return settled("it completed, and its restart policy is on-failure");

  const counted = countRestart(policy, record, endedAt);
  if (counted === undefined) {
    const window = policy?.windowMs ?? 0;
    const within = window > 0 ? ` within ${durationText(window)}` : "";
    return settled(`it was restarted ${times(policy?.maxAttempts ?? 0)}${within}, as often as its policy allows`);
  }
  return restart(delayMs, { ...counted, rejections: 0 });
}

/** The delay of the `rejections`th try in a row, ms, without its share of chance. */
export function rejectionDelay(delayMs: number, rejections: number): number {
  const base = Math.max(delayMs, rejectionBaseMs);
  return Math.min(base * 2 ** Math.min(rejections - 1, 30), Math.max(rejectionMaxMs, base));
}

/** The record of the task that follows `task` where nothing is to be counted. */
export function nextRecord(task: Task | undefined): SlotRecord {
  return {
    run: task === undefined ? 1 : runOf(task) + 1,
    restarts: task?.record?.restarts ?? 0,
    countedSince: task?.record?.countedSince,
    rejections: task?.record?.rejections ?? 0,
    startAt: undefined,
    settled: "",
  };
}

/** Undefined where no restart is left. */
function countRestart(
  policy: RestartPolicy | undefined,
  record: SlotRecord,
  at: number,
): Pick<SlotRecord, "restarts" | "countedSince"> | undefined {
  const attempts = policy?.maxAttempts ?? 0;
  const windowMs = policy?.windowMs ?? 0;
  const since = record.countedSince?.getTime();
  const expired = windowMs > 0 && since !== undefined && at - since >= windowMs;
  if (since === undefined || expired) return { restarts: 1, countedSince: new Date(at) };
  if (attempts > 0 && record.restarts >= attempts) return undefined;
  return { restarts: record.restarts + 1, countedSince: record.countedSince };
}

/** How a task ended, for people: `failed with exit code 1`, `was rejected: there is no image x`. */
export function endText(task: Task): string {
  const { message = "", container } = task.status ?? {};
  const reason = message === "" ? "" : `: ${message}`;
  if (container?.oomKilled === true) return `ran out of memory${reason}`;
  switch (stateOf(task)) {
    case TaskState.COMPLETE:
      return "completed";
    case TaskState.REJECTED:
      return `was rejected${reason}`;
    case TaskState.ORPHANED:
      return `was lost with its node${reason}`;
    case TaskState.SHUTDOWN:
      return `was shut down by its node${reason}`;
    case TaskState.FAILED: {
      const code = container?.exitCode;
      return code === undefined || message.includes("exit code")
        ? `failed${reason}`
        : `failed with exit code ${code}${reason}`;
    }
    default:
      return hasEnded(task) ? "ended" : "runs";
  }
}

/** `5 s`, `2 min`, `300 ms`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)} ms`;
  if (ms < 120_000) return `${Math.ceil(ms / 1_000)} s`;
  return `${Math.ceil(ms / 60_000)} min`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

function settled(why: string): RestartDecision {
  return { kind: "settled", why };
}
