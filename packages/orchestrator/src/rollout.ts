/**
 * A rolling update: which slots go to the wanted version next, and what becomes of the update.
 *
 * Nothing is remembered but the update's status: what has been replaced, what is under way and what failed is read from
 * the slots each time, so that a new leader goes on in the middle of it.
 */
import {
  TaskState,
  UpdateConfig_FailureAction as FailureAction,
  UpdateStatus_State as State,
  type Lease,
  type RunEnd,
  type Service,
  type SlotKey,
  type Task,
  type UpdateStatus,
  type Version,
} from "@warren/api";
import {
  defaultImageProbe,
  defaultMonitorMs,
  defaultParallelism,
  hasEnded,
  isRunning,
  probeTimes,
  recordOf,
  sameEpoch,
  slotName,
  stateOf,
} from "@warren/api/model";
import { durationText, endText, isFailure } from "@warren/slot";
import { progressDeadline, remaining, remainingOfDelay, replicasOf, stateSince, type Moment } from "./reading.ts";
import {
  isRollingBack,
  isStartFirst,
  noCause,
  rollbackTarget,
  sameMake,
  settingsOf,
  statusOf,
  withVersion,
} from "./settings.ts";
import { othersThatMayRun, runs, type SlotReading } from "./slots.ts";

export type Rollout =
  /** `turn`: slots to replace now. `changes`: to be stored with the service. `wakeInMs`: when time alone moves it on. */
  | {
      readonly kind: "none" | "rolling" | "paused";
      readonly turn: ReadonlySet<SlotReading>;
      readonly changes?: Partial<Service>;
      /** It began, stopped or ended with this pass. */
      readonly announced?: UpdateStatus;
      readonly wakeInMs?: number;
    }
  /** The service is to return to a version that completed. */
  | {
      readonly kind: "roll-back";
      readonly versionId: string;
      readonly why: string;
      readonly failure: VersionFailure | undefined;
    };

/** An end of the new version that counts against it. */
interface VersionFailure {
  readonly key: SlotKey | undefined;
  /** `web.1` */
  readonly slot: string;
  readonly end: RunEnd;
  /** `the task abc failed with exit code 1` */
  readonly text: string;
}

export interface RolloutInput {
  readonly service: Service;
  readonly wanted: Version;
  readonly versionOf: (id: string) => Version | undefined;
  /** Of the slots that stay. */
  readonly readings: readonly SlotReading[];
  readonly at: Moment;
  /** Of the epoch of the command that this pass becomes. */
  readonly index: number;
}

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

export function monitorOf(service: Service): number {
  return settingsOf(service)?.monitorMs ?? defaultMonitorMs;
}

export function decideRollout(input: RolloutInput): Rollout {
  const { service, readings } = input;
  const carried = carriedOver(input);
  if (carried !== undefined) {
    const rollout = decideRollout({ ...input, service: { ...service, updateStatus: carried } });
    if (rollout.kind === "roll-back" || rollout.changes?.updateStatus !== undefined) return rollout;
    return { ...rollout, changes: { ...rollout.changes, updateStatus: carried } };
  }
  const phase = phaseOf(service);
  if (phase === "paused") return { kind: "paused", turn: new Set() };
  if (phase === "none") return begin(input);

  const stored = statusOf(service) as UpdateStatus;
  // A rollback that a user asked for is taken up here.
  const since = stored.sinceIndex === 0 ? input.index : stored.sinceIndex;
  const status = { ...stored, sinceIndex: since };
  const standings = readings.map((reading) => standing(reading, input, since));
  const failed = standings.filter(({ failure }) => failure !== undefined);
  const tolerated = (settingsOf(service)?.maxFailureRatio ?? 0) * standings.length;
  const goesOn = continues(service);
  if (failed.length > tolerated && !goesOn)
    return stop(input, status, failureText(failed, standings.length), failed[0]?.failure);

  const open = standings.filter(({ kind }) => kind !== "stable");
  if (open.length === 0) return finish(input, status, replacedText(standings));
  const blocked = blockedText(standings);
  const progressAt = progressOf(status, standings, input.at.now);
  const deadlineMs = progressDeadline(settingsOf(service));
  const leftMs = remaining(progressAt, deadlineMs, input.at);
  if (leftMs === 0 && !goesOn) {
    const cause = blocked === "" ? "" : `: ${blocked}`;
    return stop(input, { ...status, blocked, progressAt }, `no progress for ${durationText(deadlineMs)}${cause}`);
  }
  return roll(service, standings, { ...status, blocked, progressAt }, leftMs);
}

