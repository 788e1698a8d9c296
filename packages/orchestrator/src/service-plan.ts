/**
 * One pass over one service: what its slots need, as writes. Pure; whatever was done of it before, the next pass does
 * the rest. It decides leases only: which run follows which under a lease is the worker's (L6).
 *
 * P1: a slot is written by one pass at a time, each lease by at most one step of it.
 * P2: a stop-first slot holds a lease once all others that were held are released, or their nodes are given up (L2).
 * P3: a lease that runs is released only once another is ready to take its place: a bad image, a constraint that no
 *     node meets or a full cluster takes nothing down.
 */
import {
  LeaseState,
  UpdateStatus_State,
  type Epoch,
  type Lease,
  type Node,
  type Service,
  type ServiceEndpoint,
  type Slot,
  type Task,
  type Version,
} from "@warren/api";
import {
  compareSlotKeys,
  currentLease,
  defaultStopGraceMs,
  idOf,
  incomingLease,
  numberedSlot,
  recordOf,
  slotIdOf,
} from "@warren/api/model";
import type { ConstrainedNode } from "@warren/scheduler";
import { emptyRecord } from "@warren/slot";
import type { Random } from "@warren/std";
import type { Allocation } from "./allocator.ts";
import { displacement, type Displacement } from "./displacement.ts";
import { trimVersions } from "./history.ts";
import { Plan } from "./writes.ts";
import { nodeName, replicasOf, type Moment } from "./reading.ts";
import { decideRollout, monitorOf, type Rollout } from "./rollout.ts";
import { resize } from "./scaling.ts";
import { isStartFirst, rollbackTo, sameMake } from "./settings.ts";
import { planSlot, planUnwanted, type ServicePass } from "./slot-plan.ts";
import { readSlot, type SlotReading, type SlotSources } from "./slots.ts";

export interface ServiceSituation {
  readonly serviceId: string;
  /** Undefined: it was deleted, and its slots are to go. */
  readonly service: Service | undefined;
  /** Of one that was deleted: it is still known, so that nobody gets its address. */
  readonly addressRests: boolean;
  /** All of the service, as are slots and tasks. */
  readonly versions: readonly Version[];
  readonly slots: readonly Slot[];
  readonly tasks: readonly Task[];
  readonly nodeOf: (nodeId: string) => Node | undefined;
  readonly roleOf: (nodeId: string) => ConstrainedNode["role"];
  readonly endpoint: Allocation<ServiceEndpoint>;
  /** Ended tasks that a slot keeps. */
  readonly history: number;
  readonly downGraceMs: number;
  /** Writes after which the rest is left to the next pass. */
  readonly budget: number;
  readonly at: Moment;
  /** Of the command that the plan becomes. */
  readonly epoch: Epoch;
  readonly random: Random;
}

export function planService(situation: ServiceSituation): Plan {
  const plan = new Plan(situation.at, situation.epoch);
  const { service, versions, slots, tasks } = situation;
  const wanted = versions.find((version) => idOf(version) === service?.versionId);
  if (service === undefined) planRemoval(plan, situation);
  else if (wanted !== undefined) planSlots(plan, service, wanted, situation);
  if (!plan.again) trimVersions(plan, service, versions, slots, tasks);
  return plan;
}

/** L17: a slot outlives its service while a lease of it is unreleased, and the service's address rests as long. */
function planRemoval(plan: Plan, { serviceId, slots, tasks, budget, addressRests }: ServiceSituation): void {
  const tasksOf = bySlot(tasks);
  for (const slot of slots) {
    if (full(plan, budget)) return;
    planUnwanted(plan, slot, tasksOf(slot), "its service was deleted");
  }
  if (addressRests && slots.every((slot) => plan.isSlotDeleted(slot))) plan.forgetService(serviceId);
}

