/** Follows a service until its tasks are as wanted. The decision is pure; the driver reads a watch. */
import { delay, systemClock, type Clock } from "@warren/std";
import {
  ApiError,
  RestartPolicy_Condition,
  TaskState,
  UpdateStatus_State,
  type Service,
  type Task,
  type UpdateStatus,
  type WatchResponse,
} from "@warren/api";
import { compareSlotKeys, hasEnded, isMeantToRun, isRunning, slotName, stateOf } from "@warren/api/model";
import { formatAge, formatDuration } from "../units.ts";
import { stateName } from "../views.ts";
import { slotRows, type Frame } from "./slot-rows.ts";

/** Ends of tasks of one slot that are alike, one after the other. */
interface FailureRun {
  readonly task: Task;
  readonly text: string;
  readonly count: number;
}

/** What is known of a service while it converges. */
export interface Observed {
  service: Service | undefined;
  readonly tasks: Map<string, Task>;
  /** All that was there has been sent. */
  synced: boolean;
  /** An update was seen under way: if the service is rolled back after that, it is not what was asked for. */
  updating: boolean;
  /** Since when a task runs, by this machine's clock. */
  readonly runsSince: Map<string, number>;
  /** Since when a task is to stop, by this machine's clock. */
  readonly stopsSince: Map<string, number>;
  /** Tasks whose end was counted, or happened before anybody looked. */
  readonly ended: Set<string>;
  /** By slot. */
  readonly failures: Map<string, FailureRun>;
}

export function nothingObserved(): Observed {
  return {
    service: undefined,
    tasks: new Map(),
    synced: false,
    updating: false,
    runsSince: new Map(),
    stopsSince: new Map(),
    ended: new Set(),
    failures: new Map(),
  };
}

export type Progress =
  /** `recheckMs`: nothing has to change for it to be done then. */
  | (Told & { readonly kind: "waiting"; readonly recheckMs?: number })
  | (Told & { readonly kind: "converged" })
  | (Told & { readonly kind: "stopped" })
  | (Told & { readonly kind: "gone" });

interface Told {
  /** All of it, for the line with which a command ends. */
  readonly text: string;
  /** The counts alone: each slot has a row of its own beside it. @default text */
  readonly brief?: string;
  /** What is worth a line of a log: no step that a task takes on its way. @default text */
  readonly line?: string;
}

/** Takes one message of a watch in. @returns a task that ended badly now, unlike the one before it in its slot */
export function observe(observed: Observed, { message }: WatchResponse, now: number = Date.now()): Task | undefined {
  if (message?.$case === "synced") observed.synced = true;
  if (message?.$case !== "change") return undefined;
  const { object, deleted } = message.value;
  if (object?.$case === "service") {
    observed.service = deleted ? undefined : object.value;
    if (currentUpdate(object.value)?.state === UpdateStatus_State.UPDATING) observed.updating = true;
  }
  if (object?.$case !== "task") return undefined;
  const id = object.value.meta?.id ?? "";
  if (deleted) {
    observed.tasks.delete(id);
    return undefined;
  }
  observed.tasks.set(id, object.value);
  return observeTask(observed, id, object.value, now);
}

function observeTask(observed: Observed, id: string, task: Task, now: number): Task | undefined {
  if (task.desiredState >= TaskState.SHUTDOWN && !hasEnded(task) && !observed.stopsSince.has(id))
    observed.stopsSince.set(id, now);
  if (isRunning(task) && !observed.runsSince.has(id)) {
    // What ran before anybody looked has run since then, as its node's clock has it.
    const since = observed.synced ? now : Math.min(now, task.status?.at?.getTime() ?? now);
    observed.runsSince.set(id, since);
  }
  if (!hasEnded(task) || observed.ended.has(id)) return undefined;
  observed.ended.add(id);
  if (!observed.synced || !task.upToDate || !endedBadly(observed.service, task)) return undefined;
  const text = endText(task);
  const before = observed.failures.get(task.slotId);
  const count = before?.text === text ? before.count + 1 : 1;
  observed.failures.set(task.slotId, { task, text, count });
  return count === 1 ? task : undefined;
}