/**
 * The update that is under way, where the wanted version has become another one with the same containers, as by an edit of
 * the placement: it goes on, with what it has replaced and what has failed.
 */
function carriedOver({ service, wanted, versionOf }: RolloutInput): UpdateStatus | undefined {
  const { updateStatus, versionId } = service;
  if (updateStatus?.state !== State.UPDATING || updateStatus.versionId === versionId) return undefined;
  return sameMake(versionOf(updateStatus.versionId), wanted) ? { ...updateStatus, versionId } : undefined;
}

/** How far a slot is on the way to the wanted version. */
interface Standing {
  readonly reading: SlotReading;
  readonly kind:
    /** On another version. */
    | "outdated"
    /** Replaced; does not run yet, or not for long enough that the next may follow, or the old task is not gone. */
    | "moving"
    /** Replaced and out of the way, but still watched. */
    | "moved"
    /** Replaced, and watched for long enough; or its rules allow no further run. */
    | "stable";
  /** The first end of the new version here that counts against it. */
  readonly failure: VersionFailure | undefined;
  /** The rollout made the lease that leads, so that it counts as one that is replaced at once with others. */
  readonly replaced: boolean;
  /** When its new task began to run. */
  readonly runsSince: number | undefined;
  readonly wakeInMs?: number;
}

function standing(reading: SlotReading, { service, at: moment }: RolloutInput, since: number): Standing {
  const lead = leadOf(reading);
  const task = reading.taskOf(lead);
  const running = lead !== undefined && runs(reading, lead) && task !== undefined;
  const runsSince = running ? stateSince(task, moment.now) : undefined;
  const failure = failureOf(reading, service, since);
  const replaced = (lead?.epoch?.index ?? 0) >= since;
  const at = (kind: Standing["kind"], wakeInMs = 0): Standing => ({
    reading,
    kind,
    failure,
    replaced,
    runsSince,
    ...(wakeInMs > 0 && { wakeInMs }),
  });
  if (!reading.upToDate) return at("outdated");
  if (lead === undefined) return at(reading.settled ? "stable" : "moving");
  // Also one that is to move, and may wait for a node for ever.
  const watched = upToDateLeases(reading).find((lease) => wasWatched(reading, lease, service));
  if (watched !== undefined) return at(othersThatMayRun(reading, watched).length > 0 ? "moving" : "stable");
  if (runsSince === undefined) return at("moving");
  // The monitor gates the next batch, unless failures change nothing.
  const monitorLeft = remaining(runsSince, monitorOf(service), moment);
  const delayLeft = remainingOfDelay(runsSince, settingsOf(service)?.delayMs ?? 0, moment);
  const gateLeft = Math.max(delayLeft, continues(service) ? 0 : monitorLeft);
  if (gateLeft > 0) return at("moving", gateLeft);
  if (othersThatMayRun(reading, lead).length > 0) return at("moving");
  return monitorLeft > 0 ? at("moved", monitorLeft) : at("stable");
}

/**
 * An earlier run of the lease has lasted for as long as one is watched. What ends and is started again, as its policy has
 * it, would else never be seen to run in all slots at once.
 */
function wasWatched(reading: SlotReading, lead: Lease, service: Service): boolean {
  const watchMs = Math.max(settingsOf(service)?.delayMs ?? 0, monitorOf(service));
  const lastEnd = recordOf(lead)?.lastEnd;
  return reading.tasks.some((task) => {
    const hasRun = hasEnded(task) && task.status?.container?.startedAt !== undefined;
    return hasRun && sameEpoch(task.epoch, lead.epoch) && endOf(task, lastEnd).ranMs >= watchMs;
  });
}

/** The standing lease of the wanted version; of two the one that is to replace the other. */
function leadOf(reading: SlotReading): Lease | undefined {
  return upToDateLeases(reading)[0];
}

