/**
 * A slot as one pass changes it: the moves that its leases can make, each with what it does to the lease's task.
 *
 * L1: a slot has at most one current and one incoming lease; as leases stand inside their slot, each write of one writes
 * the slot, and a decision on an old state is a stale write.
 */
import {
  LeaseState,
  TaskState,
  type Epoch,
  type Lease,
  type Slot,
  type Task,
  type TaskStatus,
  type Version,
} from "@warren/api";
import { firstRun, hasEnded, idOf, incomingLease, isStanding, mayRun, sameEpoch, taskIdOf } from "@warren/api/model";
import { assert } from "@warren/std";
import { withCounts } from "./lease-record.ts";
import type { Plan } from "./writes.ts";

/** How long a released lease's address is not allocated again, ms (L8). */
export const addressRestMs = 60_000;

export class SlotDraft {
  readonly #plan: Plan;
  readonly #before: Slot;
  readonly #tasks: readonly Task[];
  #slot: Slot;

  /** @param tasks all of the slot */
  constructor(plan: Plan, slot: Slot, tasks: readonly Task[]) {
    this.#plan = plan;
    this.#before = slot;
    this.#slot = slot;
    this.#tasks = tasks;
  }

  get slot(): Slot {
    return this.#slot;
  }

  change(changes: Partial<Omit<Slot, "leases" | "meta">>): void {
    this.#slot = { ...this.#slot, ...changes };
  }

