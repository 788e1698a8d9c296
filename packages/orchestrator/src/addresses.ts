/**
 * Addresses of leases, from the subnet of their node.
 *
 * A lease keeps its address through all runs (L8). Once it is released the address rests, so that no flow of the old
 * task reaches a new one.
 */
import { LeaseState, type Lease, type Node, type Slot } from "@warren/api";
import { idOf, leaseKey, sameEpoch } from "@warren/api/model";
import { ipv4Text, parseIpv4Subnet } from "@warren/std";
import type { View } from "@warren/store";
import type { Allocation } from "./allocator.ts";
import { nextFree } from "./next-free.ts";
import { nodeName, remaining, type Moment } from "./reading.ts";
import { addressRestMs } from "./slot-draft.ts";

/** Of a node's subnet, the first two addresses are the node's own, and the last is not used. */
const own = { first: 2, last: 1 } as const;

/** How many addresses leases can have on a node with that subnet. */
export function addressCount(subnet: string): number {
  const network = parseIpv4Subnet(subnet);
  return network === undefined ? 0 : Math.max(0, network.size - own.first - own.last);
}

/**
 * Which leases have which address. It is an index, and may name leases that are gone: whether an address is free is read
 * from the slots that it names, in the transaction that allocates it.
 *
 * Which of several leases got an address last does not follow from their epochs, as one that waited for its node is
 * older than those that came and went meanwhile; so each is named until the address is seen to be free of it. A node
 * may have the subnet that one had which was removed, so it does not matter here whose lease it was.
 */
export class AddressBook {
  /** Address → lease's key → lease. */
  readonly #holders = new Map<string, Map<string, Holder>>();
  /** Node → where the search goes on. */
  readonly #next = new Map<string, number>();

  clear(): void {
    this.#holders.clear();
  }

  /** Takes note of a slot as it is stored. */
  note(slot: Slot): void {
    for (const { address, epoch } of slot.leases) {
      if (address === "") continue;
      const holders = this.#holders.get(address) ?? new Map<string, Holder>();
      holders.set(leaseKey(idOf(slot), epoch), { slotId: idOf(slot), epoch });
      this.#holders.set(address, holders);
    }
  }

  /** An address of `node` that no lease has, and that has rested (L8). */
  allocate(view: View, node: Node, at: Moment): Allocation<string> {
    const network = parseIpv4Subnet(node.subnet);
    const count = addressCount(node.subnet);
    const addressOf = (index: number): string => ipv4Text((network?.first ?? 0) + own.first + index);
    const from = this.#next.get(idOf(node)) ?? 0;
    const index = nextFree(count, from, (each) => this.#isTaken(view, addressOf(each), at));
    if (index === undefined)
      return { kind: "short", reason: `each of the ${count} addresses of ${nodeName(node)} is taken or rests` };
    this.#next.set(idOf(node), index + 1);
    return { kind: "allocated", value: addressOf(index), changed: true };
  }

  /** Forgets a node that is gone. What its leases had rests all the same. */
  forget(nodeId: string): void {
    this.#next.delete(nodeId);
  }

  #isTaken(view: View, address: string, at: Moment): boolean {
    const holders = this.#holders.get(address);
    if (holders === undefined) return false;
    let taken = false;
    for (const [key, { slotId, epoch }] of holders) {
      const lease = view.get("slots", slotId)?.leases.find((each) => sameEpoch(each.epoch, epoch));
      if (restOf(lease, at) > 0) taken = true;
      // It is not coming back: a lease that is released or gone stays so.
      else holders.delete(key);
    }
    if (holders.size === 0) this.#holders.delete(address);
    return taken;
  }
}

interface Holder {
  readonly slotId: string;
  readonly epoch: Lease["epoch"];
}

/** How long the lease's address is not free yet, ms; infinite while it is not released. */
function restOf(lease: Lease | undefined, at: Moment): number {
  if (lease === undefined) return 0;
  return lease.state === LeaseState.RELEASED ? remaining(lease.since, addressRestMs, at) : Number.POSITIVE_INFINITY;
}
