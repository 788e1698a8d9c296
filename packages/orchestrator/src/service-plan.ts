/**
 * One pass over one service: what its slots need, as writes. Pure; whatever was done of it before, the next pass does
 * the rest.
 *
 * P1: a slot's tasks are ordered by their run; what follows a task that ended is read from that task's record.
 * P2: a task in desired READY starts when its `start_at` has passed and, unless the service starts first, all other
 *     tasks of its slot have ended or can't be reached. So no slot runs two tasks by itself.
 * P3: a task that runs is told to stop only once another is ready to take its place, except where it must leave its
 *     node or holds what the other needs.
 */
import { TaskState, UpdateStatus_State, type Node, type Service, type ServiceEndpoint, type Task } from "@warren/api";
import type { Random } from "@warren/std";
import type { Allocation } from "./allocator.ts";
import { displacement, type Displacement } from "./displacement.ts";
import { handOver } from "./handover.ts";
import { trimHistory } from "./history.ts";
import { Plan } from "./plan.ts";
import { decideRestart, durationText, endText, nextRecord, type RestartDecision } from "./restarts.ts";
import { decideRollout, isStartFirst, phaseOf, type Rollout } from "./rollout.ts";
import { resize } from "./scaling.ts";
import { enter, waitOf, type ServicePass } from "./service-pass.ts";
import { isCurrent, isOccupied, readSlot, slotsOf, type Slot, type SlotReading } from "./slots.ts";
import { hasEnded, idOf, isLive, isReleased, isStopping, replicasOf, runOf, stateOf } from "./task.ts";

export interface ServiceSituation {
  readonly serviceId: string;
  /** Undefined: it is gone, and its tasks are to follow. */
  readonly service: Service | undefined;
  /** All of the service. */
  readonly tasks: readonly Task[];
  readonly nodeOf: (nodeId: string) => Node | undefined;
  readonly endpoint: Allocation<ServiceEndpoint>;
  /** Ids of the networks that its tasks join, or why they can't. */
  readonly networks: readonly string[] | { readonly missing: string };
  /** Ended tasks that a slot keeps. */
  readonly history: number;
  readonly downGraceMs: number;
  /** Writes after which the rest is left to the next pass. */
  readonly budget: number;
  readonly now: number;
  readonly random: Random;
}

export function planService(situation: ServiceSituation): Plan {
  const plan = new Plan(situation.now);
  const { service } = situation;
  if (service === undefined || service.deleting) planRemoval(plan, situation);
  else planSlots(plan, service, situation);
  return plan;
}

/** Tasks go first, then the service. */
function planRemoval(plan: Plan, { service, tasks, budget }: ServiceSituation): void {
  for (const task of tasks) {
    if (full(plan, budget)) return;
    plan.retire(task, TaskState.REMOVE);
  }
  if (service === undefined || !tasks.every((task) => plan.isDeleted(task))) return;
  plan.deleteService(service);
  plan.tellOfService(service, "removed", "its last task is gone, and so is the service");
}

function planSlots(plan: Plan, service: Service, situation: ServiceSituation): void {
  const { tasks, budget, endpoint, now } = situation;
  if (endpoint.kind === "given" && endpoint.changed) plan.putService({ endpoint: endpoint.value }, service);

  const displacementOf = memo((task: Task) =>
    displacement(task, situation.nodeOf(task.nodeId), situation.downGraceMs, now),
  );
  const slots = slotsOf(tasks);
  const read = (slot: Slot, rolling: boolean): SlotReading => readSlot(slot, service, displacementOf, rolling);
  const occupied = [...slots.values()].filter(isOccupied).map((slot) => read(slot, phaseOf(service) !== "paused"));
  const { remove, add } = resize(occupied, replicasOf(service));

  const given = new Set(remove);
  for (const slot of slots.values()) {
    if (full(plan, budget)) return;
    if (given.has(slot.number) || !isOccupied(slot)) for (const task of slot.tasks) plan.retire(task, TaskState.REMOVE);
  }

  const kept = occupied.filter(({ slot }) => !given.has(slot.number));
  const rollout = decideRollout(service, kept, now);
  if (!recordRollout(plan, service, rollout)) return;

  const pass = passOf(plan, service, situation, rollout, displacementOf);
  const move = rollout.kind === "rolling" ? rollout.move : new Set<number>();
  for (const { slot } of kept) {
    if (full(plan, budget)) return;
    planSlot(pass, read(slot, rollout.kind !== "paused"), move.has(slot.number));
    trimHistory(plan, slot, Math.max(situation.history, rollout.kind === "none" ? 0 : 1));
  }
  for (const number of add) {
    if (full(plan, budget)) return;
    const slot = slots.get(number) ?? { number, tasks: [] };
    enter(pass, slot, undefined, { record: nextRecord(undefined) });
  }
}