/** It failed, or ended though it should go on running. */
function endedBadly(service: Service | undefined, task: Task): boolean {
  const state = stateOf(task);
  if (state === TaskState.COMPLETE) return service?.spec?.task?.restart?.condition === RestartPolicy_Condition.ANY;
  return state === TaskState.FAILED || state === TaskState.REJECTED;
}

/** `ended with exit code 1`, `can't be started: no such image`. */
function endText({ status }: Task): string {
  const { state, message = "", container } = status ?? {};
  if (container?.oomKilled === true) return "ran out of memory and was killed";
  if (state === TaskState.REJECTED) return `can't be started${message === "" ? "" : `: ${message}`}`;
  const code = container?.exitCode;
  const why = message === "" || (code !== undefined && message.includes("exit code")) ? "" : `: ${message}`;
  return code === undefined ? `failed${why}` : `ended with exit code ${code}${why}`;
}

/** The update to the version that is wanted now; what is told of an older one no longer holds. */
function currentUpdate({ updateStatus, versionId }: Service): UpdateStatus | undefined {
  return updateStatus?.versionId === versionId ? updateStatus : undefined;
}

/** Failures alike in a row, in one slot, after which waiting on is of no use. */
const hopelessAfter = 3;

/**
 * Where a service stands: how many of its tasks run as its spec has it now, and why the next one does not. A task counts
 * as done once it is healthy or, without a health check, has run for the update's monitor.
 */
export function progress(observed: Observed, now: number = Date.now()): Progress {
  const { service, tasks, synced, updating } = observed;
  if (!synced) return { kind: "waiting", text: "asking" };
  if (service?.spec === undefined) return { kind: "gone", text: "the service is gone" };
  const { name } = service.spec;
  const all = [...tasks.values()];
  const live = all.filter(isMeantToRun);
  const wanted = service.spec.mode?.value.replicas ?? 0;
  const current = live.filter(({ upToDate }) => upToDate);
  const running = current.filter(isRunning);
  const settled = all.filter((task) => task.upToDate && task.settled !== "");
  const completed = settled.filter((task) => stateOf(task) === TaskState.COMPLETE);
  const update = currentUpdate(service);
  const old = new Set(live.filter((task) => !task.upToDate && isRunning(task)).map(({ slotId }) => slotId)).size;
  const text = `${name}: ${countText({ wanted, running: running.length, completed: completed.length, old })}`;
  const stopped = (why: string): Progress => ({ kind: "stopped", text: `${text}; ${why}`, brief: text });
  if (update?.state === UpdateStatus_State.PAUSED || update?.state === UpdateStatus_State.ROLLBACK_PAUSED)
    return stopped(update.message || "the update stopped");
  const rolling = update?.state === UpdateStatus_State.UPDATING || update?.state === UpdateStatus_State.ROLLING_BACK;
  const hopeless = [...observed.failures.values()].find(({ count }) => count >= hopelessAfter);
  if (hopeless !== undefined) {
    const which = `${slotName(hopeless.task)} ${hopeless.text}, ${hopeless.count} times in a row`;
    // Where restarts are limited, whether it is depends on what the node counts.
    const goesOn = (service.spec.task?.restart?.maxAttempts ?? 0) === 0;
    return stopped(`${which}${goesOn ? ", and is tried again" : ""}`);
  }
  if (running.length + settled.length < wanted || live.length + settled.length !== wanted || rolling) {
    const why = laggard(all, current);
    if (why === undefined) return { kind: "waiting", text };
    const line = why.trouble === undefined ? text : `${text}; ${why.trouble}`;
    return { kind: "waiting", text: `${text}; ${why.text}`, brief: text, line };
  }
  if (updating && update?.state === UpdateStatus_State.ROLLED_BACK)
    return stopped(`rolled back: ${update.cause || update.message}`);
  const failed = settled.find((task) => stateOf(task) !== TaskState.COMPLETE);
  if (failed !== undefined) {
    return stopped(`${slotName(failed)} ${endText(failed)} and is not started again, since ${failed.settled}`);
  }
  return watched(observed, running, service, text, now);
}

