/**
 * A rolling update: which slots go to the new spec next, and what becomes of the update.
 *
 * Nothing is remembered but the update's status: what has been replaced, what is under way and what failed is read from
 * the slots each time, so that a new leader goes on in the middle of it.
 */
import {
  TaskState,
  UpdateConfig_FailureAction as FailureAction,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
  type Service,
  type Task,
  type UpdateConfig,
  type UpdateStatus,
} from "@warren/api";
import { endText } from "./restarts.ts";
import type { SlotReading } from "./slots.ts";
import { hasEnded, hasStarted, idOf, isRunning, remaining, stateOf, stateSince } from "./task.ts";

export const defaultMonitorMs = 5_000;
export const defaultParallelism = 1;

/** What a health check takes to call a task unhealthy, where its spec is silent. */
const defaultProbe = { intervalMs: 10_000, timeoutMs: 5_000, retries: 3 } as const;

export type Rollout =
  | { readonly kind: "none" }
  /** `move`: slots to replace now. `status`: to be stored, if it is another. `wakeInMs`: when time alone moves it on. */
  | {
      readonly kind: "rolling";
      readonly move: ReadonlySet<number>;
      readonly status?: UpdateStatus;
      readonly wakeInMs?: number;
    }
  /** Nothing more is replaced; slots restart with the spec they have. */
  | { readonly kind: "paused"; readonly status?: UpdateStatus }
  | { readonly kind: "done"; readonly status: UpdateStatus }
  /** The service is to return to its previous spec. */
  | { readonly kind: "roll-back"; readonly why: string };

/** Whether an update is under way, paused, or none is, as stored. */
export function phaseOf(service: Service): "none" | "rolling" | "paused" {
  switch (statusOf(service)?.state) {
    case State.UPDATING:
    case State.ROLLING_BACK:
      return "rolling";
    case State.PAUSED:
    case State.ROLLBACK_PAUSED:
      return "paused";
    default:
      return "none";
  }
}

/** The config that the update under way goes by. */
function configOf(service: Service): UpdateConfig | undefined {
  return isRollback(service) ? service.spec?.rollback : service.spec?.update;
}

export function isStartFirst(service: Service): boolean {
  return configOf(service)?.order === Order.START_FIRST;
}

export function decideRollout(service: Service, readings: readonly SlotReading[], now: number): Rollout {
  const standings = readings.map((reading) => standing(reading, service, now));
  const outdated = standings.filter(({ kind }) => kind === "outdated" || kind === "given-up");
  const status = statusOf(service);
  const phase = phaseOf(service);
  if (phase === "paused") return { kind: "paused" };
  if (phase === "none") {
    if (outdated.length > 0) return rolling(service, standings, started(service, now));
    const unseen = service.updateStatus !== undefined && status === undefined;
    return unseen ? { kind: "done", status: finished(service, now, "no task had to be replaced") } : { kind: "none" };
  }

  const failed = standings.filter((each) => each.failure !== undefined);
  const config = configOf(service);
  const tolerated = (config?.maxFailureRatio ?? 0) * standings.length;
  if (failed.length > tolerated && config?.failureAction !== FailureAction.CONTINUE)
    return stop(service, failed, standings.length);

  const open = standings.filter(({ kind }) => kind !== "stable" && kind !== "given-up");
  if (open.length > 0) return rolling(service, standings, undefined);
  const left =
    outdated.length > 0 ? `; ${slots(outdated.length)} kept the spec before, as the new one failed there` : "";
  return { kind: "done", status: finished(service, now, `every task was replaced${left}`) };
}

/** How far a slot is on the way to the service's present spec. */
interface Standing {
  readonly reading: SlotReading;
  readonly kind:
    /** On an earlier spec. */
    | "outdated"
    /** On an earlier spec, and its policy allows no further try of the new one. */
    | "given-up"
    /** Replaced; does not run yet, or not for the delay between replacements, or the old task is not gone. */
    | "moving"
    /** Replaced and out of the way, but still watched. */
    | "moved"
    /** Replaced, and watched for long enough. */
    | "stable";
  /** The new task that failed here, if one did. */
  readonly failure: Task | undefined;
  readonly wakeInMs?: number;
}

function standing(reading: SlotReading, service: Service, now: number): Standing {
  const { slot, keeper, live, decider } = reading;
  const config = configOf(service);
  const monitorMs = config?.monitorMs ?? defaultMonitorMs;
  const own = slot.tasks.filter((task) => task.specVersion === service.specVersion);
  const failure = own.findLast((task) => failedUnderWatch(task, monitorMs));
  const at = (kind: Standing["kind"], wakeInMs = 0): Standing => ({
    reading,
    kind,
    failure,
    ...(wakeInMs > 0 && { wakeInMs }),
  });

  if (!reading.current) return at(own.some(isSettled) ? "given-up" : "outdated");
  if (keeper === undefined) return at(decider !== undefined && isSettled(decider) ? "stable" : "moving");
  if (!isRunning(keeper) || live.length > 1) return at("moving");
  const since = stateSince(keeper, now);
  const delayLeft = remaining(since, config?.delayMs ?? 0, now);
  if (delayLeft > 0) return at("moving", delayLeft);
  const monitorLeft = remaining(since, monitorMs, now);
  return monitorLeft > 0 ? at("moved", monitorLeft) : at("stable");
}