function upToDateLeases(reading: SlotReading): Lease[] {
  return [reading.incoming, reading.current].filter(
    (lease): lease is Lease => lease !== undefined && reading.isUpToDate(lease),
  );
}

/** It runs, is to run, or ran last what another version has. */
export function isOutdated({ upToDate, leading }: SlotReading): boolean {
  return !upToDate && leading !== undefined;
}

/**
 * How a rollout that replaces `count` tasks goes: its batches, and how long it takes at least, ms. Each batch is watched
 * before the next one and before the end; where failures change nothing, only the last one is.
 */
export function paceOf(service: Service, count: number): { readonly batches: number; readonly leastMs: number } {
  const { parallelism = defaultParallelism, delayMs = 0 } = settingsOf(service) ?? {};
  const batches = count === 0 ? 0 : parallelism === 0 ? 1 : Math.ceil(count / parallelism);
  if (batches === 0) return { batches, leastMs: 0 };
  const gateMs = Math.max(delayMs, continues(service) ? 0 : monitorOf(service));
  return { batches, leastMs: (batches - 1) * gateMs + Math.max(delayMs, monitorOf(service)) };
}

function begin(input: RolloutInput): Rollout {
  const { service, readings, at, index, wanted, versionOf } = input;
  const outdated = readings.some(isOutdated);
  const isNew = service.updateStatus?.versionId !== service.versionId;
  const [completed = ""] = service.completedVersionIds;
  const isDone = !outdated && sameMake(versionOf(completed), wanted);
  // What is there already, but was never seen to run well, is watched as if it had just been replaced.
  const isUnwatched = isNew && !isDone && (completed !== "" || service.updateStatus !== undefined);
  if (outdated || isUnwatched) {
    const status = started(input);
    const standings = readings.map((reading) => standing(reading, input, index));
    return { ...roll(service, standings, status, progressDeadline(settingsOf(service))), announced: status };
  }
  if (isNew && isDone && completed !== service.versionId)
    return finish(input, started(input), "no task had to be replaced");
  if (completed === service.versionId) return { kind: "none", turn: new Set() };
  return firstCompletion(
    service,
    readings.map((reading) => standing(reading, input, 0)),
    at,
  );
}

/** The first version completes once each of its tasks that found a node has run for as long as one is watched. */
function firstCompletion(service: Service, standings: readonly Standing[], at: Moment): Rollout {
  const none = { kind: "none" as const, turn: new Set<SlotReading>() };
  const placed = standings.filter(({ reading }) => reading.current !== undefined || reading.settled);
  if (placed.length === 0 && replicasOf(service) > 0) return none;
  if (placed.some(({ runsSince, reading }) => runsSince === undefined && !reading.settled)) return none;
  const monitorMs = monitorOf(service);
  const left = placed.map(({ runsSince }) => (runsSince === undefined ? 0 : remaining(runsSince, monitorMs, at)));
  const wakeInMs = Math.max(0, ...left);
  if (wakeInMs > 0) return { ...none, wakeInMs };
  return { ...none, changes: { completedVersionIds: withVersion(service.completedVersionIds, service.versionId) } };
}

/**
 * Slots where nothing runs go first, those where the new version has failed last, else the lowest. One in which a lease
 * is just taking over from another, as when a node is drained, waits until it has.
 */
function roll(
  service: Service,
  standings: readonly Standing[],
  status: UpdateStatus,
  deadlineInMs: number,
): Extract<Rollout, { readonly kind: "none" | "rolling" | "paused" }> {
  const parallelism = settingsOf(service)?.parallelism ?? defaultParallelism;
  const moving = standings.filter(
    ({ kind, failure, replaced }) => kind === "moving" && failure === undefined && replaced,
  ).length;
  const room = parallelism === 0 ? standings.length : Math.max(0, parallelism - moving);
  const weigh = ({ reading, failure }: Standing): number =>
    (failure === undefined ? 0 : 2) + (runs(reading, reading.current) ? 1 : 0);
  const next = standings
    .filter(({ kind, reading }) => kind === "outdated" && isFree(reading))
    .toSorted((a, b) => weigh(a) - weigh(b))
    .slice(0, room);
  const waits = [deadlineInMs, ...standings.map(({ wakeInMs }) => wakeInMs ?? 0)].filter((ms) => ms > 0);
  return {
    kind: "rolling",
    turn: new Set(next.map(({ reading }) => reading)),
    ...(!sameStatus(service.updateStatus, status) && { changes: { updateStatus: status } }),
    ...(waits.length > 0 && { wakeInMs: Math.min(...waits) }),
  };
}

