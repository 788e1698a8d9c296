/**
 * A slot's current and incoming lease.
 *
 * A slot's leases are in the order of their epochs. At most two are neither releasing nor released: the older is the
 * current one, the newer the incoming one. A single one is current once it is held, and incoming before.
 */
import { LeaseState, type Lease, type Slot } from "../generated/warren/v1/slot.ts";

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

export function standingLeases({ leases }: Slot): readonly Lease[] {
  return leases.filter(isStanding);
}

/** The lease whose task serves now. */
export function currentLease(slot: Slot): Lease | undefined {
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

/** L9: the lease that the slot's record speaks of: the newest that got a node, but for offers that came to nothing. */
export function recordedLease({ leases }: Pick<Slot, "leases">): Lease | undefined {
  return leases.findLast((lease) => lease.nodeId !== "" && (isStanding(lease) || lease.wasHeld));
}
