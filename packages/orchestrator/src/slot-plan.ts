/**
 * What one pass does to one slot: at most one step of each of its leases, which the next pass follows up.
 */
import { LeaseState, TaskState, type Lease, type Service, type Slot, type Task, type Version } from "@warren/api";
import {
  defaultRestartDelayMs,
  hasEnded,
  idOf,
  mayRun,
  recordOf,
  sameEpoch,
  stateOf,
  taskStateText,
} from "@warren/api/model";
import { durationText, endText, rejectionDelayMs, shortRunMs } from "@warren/slot";
import type { Random } from "@warren/std";
import { trimTasks } from "./history.ts";
import type { Plan } from "./writes.ts";
import { progressDeadline, remaining, remainingOfDelay, remainingWall, stateSince, type Moment } from "./reading.ts";
import { sameMake, settingsOf } from "./settings.ts";
import { addressRestMs, holdGate, SlotDraft, statusAt } from "./slot-draft.ts";
import { endedLease, failuresToMove, hasFailed, isFailing, isPrepared, runs, type SlotReading } from "./slots.ts";

/** What all decisions on a service's slots share. */
export interface ServicePass {
  readonly plan: Plan;
  readonly service: Service;
  /** The version that its slots are to have. */
  readonly wanted: Version;
  readonly versionOf: (id: string) => Version | undefined;
  readonly at: Moment;
  readonly now: number;
  readonly random: Random;
  readonly nodeNameOf: (nodeId: string) => string;
  readonly startFirst: boolean;
  readonly phase: "none" | "rolling" | "paused";
  /** How long a new task of the rollout runs before the one that it replaces is stopped, where it starts first, ms. */
  readonly monitorMs: number;
  /** Why no lease can be offered; empty if they can. */
  readonly unallocated: string;
  /** Ended tasks that a slot keeps. */
  readonly history: number;
}

/** A slot that is wanted. @param turn the rollout replaces what leads by the wanted version now */
export function planSlot(pass: ServicePass, reading: SlotReading, turn: boolean): void {
  const { plan } = pass;
  const draft = new SlotDraft(plan, reading.slot, reading.tasks);
  for (const lease of reading.slot.leases) {
    const where = reading.displacementOf(lease);
    if (where.kind === "grace") plan.wakeIn(where.inMs);
  }
  openRetry(pass, draft);
  step(pass, reading, draft, turn);
  tidy(plan, draft, reading.tasks, pass.history);
  draft.commit();
}

/**
 * A slot that is not wanted: each of its tasks goes once its lease is released, and the slot once the addresses of all
 * have rested (L17).
 */
export function planUnwanted(plan: Plan, slot: Slot, tasks: readonly Task[], why: string): void {
  const draft = new SlotDraft(plan, slot, tasks);
  if (slot.wanted) draft.change({ wanted: false });
  for (const lease of slot.leases) if (lease.state <= LeaseState.HELD) draft.drop(lease, why);
  tidy(plan, draft, tasks, 0);
  if (draft.slot.leases.length > 0) return draft.commit();
  for (const task of tasks) plan.deleteTask(task);
  plan.deleteSlot(slot);
}

function step(pass: ServicePass, reading: SlotReading, draft: SlotDraft, turn: boolean): void {
  const { slot, current, incoming } = reading;
  if (slot.settled !== "" && settle(pass, reading, draft)) return;
  if (turn) return takeTurn(pass, reading, draft);
  if (incoming !== undefined) return advance(pass, reading, draft, incoming);
  if (current !== undefined) return watch(pass, reading, draft, current);
  refill(pass, reading, draft);
}

/** Forgets what is over, and looks again when more will be. */
function tidy(plan: Plan, draft: SlotDraft, tasks: readonly Task[], history: number): void {
  const inMs = draft.forget(({ since, nodeId }) => (nodeId === "" ? 0 : remaining(since, addressRestMs, plan.at)));
  if (inMs !== undefined) plan.wakeIn(inMs);
  trimTasks(plan, draft.slot, tasks, history);
}

/** The rollout's step: a lease of the wanted version comes in beside what runs. */
function takeTurn(pass: ServicePass, { incoming }: SlotReading, draft: SlotDraft): void {
  if (incoming !== undefined) draft.drop(incoming, "another version is wanted");
  draft.change({ settled: "", retryAt: undefined, retryWaitMs: 0 });
  want(pass, draft, pass.wanted, `the update to version ${pass.wanted.number}`);
}