/** False where the service's spec is another from here on, so that nothing else of this pass holds. */
function recordRollout(plan: Plan, service: Service, rollout: Rollout): boolean {
  switch (rollout.kind) {
    case "none":
      return true;
    case "rolling":
    case "paused":
    case "done":
      if (rollout.kind === "rolling" && rollout.wakeInMs !== undefined) plan.wakeIn(rollout.wakeInMs);
      if (rollout.status === undefined) return true;
      plan.putService({ updateStatus: rollout.status }, service);
      plan.tellOfService(service, updateActions[rollout.status.state] ?? "updating", rollout.status.message);
      return true;
    case "roll-back":
      rollBack(plan, service, rollout.why);
      return false;
  }
}

const updateActions: { readonly [state: number]: string } = {
  [UpdateStatus_State.UPDATING]: "update-started",
  [UpdateStatus_State.PAUSED]: "update-paused",
  [UpdateStatus_State.COMPLETED]: "update-completed",
  [UpdateStatus_State.ROLLING_BACK]: "rollback-started",
  [UpdateStatus_State.ROLLBACK_PAUSED]: "rollback-paused",
  [UpdateStatus_State.ROLLED_BACK]: "rollback-completed",
};

function passOf(
  plan: Plan,
  service: Service,
  { endpoint, networks, now, random }: ServiceSituation,
  rollout: Rollout,
  displacementOf: (task: Task) => Displacement,
): ServicePass {
  const missing = "missing" in networks ? networks.missing : "";
  return {
    plan,
    service,
    now,
    random,
    startFirst: isStartFirst(service),
    rollingOut: rollout.kind === "rolling",
    networks: "missing" in networks ? [] : networks,
    // One that has its address goes on with the ports it has.
    unallocated: endpoint.kind === "short" && service.endpoint === undefined ? endpoint.reason : missing,
    displacementOf,
  };
}

function planSlot(pass: ServicePass, reading: SlotReading, move: boolean): void {
  const { plan, service } = pass;
  const { slot } = reading;
  for (const task of slot.tasks) {
    if (!isLive(task)) continue;
    if (stateOf(task) === TaskState.NEW && pass.unallocated === "") offer(pass, task);
    if (task.specVersion !== service.specVersion && isCurrent(task, service))
      plan.change(task, { specVersion: service.specVersion });
    const where = pass.displacementOf(task);
    if (where.kind === "grace") plan.wakeIn(where.inMs);
  }

  const follows = move ? replaceByCurrent(pass, reading) : followUp(pass, reading);
  for (const task of slot.tasks) if (hasEnded(task)) answer(plan, task, follows);
}

/** What happens in a slot that the rollout leaves alone; in words, for the task whose end led to it. */
function followUp(pass: ServicePass, reading: SlotReading): string {
  const { slot, keeper, displaced, decider } = reading;
  if (keeper !== undefined) {
    handOver(pass, reading, keeper);
    return `the task ${idOf(keeper)} holds its slot`;
  }
  if (displaced.length > 0) return moveAway(pass, reading);
  return decider === undefined ? "" : followEnd(pass, slot, decider);
}

/** The rollout's step: a task of the new spec enters the slot, beside the old one if that still runs. */
function replaceByCurrent(pass: ServicePass, { slot }: SlotReading): string {
  const { service } = pass;
  const tried = slot.tasks.findLast((task) => task.specVersion === service.specVersion && hasEnded(task));
  if (tried === undefined) {
    enter(pass, slot, undefined, { record: nextRecord(undefined) });
    return "one with the new spec takes its place";
  }
  const decision = decideRestart(service.spec?.task?.restart, tried, pass.now, pass.random.next());
  if (decision.kind === "settled") return settle(pass.plan, tried, decision.why);
  enter(pass, slot, undefined, decision);
  return followText(decision);
}

