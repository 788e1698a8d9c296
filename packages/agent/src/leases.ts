import {
  LeaseReport_State,
  LeaseState,
  SlotRecord,
  TaskState,
  type AssignedLease,
  type AssignmentKind,
  type AssignmentsMessage,
  type Incarnation,
  type KnownRecord,
  type Point,
} from "@warren/api";
import { assignedKinds, kindName, leaseKey, sameEpoch, serviceOfSlot } from "@warren/api/model";
import type { ContainerStatus } from "@warren/runtime";
import { adoptRecord, emptyRecord, recordAt, withRunCounts } from "@warren/slot";
import { Changes } from "@warren/std";
import { AssignmentChain } from "./assignments.ts";
import type { NodeEnvironment } from "./environment.ts";
import { parseLabels, type RunLabels } from "./labels.ts";
import { LeaseController, type LeaseContext, type DesiredState } from "./lease-controller.ts";
import { checkPoint, sameIncarnation } from "./points.ts";
import { noContainer } from "./run.ts";
import type { TaskAttachment } from "./seams.ts";

/**
 * The leases of this node: applies the managers' assignments, and has a controller for each lease.
 *
 * I1 No lease is released for not being assigned before a COMPLETE message was applied; a lease that the record lacks
 *    is rebuilt from its container's labels (L12).
 * I2 A lease of an earlier incarnation neither stops nor starts until the present incarnation has assigned it (L14).
 */
export class Leases implements LeaseContext {
  readonly changes: Changes = new Changes();
  readonly #env: NodeEnvironment;
  readonly #controllers = new Map<string, LeaseController>();
  readonly #start: (controller: LeaseController) => void;
  readonly #chain = new AssignmentChain();
  /** This worker has applied a COMPLETE message, or the node's removal. */
  #answered = false;
  /** The node was removed from the cluster. */
  #removed = false;
  /** Leases whose release managers have acknowledged. */
  readonly #acknowledged = new Set<string>();

  /** @param start runs a controller to its end */
  constructor(env: NodeEnvironment, start: (controller: LeaseController) => void) {
    this.#env = env;
    this.#start = start;
  }

  get(key: string): LeaseController | undefined {
    return this.#controllers.get(key);
  }

  get size(): number {
    return this.#controllers.size;
  }