/** L4: a lease whose rules allow no further run is released, and its outcome is kept. False if none stands. */
function settle(pass: ServicePass, reading: SlotReading, draft: SlotDraft): boolean {
  const lease = endedLease(reading);
  if (lease === undefined) return false;
  const { slot, current, incoming } = reading;
  const lastEnd = recordOf(lease)?.lastEnd;
  if (lease.state === LeaseState.OFFERED) {
    // A refused offer is no outcome: it never ran.
    draft.withdraw(lease, slot.settled);
    draft.change({ settled: "", ...retryAfter(pass, lease) });
    return true;
  }
  draft.drop(lease, slot.settled);
  const how = lastEnd === undefined ? "ended" : endText(lastEnd);
  const completed = stateOf(reading.taskOf(lease) ?? {}) === TaskState.COMPLETE;
  if (current !== undefined && current !== lease) {
    // What it was to replace goes on, unless there is nothing left to do.
    if (completed) draft.drop(current, slot.settled);
    else draft.change({ settled: "", ...retryAfter(pass, lease) });
  }
  if (lease === current && incoming !== undefined) {
    // What is done is not done again on another node; another version is another try.
    if (sameMake(pass.versionOf(incoming.versionId), pass.versionOf(lease.versionId)))
      draft.drop(incoming, slot.settled);
    else draft.change({ settled: "" });
  }
  const task = reading.taskOf(lease);
  if (task !== undefined) pass.plan.emitForTask(task, "settled", `${how}; it is not restarted, since ${slot.settled}`);
  return true;
}

/** Nothing stands in the slot: a release is taken back, or a new lease is made. */
function refill(pass: ServicePass, reading: SlotReading, draft: SlotDraft): void {
  const { slot, leading, settled } = reading;
  if (settled) return;
  const target = targetOf(pass, reading);
  const back = slot.leases.findLast(
    (lease) =>
      lease.state === LeaseState.RELEASING &&
      !lease.releaseAcknowledged &&
      sameMake(pass.versionOf(lease.versionId), target) &&
      ["none", "grace"].includes(reading.displacementOf({ ...lease, state: LeaseState.HELD }).kind),
  );
  if (back !== undefined) return draft.takeBack(back);
  // A node that gives back all that it is offered gets it no faster than by back-off.
  const gone = slot.leases.filter(({ state }) => state === LeaseState.RELEASED).length;
  if (gone >= failuresToMove) draft.change(retryAfter(pass, leading));
  want(pass, draft, target, leading === undefined ? "the slot is new" : "the slot has no lease");
}

/** A slot keeps its version until its turn in the rollout. */
function targetOf({ versionOf, wanted }: ServicePass, { leading, upToDate }: SlotReading): Version {
  return leading === undefined || upToDate ? wanted : (versionOf(leading.versionId) ?? wanted);
}

/** The current lease stands alone: it stays, or another is made to take its place. */
function watch(pass: ServicePass, reading: SlotReading, draft: SlotDraft, current: Lease): void {
  const why = whyItMoves(pass, reading, current);
  if (why === undefined) return;
  want(pass, draft, targetOf(pass, reading), `the slot moves, since ${why}`);
  const task = reading.taskOf(current);
  if (task !== undefined) pass.plan.emitForTask(task, "to-move", `is to move to another node, since ${why}`);
}

/** Undefined: it may stay. */
function whyItMoves({ phase, now }: ServicePass, reading: SlotReading, lease: Lease): string | undefined {
  const where = reading.displacementOf(lease);
  if (where.kind === "must-go" || where.kind === "lost") return where.why;
  // L11: its node does not release what is to go before it.
  const before = reading.slot.leases.find((each) => sameEpoch(each.epoch, lease.after) && mayRun(each));
  const late = before === undefined ? undefined : reading.displacementOf(before);
  if (late?.kind === "lost") return late.why;
  // One that the rollout is to replace is not moved before.
  if (phase === "rolling" && !reading.isUpToDate(lease)) return undefined;
  // L9
  return isFailing(reading, lease, now) ? `it failed there ${failuresToMove} times in a row` : undefined;
}