/**
 * Slots where nothing runs go first, those where the new spec has failed last, else the lowest numbers. One in which a
 * task is just taking over from another, as when a node is drained, waits until it has.
 */
function rolling(service: Service, standings: readonly Standing[], status: UpdateStatus | undefined): Rollout {
  const parallelism = configOf(service)?.parallelism ?? defaultParallelism;
  const moving = standings.filter(({ kind, failure }) => kind === "moving" && failure === undefined).length;
  const room = parallelism === 0 ? standings.length : Math.max(0, parallelism - moving);
  const weigh = ({ reading, failure }: Standing): number =>
    (failure === undefined ? 0 : 2) + (reading.keeper !== undefined && isRunning(reading.keeper) ? 1 : 0);
  const next = standings
    .filter(({ kind, reading }) => kind === "outdated" && reading.live.filter(hasStarted).length < 2)
    .toSorted((a, b) => weigh(a) - weigh(b) || a.reading.slot.number - b.reading.slot.number)
    .slice(0, room);
  const waits = standings.flatMap(({ wakeInMs }) => (wakeInMs === undefined ? [] : [wakeInMs]));
  return {
    kind: "rolling",
    move: new Set(next.map(({ reading }) => reading.slot.number)),
    ...(status !== undefined && { status }),
    ...(waits.length > 0 && { wakeInMs: Math.min(...waits) }),
  };
}

/** The update has failed: what its config says of that. A rollback is never rolled back. */
function stop(service: Service, failed: readonly Standing[], total: number): Rollout {
  const example = failed[0]?.failure;
  const cause = example === undefined ? "" : `: in slot ${example.slot} the task ${idOf(example)} ${endText(example)}`;
  const why = `${failed.length} of ${slots(total)} failed with the new spec${cause}`;
  const wanted = configOf(service)?.failureAction === FailureAction.ROLLBACK;
  if (wanted && !isRollback(service) && service.previousSpec !== undefined) return { kind: "roll-back", why };
  const back = wanted && !isRollback(service) ? "; there is no earlier spec to return to" : "";
  return {
    kind: "paused",
    status: {
      ...(service.updateStatus as UpdateStatus),
      state: isRollback(service) ? State.ROLLBACK_PAUSED : State.PAUSED,
      message: `paused, ${why}${back}`,
    },
  };
}

/** Ended by itself before it ran, or so soon after that it counts against the new spec. */
function failedUnderWatch(task: Task, monitorMs: number): boolean {
  const state = stateOf(task);
  if (state === TaskState.REJECTED) return true;
  if (state !== TaskState.FAILED) return false;
  const { startedAt, finishedAt } = task.status?.container ?? {};
  if (startedAt === undefined) return true;
  const ranMs = (finishedAt ?? task.status?.at ?? startedAt).getTime() - startedAt.getTime();
  return ranMs <= monitorMs + probeMs(task);
}

/** How long a task may run before its health check has told that it is unhealthy, ms. */
function probeMs(task: Task): number {
  const check = task.spec?.container?.healthCheck;
  if (check === undefined) return 0;
  const probe = (check.intervalMs || defaultProbe.intervalMs) + (check.timeoutMs || defaultProbe.timeoutMs);
  return check.startPeriodMs + probe * (check.retries || defaultProbe.retries);
}

function isSettled(task: Task): boolean {
  return hasEnded(task) && (task.record?.settled ?? "") !== "";
}

/** The stored status, if it speaks of the service's present spec. */
function statusOf(service: Service): UpdateStatus | undefined {
  return service.updateStatus?.specVersion === service.specVersion ? service.updateStatus : undefined;
}

function isRollback(service: Service): boolean {
  const state = statusOf(service)?.state;
  return state === State.ROLLING_BACK || state === State.ROLLBACK_PAUSED || state === State.ROLLED_BACK;
}

function started(service: Service, now: number): UpdateStatus {
  const { parallelism = defaultParallelism } = configOf(service) ?? {};
  const pace = parallelism === 0 ? "all tasks at once" : `${parallelism} at a time`;
  return {
    state: isRollback(service) ? State.ROLLING_BACK : State.UPDATING,
    startedAt: new Date(now),
    completedAt: undefined,
    message: `replacing ${pace}, ${isStartFirst(service) ? "each new task before the old one stops" : "each old task stops before the new one starts"}`,
    specVersion: service.specVersion,
  };
}

function finished(service: Service, now: number, message: string): UpdateStatus {
  return {
    state: isRollback(service) ? State.ROLLED_BACK : State.COMPLETED,
    startedAt: statusOf(service)?.startedAt ?? new Date(now),
    completedAt: new Date(now),
    message,
    specVersion: service.specVersion,
  };
}

function slots(count: number): string {
  return count === 1 ? "1 slot" : `${count} slots`;
}
