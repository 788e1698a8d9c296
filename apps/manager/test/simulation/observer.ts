/**
 * What must hold at every moment, judged by what a bystander sees: each command as it is applied, and each container as
 * it starts or is made to end.
 */
import {
  LeaseState,
  NodeSpec_Availability,
  NodeStatus_State,
  UpdateConfig_Order as Order,
  type Lease,
  type Slot,
} from "@warren/api";
import { currentLease, isStanding, leaseKey, mayRun, recordOf, sameEpoch, serviceOfSlot } from "@warren/api/model";
import type { FakeProcess } from "@warren/runtime/testing";
import type { FakeClock } from "@warren/std/testing";
import type { View } from "@warren/store";
import type { Edge } from "./edge.ts";
import { Restarts, type Origin } from "./restarts.ts";

/** As the orchestrator has them. */
const downGraceMs = 30_000;
const releaseSlackMs = 30_000;
const addressRestMs = 60_000;

/** A command is applied a little after the times in it were read. */
const slackMs = 50;

/** A broken promise. The first that is broken is the one that matters. */
export class Violation extends Error {
  override readonly name: string = "Violation";
}

/** What was ever known of a lease. */
interface Known {
  state: LeaseState;
  readonly slotId: string;
  readonly nodeId: string;
  readonly address: string;
  /** It was ever said to stop, or that it is gone. */
  told: boolean;
  everHeld: boolean;
  /** Another was held though this one was not released, as its node was gone or late. */
  givenUp: boolean;
  /** When it was first seen as releasing, and has been since. */
  readonly releasingSince: number | undefined;
  /** Its slot was settled while it was there. */
  readonly settled: boolean;
}

export class Observer {
  readonly #clock: FakeClock;
  readonly #edges: () => readonly Edge[];
  readonly violations: Violation[] = [];
  readonly leases: Map<string, Known> = new Map();
  readonly #started = new Map<string, string>();
  /** Services that were ever start-first. */
  readonly #startFirst = new Set<string>();
  readonly #rests = new Map<string, { readonly key: string; readonly since: number }>();
  /** Containers that were started, or went on, though no manager may have wanted it. */
  readonly #strays = new Set<string>();
  readonly #graces = new Map<string, number>();
  /** Since when each node that is down has been down. */
  readonly #downSince = new Map<string, number>();
  /** Slots whose policy allows no further attempt. */
  readonly #usedUp = new Set<string>();
  readonly restarts: Restarts = new Restarts((what) => this.broken(what));
  view: View | undefined;
  starts = 0;

  constructor(clock: FakeClock, edges: () => readonly Edge[]) {
    this.#clock = clock;
    this.#edges = edges;
  }