/** L9: the old one runs again, for longer than a crash loop does, and may stay: the move is dropped. */
function isMoveOver({ plan, now }: ServicePass, reading: SlotReading, current: Lease, incoming: Lease): boolean {
  const where = reading.displacementOf(current);
  const task = reading.taskOf(current);
  if (where.kind === "must-go" || where.kind === "lost" || incoming.state === LeaseState.HELD) return false;
  if (task === undefined || !runs(reading, current)) return false;
  const failedBefore = reading.tasks.some((each) => sameEpoch(each.epoch, current.epoch) && hasFailed(each));
  const leftMs = failedBefore ? remainingWall(stateSince(task, now), shortRunMs, now) : 0;
  if (leftMs > 0) plan.wakeIn(leftMs);
  return leftMs === 0;
}

/** Brings the incoming lease one step nearer to running, or drops it. */
function advance(pass: ServicePass, reading: SlotReading, draft: SlotDraft, incoming: Lease): void {
  const { current } = reading;
  const obsolete = whyObsolete(pass, reading, incoming);
  if (obsolete !== undefined) return draft.drop(incoming, obsolete);
  if (current !== undefined && gaveUp(pass, reading, draft, incoming)) return;
  switch (incoming.state) {
    case LeaseState.WANTED:
      return explainWait(pass, draft, reading.taskOf(incoming));
    case LeaseState.OFFERED:
      return current === undefined || pass.startFirst
        ? holdBeside(pass, reading, draft, incoming)
        : takeOver(pass, reading, draft, incoming, current);
    default:
      if (current !== undefined) retireOnceItRuns(pass, reading, draft, incoming, current);
  }
}

/** Why an incoming lease is not wanted any more, if it is not. */
function whyObsolete(pass: ServicePass, reading: SlotReading, incoming: Lease): string | undefined {
  const where = reading.displacementOf(incoming);
  if (where.kind === "must-go" || where.kind === "lost") return where.why;
  const { current } = reading;
  if (current === undefined) return undefined;
  const isMove = sameMake(pass.versionOf(incoming.versionId), pass.versionOf(current.versionId));
  if (!isMove) {
    if (!reading.isUpToDate(incoming)) return "another version is wanted";
    // A paused update starts nothing that it has only prepared.
    return pass.phase === "paused" && !runs(reading, incoming) ? "the update is paused" : undefined;
  }
  return isMoveOver(pass, reading, current, incoming)
    ? "the task that it was to replace runs, and can stay"
    : undefined;
}

/** L5, L9: an incoming lease that does not come to run is released, the current one stays, and it is tried again. */
function gaveUp(pass: ServicePass, reading: SlotReading, draft: SlotDraft, incoming: Lease): boolean {
  if (incoming.state === LeaseState.WANTED || runs(reading, incoming)) return false;
  const deadlineMs = progressDeadline(settingsOf(pass.service));
  const leftMs = remaining(incoming.since, deadlineMs, pass.at);
  const failing = isFailing(reading, incoming, pass.now);
  if (leftMs > 0 && !failing) {
    pass.plan.wakeIn(leftMs);
    return false;
  }
  const task = reading.taskOf(incoming);
  const check = task === undefined ? "its node has reported nothing of it" : statusText(task);
  const why = failing
    ? `it failed ${failuresToMove} times in a row: ${check}`
    : `it did not run within ${durationText(deadlineMs)}: ${check}`;
  draft.drop(incoming, why);
  draft.change(retryAfter(pass, incoming));
  if (task !== undefined) pass.plan.emitForTask(task, "given-up", `${why}; the task that it was to replace stays`);
  return true;
}

function statusText(task: Task): string {
  const message = task.status?.message ?? "";
  return `the task is ${taskStateText(stateOf(task))}${message === "" ? "" : `, ${message}`}`;
}

/** L2, L3: held as soon as nothing speaks against it; whatever runs besides goes on. */
function holdBeside(pass: ServicePass, reading: SlotReading, draft: SlotDraft, incoming: Lease): void {
  const isLost = (lease: Lease): boolean => reading.displacementOf(lease).kind === "lost";
  const gate = pass.startFirst
    ? ({ kind: "hold", after: undefined } as const)
    : holdGate(draft.slot.leases, incoming, isLost);
  if (gate.kind === "wait") return;
  draft.hold(incoming, gate.after, pass.versionOf);
  sayWhoIsNotWaitedFor(pass, reading, incoming);
}