/** All tasks run: done once each has run for the monitor, since one that ends at once runs for a moment too. */
function watched(observed: Observed, running: readonly Task[], service: Service, text: string, now: number): Progress {
  const monitorMs = service.spec?.update?.monitorMs ?? 0;
  const isChecked = service.spec?.task?.container?.healthCheck !== undefined;
  const newest = Math.max(...running.map(({ meta }) => observed.runsSince.get(meta?.id ?? "") ?? 0));
  const leftMs = newest + monitorMs - now;
  if (isChecked || running.length === 0 || leftMs <= 0) return { kind: "converged", text };
  return { kind: "waiting", text: `${text}; watching for ${formatDuration(monitorMs)}`, recheckMs: leftMs };
}

interface Counts {
  readonly wanted: number;
  /** As the spec has it now. */
  readonly running: number;
  readonly completed: number;
  /** Slots in which one of an older version runs. */
  readonly old: number;
}

/** `2 of 3 tasks running`; while an update goes on, `2 of 5 updated; the old 3 keep running`. */
function countText({ wanted, running, completed, old }: Counts): string {
  const tasks = `task${wanted === 1 ? "" : "s"}`;
  if (old > 0) return `${running} of ${wanted} updated; the old ${old} keep${old === 1 ? "s" : ""} running`;
  if (completed === 0) return `${running} of ${wanted} ${tasks} running`;
  return running === 0
    ? `${completed} of ${wanted} ${tasks} completed`
    : `${running} of ${wanted} ${tasks} running, ${completed} completed`;
}

/** How far the tasks of a service that was deleted are. */
export function deletion(name: string): (observed: Observed) => Progress {
  return ({ tasks, synced }) => {
    if (!synced) return { kind: "waiting", text: "asking" };
    const left = [...tasks.values()].filter((task) => !hasEnded(task)).length;
    return left === 0
      ? { kind: "gone", text: `${name}: deleted` }
      : { kind: "waiting", text: `${name}: ${left} task${left === 1 ? "" : "s"} left to stop` };
  };
}

interface Laggard {
  readonly text: string;
  /** Why it is not only on its way, without what changes from one try to the next. */
  readonly trouble: string | undefined;
}

/** What the slowest task is at: the newest failure where the slots' tasks fail, else the one that is least far. */
function laggard(all: readonly Task[], current: readonly Task[]): Laggard | undefined {
  const behind = current
    .filter((task) => !isRunning(task))
    .toSorted((a, b) => stateOf(a) - stateOf(b) || compareSlotKeys(a.slot, b.slot));
  const [slowest] = behind;
  if (slowest === undefined) return undefined;
  const failed = all
    .filter(({ status, slotId }) => slotId === slowest.slotId && failure(status?.state))
    .toSorted((a, b) => (b.status?.at?.getTime() ?? 0) - (a.status?.at?.getTime() ?? 0))
    .at(0);
  const at = `${slotName({ serviceName: slowest.serviceName, slot: slowest.slot })} ${stateName(slowest.status?.state)}`;
  const message = slowest.status?.message ?? "";
  const ended = failed?.status?.message;
  const before = ended === undefined || ended === message ? "" : `; the one before: ${ended}`;
  const waits = slowest.status?.pending === undefined ? undefined : `waits: ${message}`;
  const trouble = ended === undefined ? waits : `${stateName(failed?.status?.state)}: ${ended}`;
  return {
    text: `${at}${message === "" ? "" : ` (${message})`}${before}`,
    trouble: trouble === undefined ? undefined : `${slotName(slowest)} ${trouble}`,
  };
}

function failure(state: TaskState | undefined): boolean {
  return state === TaskState.FAILED || state === TaskState.REJECTED;
}

/** Where progress is shown. */
export interface ProgressOutput {
  /** A line for each change that matters. */
  show(text: string): void;
  /** In its place where what was shown can be drawn over, also as time goes on. */
  readonly frame?: (frame: Frame) => void;
  /** Lines that stay. */
  note(text: string): void;
  /** @param text takes the place of the last frame; undefined: that stays */
  end(text?: string): void;
}

/** Frames are drawn again after this long, for the times in them, ms. */
const frameMs = 1_000;