  /** A command was applied. */
  onApplied(view: View): void {
    this.view = view;
    for (const { meta, spec } of view.list("services")) {
      const id = meta?.id ?? "";
      if (spec?.update?.order === Order.START_FIRST) this.#startFirst.add(id);
      this.#graces.set(id, spec?.task?.container?.stopGraceMs ?? 10_000);
    }
    for (const { meta, status } of view.list("nodes")) {
      const id = meta?.id ?? "";
      if (status?.state !== NodeStatus_State.DOWN) this.#downSince.delete(id);
      else if (!this.#downSince.has(id)) this.#downSince.set(id, this.#clock.monotonic());
    }
    const present = new Set<string>();
    const holders = new Map<string, string>();
    for (const slot of view.list("slots")) {
      this.#checkSlot(view, slot, present, holders);
      this.#followRestarts(view, slot);
    }
    for (const [key, known] of this.leases) {
      if (present.has(key) || known.told) continue;
      this.leases.set(key, { ...known, told: true, state: LeaseState.RELEASED });
    }
    this.#checkAllocations(view);
  }

  /** A process of a container starts. */
  onStart(edge: Edge, { container: { id, labels = {} } }: FakeProcess): void {
    this.starts += 1;
    const [slotId, address] = [labels["warren.slot-id"] ?? "", labels["warren.address"] ?? ""];
    const key = `${slotId}/${labels["warren.epoch"] ?? ""}`;
    const before = this.#started.get(id);
    if (before !== undefined) this.broken(`L6: task ${id} starts on ${edge.name}, and did on ${before}`);
    this.#started.set(id, edge.name);
    if (edge.astray) {
      this.#strays.add(id);
      this.restarts.forget(key);
    }
    this.restarts.onStart(key, edge.clock.bootTime());
    const lease = this.leases.get(key);
    if (!edge.astray) {
      if (lease === undefined) this.broken(`a run of ${key} starts on ${edge.name}: no manager ever made that lease`);
      else if (!lease.everHeld) this.broken(`a run of ${key} starts on ${edge.name}, and it was only offered`);
      else if (lease.state === LeaseState.RELEASED && !lease.givenUp)
        this.broken(`a run of ${key} starts on ${edge.name}, and it is released`);
    }
    if (lease !== undefined && lease.address !== address)
      this.broken(`L8: a run of ${key} has address ${address}, and its lease ${lease.address}`);
    this.#checkAlone(edge, id, slotId, key);
  }

  /** A worker has the runtime end or remove a container that runs. */
  onEnd(edge: Edge, id: string): void {
    const key = `${edge.label(id, "slot-id")}/${edge.label(id, "epoch")}`;
    const lease = this.leases.get(key);
    if (lease === undefined || lease.told || lease.state !== LeaseState.HELD || edge.astray) return;
    this.broken(`${edge.name} ends a run of ${key}, which is held and was never told to stop`);
  }

  /** The process of a container has ended by itself. */
  onExit(edge: Edge, id: string, code: number): void {
    const key = `${edge.label(id, "slot-id")}/${edge.label(id, "epoch")}`;
    this.restarts.onExit(key, code, edge.clock.bootTime());
    // A worker that stands still, or is not there, takes an end for as late as it notices it, and its window begins then.
    if (edge.worker === undefined || edge.worker.paused) this.restarts.forget(key);
  }

  /** Its worker's record is older than what its containers did, or gone: what of it was not reported counts nowhere. */
  onRecordLost(edge: Edge): void {
    for (const [key, { nodeId }] of this.leases) if (nodeId === edge.nodeId) this.restarts.forget(key);
  }

  broken(what: string): void {
    this.violations.push(new Violation(`${Math.round(this.#clock.monotonic())} ms: ${what}`));
  }

  /** L2: a slot that stops first has one container. */
  #checkAlone(edge: Edge, id: string, slotId: string, key: string): void {
    if (this.#startFirst.has(serviceOfSlot(slotId))) return;
    for (const other of this.#edges())
      for (const running of other.running) {
        if (running === id || other.label(running, "slot-id") !== slotId) continue;
        const otherKey = `${slotId}/${other.label(running, "epoch")}`;
        const [mine, theirs] = [this.leases.get(key), this.leases.get(otherKey)];
        if (mine?.givenUp === true || theirs?.givenUp === true) continue;
        if (this.#strays.has(id) || this.#strays.has(running)) continue;
        this.broken(`L2: ${slotId} starts ${key} on ${edge.name} while ${otherKey} runs on ${other.name}`);
      }
  }

  #checkSlot(view: View, slot: Slot, present: Set<string>, holders: Map<string, string>): void {
    const slotId = slot.meta?.id ?? "";
    const standing = slot.leases.filter(isStanding);
    if (standing.length > 2) this.broken(`L1: ${slotId} has ${standing.length} standing leases`);
    slot.leases.forEach((lease, at) => {
      const before = slot.leases[at - 1];
      if (before?.epoch !== undefined && (lease.epoch?.index ?? 0) <= before.epoch.index)
        this.broken(`epochs of ${slotId} do not grow`);
      const key = leaseKey(slotId, lease.epoch);
      present.add(key);
      const known = this.leases.get(key);
      if (known === undefined) this.#checkMove(view, slot, lease);
      if (lease.state === LeaseState.HELD && known?.state !== LeaseState.HELD) this.#onHeld(view, slot, lease);
      if (lease.address !== "") this.#checkAddress(key, lease, known, holders);
      const isReleasedForIt = lease.state === LeaseState.RELEASED && known !== undefined && lease.nodeId !== "";
      if (isReleasedForIt && view.get("nodes", lease.nodeId) === undefined)
        this.leases.set(key, { ...known, givenUp: true });
      if (known?.address && known.address !== lease.address)
        this.broken(`L8: ${key} had address ${known.address}, and has ${lease.address}`);
      this.leases.set(key, {
        state: lease.state,
        slotId,
        nodeId: lease.nodeId,
        address: lease.address,
        told: known?.told === true || lease.state >= LeaseState.RELEASING,
        everHeld: known?.everHeld === true || lease.state === LeaseState.HELD,
        givenUp: this.leases.get(key)?.givenUp === true,
        releasingSince:
          lease.state === LeaseState.RELEASING ? (known?.releasingSince ?? this.#clock.monotonic()) : undefined,
        settled: known?.settled === true || slot.settled !== "",
      });
    });
  }

  #followRestarts(view: View, slot: Slot): void {
    const slotId = slot.meta?.id ?? "";
    const policy = view.get("services", slot.serviceId)?.spec?.task?.restart;
    const held = slot.leases.filter(({ state }) => state === LeaseState.HELD);
    for (const lease of held) {
      const key = leaseKey(slotId, lease.epoch);
      this.restarts.onHeld(key, policy, this.#originOf(view, slot, lease));
      this.restarts.onOtherPolicy(key, policy);
    }
    const isUsedUp = slot.settled.endsWith("as often as its policy allows");
    const [only] = held;
    if (isUsedUp && !this.#usedUp.has(slotId) && held.length === 1)
      this.restarts.onAttemptsUsedUp(leaseKey(slotId, only?.epoch));
    if (isUsedUp) this.#usedUp.add(slotId);
    else this.#usedUp.delete(slotId);
  }

  /** L9: what the record of a lease that is held now goes on from. */
  #originOf(view: View, slot: Slot, lease: Lease): Origin {
    if ((lease.initialRecord?.runs ?? 0) === 0) return { kind: "none" };
    const make = ({ versionId }: Lease): string => view.get("versions", versionId)?.make ?? versionId;
    const before = slot.leases.filter((each) => each !== lease && mayHaveRun(each)).at(-1);
    const key = leaseKey(slot.meta?.id ?? "", before?.epoch);
    const known = this.leases.get(key);
    // The last word of its node is stored, and nothing has begun anew since.
    const isWhole =
      before?.state === LeaseState.RELEASED &&
      known?.givenUp === false &&
      !known.settled &&
      make(before) === make(lease);
    return isWhole ? { kind: "lease", key, restarts: lease.initialRecord?.restarts ?? 0 } : { kind: "unknown" };
  }

  /** L6, L9: what may stay on its node is moved by nobody before it has failed three times in a row. */
  #checkMove(view: View, slot: Slot, lease: Lease): void {
    const current = currentLease(slot);
    if (current === undefined || current === lease || !isStanding(lease)) return;
    const make = (versionId: string): string => view.get("versions", versionId)?.make ?? versionId;
    if (make(current.versionId) !== make(lease.versionId)) return;
    const node = view.get("nodes", current.nodeId);
    const mayStay =
      node?.status?.state !== NodeStatus_State.DOWN && node?.spec?.availability !== NodeSpec_Availability.DRAIN;
    const { failures = 0, rejections = 0 } = recordOf(current) ?? {};
    // L11: its node does not say that what was there before it is gone.
    const before = slot.leases.find((each) => sameEpoch(each.epoch, current.after) && mayRun(each));
    if (before !== undefined && this.#isLate(slot, before)) return;
    if (mayStay && node !== undefined && failures < 3 && rejections < 3)
      this.broken(
        `L6: ${leaseKey(slot.meta?.id ?? "", lease.epoch)} is to replace one that may stay on ${current.nodeId}`,
      );
  }

  /** By time that goes on, as managers' wall clocks are set. */
  #hasPassed(since: number | undefined, ms: number): boolean {
    return since !== undefined && this.#clock.monotonic() - since >= ms - slackMs;
  }

  /** L11 */
  #isLate({ meta, serviceId }: Slot, lease: Lease): boolean {
    const known = this.leases.get(leaseKey(meta?.id ?? "", lease.epoch));
    return this.#hasPassed(known?.releasingSince, (this.#graces.get(serviceId) ?? 0) + releaseSlackMs);
  }

  /** L2: nothing else of the slot may run, unless its node is not waited for. */
  #onHeld(view: View, slot: Slot, lease: Lease): void {
    const slotId = slot.meta?.id ?? "";
    for (const other of slot.leases) {
      if (other === lease || !mayRun(other)) continue;
      const key = leaseKey(slotId, other.epoch);
      const known = this.leases.get(key);
      const node = view.get("nodes", other.nodeId);
      const isDown = this.#hasPassed(this.#downSince.get(other.nodeId), downGraceMs);
      const isLate = this.#isLate(slot, other);
      // On its own node it is waited for, however late.
      if (other.nodeId !== lease.nodeId && (node === undefined || isDown || isLate)) {
        if (known !== undefined) this.leases.set(key, { ...known, givenUp: true });
        continue;
      }
      const handedOver =
        other.nodeId === lease.nodeId &&
        (sameEpoch(lease.after, other.epoch) || (lease.after?.index ?? 0) > (other.epoch?.index ?? 0));
      if (handedOver || this.#startFirst.has(serviceOfSlot(slotId))) continue;
      this.broken(`L2: ${leaseKey(slotId, lease.epoch)} is held, and ${key} may run on ${other.nodeId}`);
    }
  }

  #checkAddress(key: string, lease: Lease, known: Known | undefined, holders: Map<string, string>): void {
    const { address } = lease;
    if (lease.state === LeaseState.RELEASED) {
      if (known?.state !== LeaseState.RELEASED) this.#rests.set(address, { key, since: this.#clock.monotonic() });
      return;
    }
    const other = holders.get(address);
    if (other !== undefined) this.broken(`${address} is held by ${key} and by ${other}`);
    holders.set(address, key);
    const rest = this.#rests.get(address);
    if (known?.address === address || rest === undefined || rest.key === key) return;
    const restedMs = this.#clock.monotonic() - rest.since;
    if (restedMs < addressRestMs)
      this.broken(`L8: ${key} gets ${address} ${restedMs} ms after ${rest.key} released it`);
  }

  #checkAllocations(view: View): void {
    const held = new Map<string, string>();
    const take = (what: string, who: string): void => {
      const other = held.get(what);
      if (other !== undefined && other !== who) this.broken(`${what} is held by ${who} and by ${other}`);
      held.set(what, who);
    };
    for (const { meta, endpoint } of view.list("services")) {
      if (endpoint === undefined) continue;
      if (endpoint.vip !== "") take(endpoint.vip, meta?.id ?? "");
      for (const port of endpoint.ports)
        if (port.published !== 0) take(`port ${port.published}/${port.protocol}`, `${meta?.id ?? ""} ${port.target}`);
    }
    for (const { meta, vip } of view.list("deletedServices")) if (vip !== "") take(vip, meta?.id ?? "");
    for (const { meta, subnet } of view.list("nodes")) {
      if (subnet !== "") take(`subnet ${subnet}`, meta?.id ?? "");
      if (view.get("removedNodes", meta?.id ?? "") !== undefined)
        this.broken(`L15: ${meta?.id} was removed, and is there`);
    }
  }
}

function mayHaveRun({ wasHeld, nodeId }: Lease): boolean {
  return wasHeld && nodeId !== "";
}