/** No lease that runs is taking over from another, and none of the wanted version is to be tried again later. */
function isFree(reading: SlotReading): boolean {
  const { slot, current, incoming } = reading;
  if (slot.retryAt !== undefined && current !== undefined && incoming === undefined) return false;
  return incoming === undefined || !runs(reading, incoming);
}

/** The update has failed: what its settings say of that. A rollback is never rolled back. */
function stop({ service }: RolloutInput, status: UpdateStatus, why: string, failure?: VersionFailure): Rollout {
  const back = isRollingBack(service);
  const wanted = settingsOf(service)?.failureAction === FailureAction.ROLLBACK && !back;
  const target = wanted ? rollbackTarget(service) : undefined;
  if (target !== undefined) return { kind: "roll-back", versionId: target, why, failure };
  const nowhere = wanted ? "; there is no earlier version that completed to return to" : "";
  const paused: UpdateStatus = {
    ...status,
    state: back ? State.ROLLBACK_PAUSED : State.PAUSED,
    message: `paused, ${why}${nowhere}`,
  };
  return { kind: "paused", turn: new Set(), changes: { updateStatus: paused }, announced: paused };
}

function finish({ service, at }: RolloutInput, status: UpdateStatus, message: string): Rollout {
  const ended: UpdateStatus = {
    ...status,
    state: isRollingBack(service) ? State.ROLLED_BACK : State.COMPLETED,
    completedAt: new Date(at.now),
    message,
    blocked: "",
  };
  const completedVersionIds = withVersion(service.completedVersionIds, service.versionId);
  return { kind: "none", turn: new Set(), changes: { updateStatus: ended, completedVersionIds }, announced: ended };
}

/** How many of the service's tasks the update replaced. */
function replacedText(standings: readonly Standing[]): string {
  const count = standings.filter(({ replaced }) => replaced).length;
  if (count === 0) return "no task had to be replaced";
  return count === standings.length ? "every task was replaced" : `replaced ${count} of ${standings.length} tasks`;
}

function started({ service, at, index, readings }: RolloutInput): UpdateStatus {
  const { parallelism = defaultParallelism } = settingsOf(service) ?? {};
  const pace = parallelism === 0 ? "all tasks at once" : `${parallelism} at a time`;
  const order = isStartFirst(service)
    ? "each new task before the old one stops"
    : "each old task stops before the new one starts";
  return {
    state: State.UPDATING,
    startedAt: new Date(at.now),
    completedAt: undefined,
    message: readings.some(isOutdated)
      ? `replacing ${pace}, ${order}`
      : "nothing has to be replaced; watching what runs",
    versionId: service.versionId,
    fromVersionId: service.recentVersionIds.find((id) => id !== service.versionId) ?? "",
    rollback: false,
    blocked: "",
    progressAt: new Date(at.now),
    sinceIndex: index,
    ...noCause,
  };
}

function continues(service: Service): boolean {
  return settingsOf(service)?.failureAction === FailureAction.CONTINUE;
}

/** The first end in the slot, of a lease that the update made, that counts against the new version. */
function failureOf(reading: SlotReading, service: Service, since: number): VersionFailure | undefined {
  const { slot, tasks } = reading;
  const policy = service.spec?.task?.restart;
  const own = slot.leases.filter((lease) => reading.isUpToDate(lease) && (lease.epoch?.index ?? 0) >= since);
  if (own.length === 0) return undefined;
  const monitorMs = monitorOf(service);
  const found = (end: RunEnd, which: string): VersionFailure => ({
    key: slot.key,
    slot: slotName({ serviceName: slot.serviceName, slot: slot.key }),
    end,
    text: `${which} ${endText(end)}`,
  });
  for (const lease of own) {
    const firstFailure = recordOf(lease)?.firstFailure;
    if (firstFailure === undefined) continue;
    const task = tasks.find(({ meta }) => meta?.id === firstFailure.taskId);
    if (firstFailure.rejected || firstFailure.ranMs <= monitorMs + probeMs(service, firstFailure)) {
      const which = task === undefined ? "a task" : `the task ${firstFailure.taskId}`;
      return found(firstFailure, which);
    }
  }
  for (const task of tasks) {
    if (!hasEnded(task)) continue;
    const lease = own.find(({ epoch }) => sameEpoch(epoch, task.epoch));
    if (lease === undefined) continue;
    const end = endOf(task, recordOf(lease)?.lastEnd);
    if (!isFailure(policy, end) || stateOf(task) === TaskState.SHUTDOWN || stateOf(task) === TaskState.ORPHANED)
      continue;
    if (end.rejected || end.ranMs <= monitorMs + probeMs(service, end)) return found(end, `the task ${end.taskId}`);
  }
  return undefined;
}