function planSlots(plan: Plan, service: Service, wanted: Version, situation: ServiceSituation): void {
  const { slots, tasks, budget, endpoint, at, epoch } = situation;
  if (endpoint.kind === "allocated" && endpoint.changed) plan.putService({ endpoint: endpoint.value }, service);
  const tasksOf = bySlot(tasks);
  const sources = sourcesOf(wanted, situation);
  const read = (slot: Slot): SlotReading => readSlot(slot, tasksOf(slot), sources);

  const ordered = slots.toSorted((a, b) => compareSlotKeys(a.key, b.key));
  const readings = ordered.filter((slot) => slot.wanted).map(read);
  const { remove, add } = resize(readings, replicasOf(service));
  const removed = new Set(remove.map(({ slot }) => slot));
  const returning = new Set(add.map((number) => slotIdOf(situation.serviceId, numberedSlot(number))));
  for (const slot of ordered) {
    if (full(plan, budget)) return;
    if (removed.has(slot) || (!slot.wanted && !returning.has(idOf(slot))))
      planUnwanted(plan, slot, tasksOf(slot), "its service wants fewer tasks");
  }

  const kept = readings.filter(({ slot }) => !removed.has(slot));
  const rollout = decideRollout({
    service,
    wanted,
    versionOf: sources.versionOf,
    readings: kept,
    at,
    index: epoch.index,
  });
  if (rollout.kind === "roll-back") return rollBack(plan, service, rollout, sources);
  recordRollout(plan, service, rollout);

  const pass = passOf(plan, service, wanted, situation, rollout.kind, sources);
  for (const reading of kept) {
    if (full(plan, budget)) return;
    planSlot(pass, reading, rollout.turn.has(reading));
  }
  const byId = new Map(slots.map((slot) => [idOf(slot), slot]));
  for (const number of add) {
    if (full(plan, budget)) return;
    const slot = returned(byId, service, situation.serviceId, number);
    if (byId.has(idOf(slot))) plan.putSlot(slot);
    else plan.createSlot(slot);
    planSlot(pass, read(slot), false);
  }
}

/** The slot of that number, wanted: one that is still there, or a new one. */
function returned(byId: ReadonlyMap<string, Slot>, service: Service, serviceId: string, number: number): Slot {
  const key = numberedSlot(number);
  const id = slotIdOf(serviceId, key);
  const before = byId.get(id);
  if (before !== undefined) return { ...before, wanted: true, ...(before.settled !== "" && begunAnew(before)) };
  return {
    meta: { id, version: 0, createdAt: undefined, updatedAt: undefined },
    serviceId,
    serviceName: service.spec?.name ?? "",
    key,
    wanted: true,
    leases: [],
    settled: "",
    retryAt: undefined,
    retryWaitMs: 0,
  };
}

/** What a slot has done does not count once it was given up, also where its last lease or its address is not gone yet. */
function begunAnew({ leases }: Slot): Pick<Slot, "settled" | "leases"> {
  return {
    settled: "",
    leases: leases.map((lease) => ({
      ...lease,
      record: { ...emptyRecord(), runs: recordOf(lease)?.runs ?? 0 },
      // One that is settled runs no more, so its release is not taken back.
      releaseAcknowledged: lease.releaseAcknowledged || lease.state === LeaseState.RELEASING,
    })),
  };
}

/** How the slots stand towards a version that is wanted. */
export function sourcesOf(
  wanted: Version,
  situation: Pick<ServiceSituation, "versions" | "slots" | "nodeOf" | "roleOf" | "downGraceMs" | "at">,
): SlotSources {
  const { versions, slots, nodeOf, roleOf, downGraceMs, at } = situation;
  const byId = new Map(versions.map((version) => [idOf(version), version]));
  const versionOf = (id: string): Version | undefined => byId.get(id);
  const base = memo((lease: Lease): Displacement => {
    const version = versionOf(lease.versionId);
    return displacement(lease, {
      node: nodeOf(lease.nodeId),
      role: roleOf(lease.nodeId),
      // A slot that the rollout has not come to is moved by the rollout, not before.
      placement: sameMake(version, wanted) ? wanted.task?.placement : undefined,
      stopGraceMs: version?.task?.container?.stopGraceMs ?? defaultStopGraceMs,
      downGraceMs,
      at,
    });
  });
  const crowded = crowdedOut(slots, wanted, versionOf, (lease) => base(lease).kind === "none");
  const displacementOf = (_slot: Slot, lease: Lease): Displacement => {
    const found = base(lease);
    if (found.kind !== "none" || !crowded.has(lease)) return found;
    const most = wanted.task?.placement?.maxReplicasPerNode ?? 0;
    const name = nameOfNode(nodeOf(lease.nodeId), lease.nodeId);
    return { kind: "must-go", why: `${name} may have ${most} of the service's tasks, and has more` };
  };
  return { wanted, versionOf, displacementOf };
}