  /** Makes the incoming lease, with the task that is its first run. */
  want(versionId: string, cause: string, status: Pick<TaskStatus, "state" | "message">): void {
    const { epoch, now } = this.#plan;
    const { leases, serviceId, serviceName, key } = this.#slot;
    // L1
    assert(leases.filter(isStanding).length < 2, "a slot has at most one current and one incoming lease");
    assert(
      leases.every((lease) => !sameEpoch(lease.epoch, epoch)),
      "a command makes at most one lease of a slot",
    );
    const lease: Lease = {
      epoch,
      versionId,
      state: LeaseState.WANTED,
      nodeId: "",
      address: "",
      after: undefined,
      wasHeld: false,
      releaseAcknowledged: false,
      since: new Date(now),
      initialRecord: undefined,
      offeredLife: 0,
      hostPorts: [],
      record: undefined,
      cause,
    };
    this.#slot = { ...this.#slot, leases: [...leases, lease] };
    const id = taskIdOf(idOf(this.#slot), epoch, firstRun);
    this.#plan.createTask({
      meta: { id, version: 0, createdAt: undefined, updatedAt: undefined },
      serviceId,
      serviceName,
      slotId: idOf(this.#slot),
      slot: key,
      epoch,
      ...firstRun,
      nodeId: "",
      versionId,
      status: statusAt(now, status),
      desiredState: TaskState.UNSPECIFIED,
      spec: undefined,
      versionNumber: 0,
      current: false,
      upToDate: false,
      settled: "",
    });
  }

  /** L4: what was never held is released at once. One that had no node leaves no trace. */
  withdraw(lease: Lease, why: string): void {
    assert(lease.state <= LeaseState.OFFERED, "a lease that was held is released by its node");
    const tasks = this.#tasks.filter((task) => sameEpoch(task.epoch, lease.epoch));
    if (lease.state === LeaseState.WANTED) {
      this.#slot = { ...this.#slot, leases: this.#slot.leases.filter((each) => !sameEpoch(each.epoch, lease.epoch)) };
      for (const task of tasks) this.#plan.deleteTask(task);
      return;
    }
    this.#enter(lease, { state: LeaseState.RELEASED });
    for (const task of tasks) {
      if (hasEnded(task)) continue;
      const message = `withdrawn before it was started: ${why}`;
      this.#plan.putTask({ ...task, status: statusAt(this.#plan.now, { state: TaskState.SHUTDOWN, message }) });
    }
  }

  /** The node stops it. */
  release(lease: Lease): void {
    assert(lease.state === LeaseState.HELD, "only a lease that is held is stopped");
    this.#enter(lease, { state: LeaseState.RELEASING, releaseAcknowledged: false });
  }

  /** It is not wanted any more, however far it came. */
  drop(lease: Lease, why: string): void {
    if (lease.state === LeaseState.HELD) this.release(lease);
    else this.withdraw(lease, why);
  }

  /** @param after L2: the lease on the same node that is released before */
  hold(lease: Lease, after: Epoch | undefined, versionOf: (id: string) => Version | undefined): void {
    assert(lease.state === LeaseState.OFFERED, "a lease is offered before it is held");
    this.#enter(withCounts(this.#slot, lease, versionOf), { state: LeaseState.HELD, wasHeld: true, after });
  }

  /** L4: not once the node has acknowledged it. */
  takeBack(lease: Lease): void {
    assert(
      lease.state === LeaseState.RELEASING && !lease.releaseAcknowledged,
      "only an unacknowledged release is taken back",
    );
    this.#enter(lease, { state: LeaseState.HELD });
  }

  /**
   * Forgets leases that are released and whose address has rested, but the last one that was held while none is: it says
   * what the slot ran last. While a further lease is tried, the last that came to nothing stays: the next one goes on from
   * its record.
   *
   * @returns how long until more can be forgotten, ms; undefined: nothing rests
   */
  forget(restOf: (lease: Lease) => number): number | undefined {
    const { leases, wanted, retryAt } = this.#slot;
    const served = leases.some(({ state }) => state === LeaseState.HELD);
    const last = served || !wanted ? undefined : leases.findLast(({ wasHeld }) => wasHeld);
    const isTrying = wanted && (retryAt !== undefined || incomingLease(this.#slot) !== undefined);
    const tried = isTrying
      ? leases.findLast(({ state, nodeId }) => state === LeaseState.RELEASED && nodeId !== "")
      : undefined;
    const isKept = (lease: Lease): boolean =>
      lease.state !== LeaseState.RELEASED || lease === last || lease === tried || restOf(lease) > 0;
    const kept = leases.filter(isKept);
    if (kept.length < leases.length) this.#slot = { ...this.#slot, leases: kept };
    const waits = kept.filter((lease) => lease.state === LeaseState.RELEASED).map(restOf);
    const left = waits.filter((ms) => ms > 0);
    return left.length === 0 ? undefined : Math.min(...left);
  }

  /** Writes the slot if it has changed. */
  commit(): void {
    if (this.#slot !== this.#before) this.#plan.putSlot(this.#slot);
  }

  #enter(lease: Lease, changes: Partial<Lease>): void {
    const next = { ...lease, ...changes, since: new Date(this.#plan.now) };
    const leases = this.#slot.leases.map((each) => (sameEpoch(each.epoch, lease.epoch) ? next : each));
    this.#slot = { ...this.#slot, leases };
  }
}

export type HoldGate =
  | { readonly kind: "hold"; readonly after: Epoch | undefined }
  /** Others that were held are not released. */
  | { readonly kind: "wait" };

/**
 * L2: whether `incoming` may be held while the slot's others are as they are.
 *
 * @param isLost another node than the incoming one's can't be reached, or is late, so that nobody waits for it (partition
 * policy, L11)
 */
export function holdGate(leases: readonly Lease[], incoming: Lease, isLost: (lease: Lease) => boolean): HoldGate {
  const others = leases.filter((lease) => !sameEpoch(lease.epoch, incoming.epoch) && mayRun(lease));
  const here = others.filter(({ nodeId }) => nodeId === incoming.nodeId);
  const isHeldUp = others.some((lease) => lease.nodeId !== incoming.nodeId && !isLost(lease));
  if (isHeldUp || here.some(({ state }) => state !== LeaseState.RELEASING)) return { kind: "wait" };
  // The node makes the hand-over itself, connected or not, and from those before that one, too. However late it is with
  // a release, it knows what still runs there.
  return { kind: "hold", after: here.at(-1)?.epoch };
}

/** A task's status that is entered now. */
export function statusAt(now: number, { state, message }: Pick<TaskStatus, "state" | "message">): TaskStatus {
  return { state, at: new Date(now), message, code: "", container: undefined, pending: undefined };
}