  /** Resolves when no lease has a run any more, once the machine goes down. */
  async atRest(): Promise<void> {
    await Promise.all(Array.from(this.#controllers.values(), ({ atRest }) => atRest));
  }

  desired(key: string): DesiredState {
    const { record } = this.#env;
    const { local } = record.lease(key);
    const assigned = record.assigned.of("lease").get(key);
    if (this.#isEarlier(local.incarnation)) return "unknown"; // I2
    if (assigned === undefined) return this.#answered ? "released" : "unknown"; // I1
    if (assigned.state === LeaseState.RELEASING) return "released";
    // A damaged record may lack a release, so nothing starts before a COMPLETE message.
    if ((record.incomplete && !this.#answered) || local.recordLost === true) return "unknown";
    return assigned.state === LeaseState.HELD ? "held" : "offered";
  }

  /**
   * L2: on one node, a slot's next lease starts after its predecessor is released, connected or not. The predecessor
   * may never have started itself, so all older leases that were held must be released too.
   */
  mayFollow(key: string): boolean {
    const { record } = this.#env;
    const after = record.assigned.of("lease").get(key)?.after;
    const { slotId, epoch } = record.lease(key).local;
    if (after === undefined) return true;
    for (const { local } of record.leases.values()) {
      if (local.slotId !== slotId || local.stage === "released") continue;
      if (sameEpoch(local.epoch, after) || (local.held === true && local.epoch.index < epoch.index)) return false;
    }
    return true;
  }

  isForgotten(key: string): boolean {
    const { record } = this.#env;
    if (record.assigned.of("lease").has(key)) return false;
    return this.#removed || record.lease(key).local.foreign === true || this.#acknowledged.has(key);
  }

  /** Call when a manager has stored a report with this state. */
  acknowledged(key: string, state: LeaseReport_State): void {
    if (state !== LeaseReport_State.RELEASED) return;
    this.#acknowledged.add(key);
    this.changes.notify();
  }

  /** L12: takes over the slot's record from a manager, as this node has lost its own. */
  adopt({ slotId, epoch, record: known, settled }: KnownRecord): void {
    const { record, boot, reporter } = this.#env;
    const key = leaseKey(slotId, epoch);
    const lease = record.leases.get(key);
    if (lease?.local.recordLost !== true) return;
    record.setSlotRecord(key, adoptRecord(SlotRecord.fromPartial(known ?? emptyRecord()), boot()));
    record.setLease(key, { recordLost: undefined, ...(settled !== "" && { settled }) });
    reporter.push(key);
    this.changes.notify();
  }

  /** Adds leases and runs to the record that only containers know (I1). */
  rebuild(containers: readonly ContainerStatus[]): void {
    const found = containers
      .filter((container) => this.#isUnknown(container))
      .map((container) => ({ container, labels: parseLabels(container.id, container.labels) }))
      .filter((each): each is Found => each.labels !== undefined)
      .toSorted((a, b) => age(a.container) - age(b.container));
    for (const each of found) this.#rebuild(each);
  }

  /** Reports all leases again. */
  reportAll(): void {
    for (const key of this.#env.record.leases.keys()) this.#env.reporter.push(key);
  }

  /** Starts the controllers of recorded leases, and reports all, as the record does not say what was reported. */
  begin(): void {
    for (const key of this.#env.record.leases.keys()) {
      this.#env.reporter.push(key);
      this.#control(key);
    }
  }

  /** The interfaces that recorded runs may have. */
  attachments(): TaskAttachment[] {
    const { record } = this.#env;
    return [...record.runs.values()].flatMap(({ id, local: { lease, netnsPath } }) => {
      const local = record.leases.get(lease)?.local;
      if (local === undefined || netnsPath === undefined || local.foreign === true) return [];
      return [
        { id, address: local.address, networks: local.networks ?? [], nameServers: local.nameServers ?? [], netnsPath },
      ];
    });
  }

  /** Applies a message. False: it is stale, or does not follow its predecessor, so the stream must be opened again. */
  apply(message: AssignmentsMessage): boolean {
    const { record, log } = this.#env;
    const check = checkPoint(record.lastApplied, message.point);
    if (check.kind !== "accepted") {
      log.warn("a manager's assignments are not applied", { why: check.why });
      return false;
    }
    const delta = this.#chain.follow(message, (digest) => record.assigned.find(digest));
    if (delta === undefined) return false;
    const incarnation = message.point?.incarnation;
    const isLater = !sameIncarnation(record.lastApplied?.incarnation, incarnation);
    for (const { kind, key, bytes } of delta.changes)
      if (bytes === undefined) this.#remove(kind, key);
      else this.#set(kind, key, bytes, incarnation);
    if (message.point !== undefined) record.setLastApplied(message.point);
    if (delta.complete) this.#complete(delta.changes, incarnation);
    this.changes.notify();
    for (const [key, controller] of this.#controllers) {
      controller.reconcile();
      // L14: a restored history may lack this node's leases.
      if (isLater) this.#env.reporter.push(key);
    }
    return true;
  }

  /** L15: the node was removed: releases all leases; no manager stores reports of them any more. */
  applyRemoval(point: Point | undefined): void {
    const { record } = this.#env;
    this.#answered = true;
    this.#removed = true;
    if (point !== undefined) record.setLastApplied(point);
    for (const name of ["lease", "endpoint", "backend"] as const)
      for (const key of record.assigned.of(name).keys()) this.#remove(assignedKinds[name].kind, key);
    this.changes.notify();
    for (const controller of this.#controllers.values()) controller.reconcile();
  }

  /** After a COMPLETE message: held leases that it does not name are assigned by this incarnation too. */
  #complete(changes: readonly { readonly key: string }[], incarnation: Incarnation | undefined): void {
    const { record } = this.#env;
    this.#answered = true;
    const named = new Set(changes.map(({ key }) => key));
    for (const key of record.assigned.of("lease").keys())
      // The record may have lost the local part of an assigned lease.
      if (!record.leases.has(key)) this.#setLease(key, incarnation);
      else if (!named.has(key)) this.#confirm(key, incarnation);
  }

  #set(kind: AssignmentKind, key: string, bytes: Uint8Array, incarnation: Incarnation | undefined): void {
    const { record, endpoints, log } = this.#env;
    if (!record.assign(kind, key, bytes)) {
      log.error("an assignment can't be read, and is kept as it is", { kind, key });
      return;
    }
    const name = kindName(kind);
    if (name === "lease") this.#setLease(key, incarnation);
    else if (name === "service") this.#keepRestart(key);
    else if (name === "endpoint") endpoints.changed();
    else if (name === "backend") {
      const backend = record.assigned.of("backend").get(key);
      if (backend !== undefined) endpoints.assigned(key, backend);
    }
  }

  /** Unassigns an object. A lease is then released, unless it is of an earlier incarnation (I2): see `desired`. */
  #remove(kind: AssignmentKind, key: string): void {
    const { record, endpoints } = this.#env;
    const name = kindName(kind);
    const backend = name === "backend" ? record.assigned.of("backend").get(key) : undefined;
    record.unassign(kind, key);
    if (backend !== undefined) endpoints.removed(key, backend);
    else if (name === "endpoint") endpoints.changed();
  }

  #setLease(key: string, incarnation: Incarnation | undefined): void {
    const { record, life, boot, reporter } = this.#env;
    const lease = record.assigned.of("lease").get(key);
    if (lease === undefined) return;
    if (!record.leases.has(key)) {
      const { slotId, epoch = { reign: 0, index: 0 }, versionId, address, offeredLife } = lease;
      record.addLease({
        local: { slotId, epoch, versionId, address, ...(offeredLife === life && { offeredLife }) },
        record: adoptRecord(SlotRecord.fromPartial(lease.initialRecord ?? emptyRecord()), boot()),
      });
      this.#keepRestart(serviceOfSlot(slotId));
      this.#confirm(key, incarnation);
      this.#control(key);
    } else this.#confirm(key, incarnation);
    // The manager that assigns a lease may not know its state.
    reporter.push(key);
  }

  #confirm(key: string, incarnation: Incarnation | undefined): void {
    const { record, boot } = this.#env;
    const assigned = record.assigned.of("lease").get(key) as AssignedLease;
    const { local, record: counts } = record.lease(key);
    // An offered lease was never held, even if it was rebuilt as held.
    const held = assigned.state === LeaseState.HELD || (local.held === true && assigned.state !== LeaseState.OFFERED);
    if ((local.held ?? false) === held && sameIncarnation(local.incarnation, incarnation)) return;
    // L9: while it was only offered, runs of the lease before it went on counting.
    if (held && local.held !== true && local.recordLost !== true && assigned.initialRecord !== undefined) {
      const before = adoptRecord(SlotRecord.fromPartial(assigned.initialRecord), boot());
      record.setSlotRecord(key, withRunCounts(recordAt(counts, boot()), before));
    }
    record.setLease(key, { incarnation, held: held || undefined });
  }

  /** Keeps the restart policy, for ends of runs while the service is not assigned. */
  #keepRestart(serviceId: string): void {
    const { record } = this.#env;
    const restart = record.assigned.of("service").get(serviceId)?.restart;
    for (const [key, { local }] of record.leases)
      if (serviceOfSlot(local.slotId) === serviceId) record.setLease(key, { restart });
  }

  #isEarlier(incarnation: Incarnation | undefined): boolean {
    const { lastApplied } = this.#env.record;
    return (
      incarnation !== undefined && lastApplied !== undefined && !sameIncarnation(incarnation, lastApplied.incarnation)
    );
  }

  #control(key: string): void {
    if (this.#controllers.has(key)) return;
    const controller = new LeaseController(this.#env, this, key);
    this.#controllers.set(key, controller);
    this.#start(controller);
  }

  /** Call when a controller has ended. */
  ended(controller: LeaseController): void {
    this.#controllers.delete(controller.key);
    this.#acknowledged.delete(controller.key);
    this.changes.notify();
    // The lease may have been assigned again meanwhile.
    if (this.#env.record.assigned.of("lease").has(controller.key))
      this.#setLease(controller.key, this.#env.record.lastApplied?.incarnation);
  }

  /** Whether the record lacks the run, or the lease of a run that may not have ended. */
  #isUnknown({ id, state }: ContainerStatus): boolean {
    const { record } = this.#env;
    const run = record.runs.get(id);
    if (run === undefined) return true;
    return !record.leases.has(run.local.lease) && (state.kind !== "exited" || record.incomplete);
  }

  #rebuild({ container, labels }: Found): void {
    const { record, boot, clock, nodeId } = this.#env;
    const { slotId, epoch, versionId, address, networks, nameServers } = labels;
    const { incarnation, life, run, serviceName, bootId } = labels;
    const key = leaseKey(slotId, epoch);
    const { state } = container;
    const running = state.kind === "running";
    const foreign = labels.nodeId !== "" && labels.nodeId !== nodeId;
    if (!record.leases.has(key)) {
      const held = running || state.kind === "exited";
      record.addLease({
        local: {
          slotId,
          epoch,
          versionId,
          address,
          networks,
          nameServers,
          ...(incarnation && { incarnation }),
          ...(held && { held }),
          ...(foreign ? { foreign } : { recordLost: true }),
        },
        record: emptyRecord(),
      });
    }
    if (record.runs.has(labels.taskId)) return;
    const now = boot();
    const startedMs = running ? state.startedBootMs : undefined;
    const startedAt = startedMs === undefined ? undefined : new Date(clock.now() - (now.elapsedMs - startedMs));
    record.addRun(
      labels.taskId,
      {
        lease: key,
        slotId,
        life,
        run,
        serviceName,
        image: container.image,
        found: true,
        bootId: running ? now.bootId : bootId,
        ...(startedMs !== undefined && { startedMs }),
        ...(running && !foreign && { netnsPath: container.netnsPath }),
      },
      {
        state: state.kind === "created" ? TaskState.READY : TaskState.RUNNING,
        at: new Date(clock.now()),
        message: "rebuilt from its container, as the worker's record lacked it",
        code: "",
        container: { ...noContainer, containerId: labels.taskId, address: foreign ? "" : address, startedAt },
        pending: undefined,
      },
    );
    this.#env.log.warn("a run that the record lacked was rebuilt from its container", {
      task: labels.taskId,
      lease: key,
      ...(foreign && { node: labels.nodeId }),
    });
  }
}

interface Found {
  readonly container: ContainerStatus;
  readonly labels: RunLabels;
}

/** Sort key, larger for newer runs: a running one is the newest of its lease. */
function age({ state }: ContainerStatus): number {
  switch (state.kind) {
    case "exited":
      return state.exit.finishedAt;
    case "unknown":
      return Number.MAX_SAFE_INTEGER - 2;
    case "created":
      return Number.MAX_SAFE_INTEGER - 1;
    case "running":
      return Number.MAX_SAFE_INTEGER;
    default:
      return state satisfies never;
  }
}