/**
 * All that live here have to leave: their node is drained, down or gone, or no longer fits. A replacement that has failed
 * is followed as any task is, and those that must go do not wait for another.
 */
function moveAway(pass: ServicePass, { slot, displaced, current }: SlotReading): string {
  const leaving = displaced.at(-1);
  if (leaving === undefined) return "";
  const tried = slot.tasks.findLast((task) => hasEnded(task) && !isReleased(task) && runOf(task) > runOf(leaving));
  if (tried !== undefined) {
    for (const task of displaced)
      if (pass.displacementOf(task).kind === "must-go") pass.plan.retire(task, TaskState.SHUTDOWN);
    return followEnd(pass, slot, tried);
  }
  const where = pass.displacementOf(leaving);
  const why = where.kind === "must-go" || where.kind === "lost" ? where.why : "";
  pass.plan.tellOfTask(leaving, "moved", `another takes its place, since ${why}`);
  const waitMs = waitOf(leaving, pass.now);
  const startAt = waitMs > 0 ? leaving.record?.startAt : undefined;
  enter(pass, slot, current ? undefined : leaving, { record: { ...nextRecord(leaving), startAt }, waitMs });
  return "another takes its place";
}

/** Nothing lives in the slot: whether and when something follows. */
function followEnd(pass: ServicePass, slot: Slot, decider: Task): string {
  const { plan, service } = pass;
  if ((decider.record?.settled ?? "") !== "") return "";
  const like = isCurrent(decider, service) ? undefined : decider;
  if (isStopping(decider)) {
    enter(pass, slot, like, { record: nextRecord(decider) });
    return "another takes its place";
  }
  const decision = decideRestart(decider.spec?.restart, decider, pass.now, pass.random.next());
  if (decision.kind === "settled") return settle(plan, decider, decision.why);
  enter(pass, slot, like, decision);
  return followText(decision);
}

function offer({ plan, networks }: ServicePass, task: Task): void {
  plan.offer(task);
  plan.change(task, { networks: [...networks] });
}

/** The slot gets no further task. */
function settle(plan: Plan, ended: Task, why: string): string {
  plan.change(ended, { record: { ...(ended.record ?? nextRecord(undefined)), settled: why } });
  plan.tellOfTask(ended, "settled", `${endText(ended)}; it is not restarted, since ${why}`);
  return "";
}

/** The end of a task was taken note of: its node may clear up, and people are told once. */
function answer(plan: Plan, ended: Task, follows: string): void {
  if (ended.desiredState > TaskState.RUNNING) return;
  plan.aim(ended, TaskState.SHUTDOWN);
  if ((plan.drafted(ended).record?.settled ?? "") !== "") return;
  const action = endActions[stateOf(ended)] ?? "ended";
  plan.tellOfTask(ended, action, `${endText(ended)}; ${follows}`);
}

const endActions: { readonly [state: number]: string } = {
  [TaskState.COMPLETE]: "completed",
  [TaskState.FAILED]: "failed",
  [TaskState.REJECTED]: "rejected",
  [TaskState.ORPHANED]: "lost",
  [TaskState.SHUTDOWN]: "stopped",
};

function followText({ waitMs }: Extract<RestartDecision, { kind: "restart" }>): string {
  return waitMs > 0 ? `another starts in ${durationText(waitMs)}` : "another starts now";
}

function rollBack(plan: Plan, service: Service, why: string): void {
  const { previousSpec } = service;
  if (previousSpec === undefined) return;
  const specVersion = service.specVersion + 1;
  plan.putService(
    {
      spec: previousSpec,
      previousSpec: undefined,
      specVersion,
      updateStatus: {
        state: UpdateStatus_State.ROLLING_BACK,
        startedAt: new Date(plan.now),
        completedAt: undefined,
        message: `rolling back, ${why}`,
        specVersion,
      },
    },
    service,
  );
  plan.tellOfService(service, "rollback-started", `returns to the spec before, ${why}`);
  plan.again = true;
}

/** Whether the rest is left to the next pass. */
function full(plan: Plan, budget: number): boolean {
  if (plan.size < budget) return false;
  plan.again = true;
  return true;
}

function memo<K extends object, V>(of: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const value = of(key);
    known.set(key, value);
    return value;
  };
}