/** How a run ended, from its task's row where the record does not say it. */
function endOf(task: Task, lastEnd: RunEnd | undefined): RunEnd {
  const taskId = task.meta?.id ?? "";
  if (lastEnd?.taskId === taskId) return lastEnd;
  const { message = "", code = "", container, at } = task.status ?? {};
  const { startedAt, finishedAt, exitCode, oomKilled = false } = container ?? {};
  const wallMs = startedAt === undefined ? 0 : (finishedAt ?? at ?? startedAt).getTime() - startedAt.getTime();
  // The node's clock was set back meanwhile: then nothing says that the run was short.
  const ranMs = wallMs < 0 ? Number.POSITIVE_INFINITY : wallMs;
  const [complete, rejected] = [stateOf(task) === TaskState.COMPLETE, stateOf(task) === TaskState.REJECTED];
  return { taskId, at, exitCode, oomKilled, code, message, ranMs, byMachine: false, complete, rejected };
}

/** How long a task may run before its health check has found that it is unhealthy, ms. */
function probeMs({ spec }: Service, { code }: RunEnd): number {
  const check = spec?.task?.container?.healthCheck;
  // Of an image's own check only the node knows the times.
  if (check === undefined && code !== "AGENT_UNHEALTHY") return 0;
  const times = check === undefined ? defaultImageProbe : probeTimes(check);
  return times.startPeriodMs + times.retries * (times.intervalMs + times.timeoutMs);
}

function failureText(failed: readonly Standing[], total: number): string {
  const { slot = "", text = "" } = failed[0]?.failure ?? {};
  return `${failed.length} of ${slotsText(total)} failed with the new version: in ${slot} ${text}`;
}

/** Why the first slot that can't go on can't; empty if all can. */
function blockedText(standings: readonly Standing[]): string {
  for (const { reading, kind } of standings) {
    if (kind !== "moving") continue;
    const lead = leadOf(reading);
    const task = reading.taskOf(lead);
    if (task === undefined || isRunning(task)) continue;
    const { pending, message = "" } = task.status ?? {};
    const waits = stateOf(task) <= TaskState.PENDING && (pending !== undefined || stateOf(task) === TaskState.NEW);
    if (waits || stateOf(task) === TaskState.REJECTED)
      return `${slotName({ serviceName: reading.slot.serviceName, slot: reading.slot.key })}: ${message}`;
  }
  return "";
}

/** The latest moment at which a new task began to run. */
function progressOf({ progressAt, startedAt }: UpdateStatus, standings: readonly Standing[], now: number): Date {
  const known = (progressAt ?? startedAt)?.getTime() ?? now;
  const since = standings.flatMap(({ kind, runsSince }) =>
    kind === "outdated" || runsSince === undefined ? [] : runsSince,
  );
  const latest = Math.max(known, ...since);
  // One that is later than now was written by a clock that has been set back since.
  return new Date(latest > now ? now : latest);
}

function sameStatus(a: UpdateStatus | undefined, b: UpdateStatus): boolean {
  return (
    a !== undefined &&
    a.state === b.state &&
    a.versionId === b.versionId &&
    a.blocked === b.blocked &&
    a.sinceIndex === b.sinceIndex &&
    a.progressAt?.getTime() === b.progressAt?.getTime()
  );
}

function slotsText(count: number): string {
  return count === 1 ? "1 slot" : `${count} slots`;
}