export interface FollowOptions {
  readonly judge?: (observed: Observed, now: number) => Progress;
  /** The last lines that a task wrote; empty where they can't be had. */
  readonly lastLines?: (task: Task) => Promise<readonly string[]>;
  readonly clock?: Clock;
}

/**
 * Reads `watch` until the service has converged, stopped or gone, as `judge` says.
 *
 * @returns the last progress; `waiting` if the watch ended first
 */
export async function follow(
  watch: AsyncIterable<WatchResponse>,
  output: ProgressOutput,
  { judge = progress, lastLines, clock = systemClock }: FollowOptions = {},
): Promise<Progress> {
  const observed = nothingObserved();
  const begun = clock.now();
  const shown = new Set<string>();
  let last: Progress = { kind: "waiting", text: "asking" };
  const look = (): boolean => {
    const now = clock.now();
    last = judge(observed, now);
    if (observed.synced) draw(output, observed, last, { now, elapsedMs: now - begun }, shown);
    return last.kind !== "waiting";
  };
  const messages = watch[Symbol.asyncIterator]();
  let next: Promise<IteratorResult<WatchResponse>> | undefined;
  try {
    for (;;) {
      next ??= messages.next();
      const message = await beforeRecheck(next, recheckOf(last, output), clock);
      if (message !== "recheck") {
        next = undefined;
        if (message.done === true) break;
        const ended = observe(observed, message.value, clock.now());
        if (ended !== undefined) output.note(await endNote(ended, lastLines));
      }
      if (look()) break;
    }
  } catch (error) {
    if (ApiError.is(error, "API_NOT_FOUND"))
      last = judge({ ...observed, service: undefined, synced: true }, clock.now());
    else if (!ApiError.is(error, "API_CANCELLED")) throw error;
  } finally {
    output.end(output.frame === undefined ? undefined : doneText(last, clock.now() - begun));
    // A message that is still awaited is given up; the caller ends the watch.
    if (next === undefined) await messages.return?.();
    else next.catch(() => undefined);
  }
  return last;
}

function draw(
  output: ProgressOutput,
  observed: Observed,
  progress: Progress,
  { now, elapsedMs }: { readonly now: number; readonly elapsedMs: number },
  shown: Set<string>,
): void {
  const { text, brief = text, line = text } = progress;
  if (output.frame !== undefined) {
    const wanted = observed.service?.spec?.mode?.value.replicas ?? 0;
    return output.frame({ text: brief, rows: slotRows(observed, wanted, now), elapsedMs });
  }
  // A command says at its end why the wait was no success.
  if (progress.kind === "stopped") return;
  const next = doneText(progress, elapsedMs) ?? line;
  if (!shown.has(next)) output.show(next);
  shown.add(next);
}

/** `web: 3 of 3 tasks running, after 12s`; undefined where it is no success. */
function doneText({ kind, text }: Progress, elapsedMs: number): string | undefined {
  if (kind !== "converged" && kind !== "gone") return undefined;
  return elapsedMs < 1_000 ? text : `${text}, after ${formatAge(elapsedMs)}`;
}

/** When to look again though nothing has come, ms. */
function recheckOf(last: Progress, { frame }: ProgressOutput): number | undefined {
  if (last.kind !== "waiting") return undefined;
  return frame === undefined ? last.recheckMs : Math.min(last.recheckMs ?? frameMs, frameMs);
}

/** The next message, or `recheck` once time alone may have changed the judgement. */
async function beforeRecheck<T>(next: Promise<T>, recheckMs: number | undefined, clock: Clock): Promise<T | "recheck"> {
  if (recheckMs === undefined) return next;
  const over = new AbortController();
  const timer = delay(clock, recheckMs, over.signal).then(
    () => "recheck" as const,
    () => "recheck" as const,
  );
  try {
    return await Promise.race([next, timer]);
  } finally {
    over.abort();
  }
}

async function endNote(task: Task, lastLines: FollowOptions["lastLines"]): Promise<string> {
  const lines = (await lastLines?.(task)) ?? [];
  const head = `${slotName(task)} ${endText(task)}`;
  return lines.length === 0 ? head : [`${head}; it wrote last:`, ...lines.map((line) => `  ${line}`)].join("\n");
}