/** L2: once the incoming one is prepared the current one stops; on one node in one step, else when it is released. */
function takeOver(pass: ServicePass, reading: SlotReading, draft: SlotDraft, incoming: Lease, current: Lease): void {
  if (!isPrepared(reading.taskOf(incoming))) return;
  retire(pass, reading, draft, incoming, current);
  const isLost = (lease: Lease): boolean =>
    reading.displacementOf(sameEpoch(lease.epoch, current.epoch) ? current : lease).kind === "lost";
  const gate = holdGate(draft.slot.leases, incoming, isLost);
  if (gate.kind === "wait") return;
  draft.hold(incoming, gate.after, pass.versionOf);
  sayWhoIsNotWaitedFor(pass, reading, incoming);
}

/** L11: a node that is not waited for is named. */
function sayWhoIsNotWaitedFor({ plan }: ServicePass, reading: SlotReading, incoming: Lease): void {
  const task = reading.taskOf(incoming);
  for (const lease of reading.slot.leases) {
    const where = reading.displacementOf(lease);
    if (lease === incoming || !mayRun(lease) || where.kind !== "lost" || task === undefined) continue;
    // On its own node it starts after that one.
    if (lease.nodeId === incoming.nodeId) continue;
    plan.emitForTask(task, "not-waited-for", `starts though one on another node may still run, since ${where.why}`);
  }
}

/** L3: released when the incoming one has run, healthy, for as long as a rollout watches it. */
function retireOnceItRuns(
  pass: ServicePass,
  reading: SlotReading,
  draft: SlotDraft,
  incoming: Lease,
  current: Lease,
): void {
  const task = reading.taskOf(incoming);
  if (task === undefined || !runs(reading, incoming)) return;
  const leftMs = pass.phase === "rolling" ? remaining(stateSince(task, pass.now), pass.monitorMs, pass.at) : 0;
  if (leftMs > 0) return pass.plan.wakeIn(leftMs);
  retire(pass, reading, draft, incoming, current);
}

/** The current one gives its place to the incoming one. */
function retire(pass: ServicePass, reading: SlotReading, draft: SlotDraft, incoming: Lease, current: Lease): void {
  draft.release(current);
  const task = reading.taskOf(current);
  const isMove = sameMake(pass.versionOf(incoming.versionId), pass.versionOf(current.versionId));
  if (!isMove || task === undefined) return;
  pass.plan.emitForTask(task, "moved", `${pass.nodeNameOf(incoming.nodeId)} takes its place: ${incoming.cause}`);
}

function want(pass: ServicePass, draft: SlotDraft, version: Version, cause: string): void {
  draft.want(idOf(version), cause, waitStatus(pass, draft.slot));
}

/** A lease that has no node says what it waits for; the scheduler says why none takes it. */
function explainWait(pass: ServicePass, draft: SlotDraft, task: Task | undefined): void {
  if (task === undefined || hasEnded(task)) return;
  const status = waitStatus(pass, draft.slot);
  const explained = status.message === waitsForNode && task.status?.pending !== undefined;
  if (explained || (stateOf(task) === status.state && task.status?.message === status.message)) return;
  pass.plan.putTask({ ...task, status: statusAt(pass.now, status) });
}

const waitsForNode = "waits for a node";

function waitStatus({ unallocated }: ServicePass, { retryAt }: Slot): { state: TaskState; message: string } {
  if (unallocated !== "") return { state: TaskState.NEW, message: `waits: ${unallocated}` };
  const state = TaskState.PENDING;
  if (retryAt === undefined) return { state, message: waitsForNode };
  return { state, message: `is tried again at ${retryAt.toISOString().slice(11, 19)}Z, as it was refused or failed` };
}

/** When the back-off of a slot's leases is over, it may be offered again. */
function openRetry({ plan }: ServicePass, draft: SlotDraft): void {
  const { retryAt, retryWaitMs } = draft.slot;
  if (retryAt === undefined) return;
  const leftMs = remainingOfDelay(retryAt.getTime() - retryWaitMs, retryWaitMs, plan.at);
  if (leftMs === 0) return draft.change({ retryAt: undefined, retryWaitMs: 0 });
  plan.wakeIn(leftMs);
}

/** When the next lease may be offered after one that came to nothing: later after each rejection in a row. */
function retryAfter(
  { service, random, now }: ServicePass,
  lease: Lease | undefined,
): Pick<Slot, "retryAt" | "retryWaitMs"> {
  const delayMs = service.spec?.task?.restart?.delayMs ?? defaultRestartDelayMs;
  const count = Math.max(1, recordOf(lease)?.rejections ?? 0);
  const retryWaitMs = Math.round(rejectionDelayMs(delayMs, count) * (1 + random.next() / 10));
  return { retryAt: new Date(now + retryWaitMs), retryWaitMs };
}
