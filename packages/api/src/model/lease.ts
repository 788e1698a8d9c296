/**
 * A slot's current and incoming lease.
 *
 * A slot's leases are in the order of their epochs. At most two are neither releasing nor released: the older is the
 * current one, the newer the incoming one. A single one is current once it is held, and incoming before.
 */
import { LeaseState, type Lease, type Slot, type SlotRecord } from "../generated/warren/v1/slot.ts";

/** WANTED, OFFERED or HELD: it is to run, or runs. */
export function isStanding({ state }: Lease): boolean {
  return state <= LeaseState.HELD;
}

/** Its container may exist, as far as the managers know. */
export function isUnreleased({ state, nodeId }: Lease): boolean {
  return state !== LeaseState.RELEASED && nodeId !== "";
}

/** It was held and is not released: while there is one, a stop-first slot holds no other (L2). */
export function mayRun(lease: Lease): boolean {
  return lease.wasHeld && lease.state !== LeaseState.RELEASED;
}

export function standingLeases({ leases }: Pick<Slot, "leases">): readonly Lease[] {
  return leases.filter(isStanding);
}

/** The lease whose task serves now. */
export function currentLease(slot: Pick<Slot, "leases">): Lease | undefined {
  const [first] = standingLeases(slot);
  return first?.state === LeaseState.HELD ? first : undefined;
}

/** The lease that is to take over, or to become the first. */
export function incomingLease(slot: Slot): Lease | undefined {
  const standing = standingLeases(slot);
  return standing.length === 2 ? standing[1] : standing[0]?.state === LeaseState.HELD ? undefined : standing[0];
}

/** Ids of the nodes that a container of the slot may be on. */
export function nodesOfSlot({ leases }: Slot): readonly string[] {
  return [...new Set(leases.filter(isUnreleased).map(({ nodeId }) => nodeId))];
}

/** L9: the slot's record as a lease has it: as its node last reported it, or as the lease was offered. */
export function recordOf(lease: Lease | undefined): SlotRecord | undefined {
  return lease?.record ?? lease?.initialRecord;
}

/** The lease that has the slot's record: the current one, else the last that was held, else the last that got a node. */
export function recordedLease(slot: Pick<Slot, "leases">): Lease | undefined {
  const withNode = slot.leases.filter(({ nodeId }) => nodeId !== "");
  return currentLease(slot) ?? withNode.findLast(({ wasHeld }) => wasHeld) ?? withNode.at(-1);
}