function nameOfNode(node: Node | undefined, nodeId: string): string {
  return node === undefined ? nodeId : nodeName(node);
}

/** Leases beyond the most that a node may have: first those that are replaced already, then those of the last slots. */
function crowdedOut(
  slots: readonly Slot[],
  wanted: Version,
  versionOf: SlotSources["versionOf"],
  stays: (lease: Lease) => boolean,
): ReadonlySet<Lease> {
  const most = wanted.task?.placement?.maxReplicasPerNode ?? 0;
  const crowded = new Set<Lease>();
  if (most === 0) return crowded;
  const onNode = new Map<string, { readonly slot: Slot; readonly lease: Lease }[]>();
  for (const slot of slots) {
    const lease = slot.wanted ? currentLease(slot) : undefined;
    if (lease === undefined || !sameMake(versionOf(lease.versionId), wanted) || !stays(lease)) continue;
    onNode.set(lease.nodeId, [...(onNode.get(lease.nodeId) ?? []), { slot, lease }]);
  }
  const moving = ({ slot }: { readonly slot: Slot }): number => (incomingLease(slot) === undefined ? 0 : 1);
  for (const there of onNode.values()) {
    const staysFirst = there.toSorted((a, b) => moving(a) - moving(b) || compareSlotKeys(a.slot.key, b.slot.key));
    for (const { lease } of staysFirst.slice(most)) crowded.add(lease);
  }
  return crowded;
}

function passOf(
  plan: Plan,
  service: Service,
  wanted: Version,
  { endpoint, history, at, random, nodeOf }: ServiceSituation,
  phase: ServicePass["phase"],
  { versionOf }: SlotSources,
): ServicePass {
  return {
    plan,
    service,
    wanted,
    versionOf,
    at,
    now: at.now,
    random,
    nodeNameOf: (nodeId) => nameOfNode(nodeOf(nodeId), nodeId),
    startFirst: isStartFirst(service),
    phase,
    monitorMs: monitorOf(service),
    // One that has its address goes on with the ports it has.
    unallocated: endpoint.kind === "short" && service.endpoint === undefined ? endpoint.reason : "",
    history,
  };
}

function recordRollout(
  plan: Plan,
  service: Service,
  { changes, announced, wakeInMs }: Exclude<Rollout, { readonly kind: "roll-back" }>,
): void {
  if (wakeInMs !== undefined) plan.wakeIn(wakeInMs);
  if (changes !== undefined) plan.putService(changes, service);
  if (announced !== undefined)
    plan.emitForService(service, updateActions[announced.state] ?? "updating", announced.message);
}

const updateActions: { readonly [state: number]: string } = {
  [UpdateStatus_State.UPDATING]: "update-started",
  [UpdateStatus_State.PAUSED]: "update-paused",
  [UpdateStatus_State.COMPLETED]: "update-completed",
  [UpdateStatus_State.ROLLING_BACK]: "rollback-started",
  [UpdateStatus_State.ROLLBACK_PAUSED]: "rollback-paused",
  [UpdateStatus_State.ROLLED_BACK]: "rollback-completed",
};

/** The wanted version is another from here on, so that nothing else of this pass holds. */
function rollBack(
  plan: Plan,
  service: Service,
  { versionId, why, failure }: Extract<Rollout, { readonly kind: "roll-back" }>,
  { versionOf }: SlotSources,
): void {
  const version = versionOf(versionId);
  if (version === undefined) return;
  const cause = { cause: why, failedSlot: failure?.key, failedEnd: failure?.end };
  const changes = rollbackTo(service, version, `rolling back, ${why}`, plan.now, plan.epoch.index, cause);
  plan.putService(changes, service);
  plan.emitForService(service, "rollback-started", `returns to version ${version.number}, ${why}`);
  plan.again = true;
}

export function bySlot(tasks: readonly Task[]): (slot: Slot) => readonly Task[] {
  const grouped = Map.groupBy(tasks, ({ slotId }) => slotId);
  return (slot) => grouped.get(idOf(slot)) ?? [];
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
