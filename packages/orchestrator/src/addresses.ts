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
import { nodeName, remainingSince } from "./reading.ts";
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
 * older than those that came and went meanwhile; so each is named until the address is seen to be free of it.
 */
export class AddressBook {
  /** Node → address → lease's key → lease. */
  readonly #nodes = new Map<string, Map<string, Map<string, Holder>>>();
  /** Node → where the search goes on. */
  readonly #next = new Map<string, number>();

  clear(): void {
    this.#nodes.clear();
  }

  /** Takes note of a slot as it is stored. */
  note(slot: Slot): void {
    for (const lease of slot.leases) if (lease.address !== "") this.#put(idOf(slot), lease);
  }

  /** An address of `node` that no lease has, and that has rested (L8). */
  allocate(view: View, node: Node, now: number): Allocation<string> {
    const network = parseIpv4Subnet(node.subnet);
    const count = addressCount(node.subnet);
    const there = this.#nodes.get(idOf(node));
    // Only of addresses that the search comes by: a node has few free ones at the end, and many at first.
    const isTaken = (address: string): boolean => {
      const holders = there?.get(address);
      if (holders === undefined) return false;
      for (const [key, { slotId, epoch }] of holders) {
        const lease = view.get("slots", slotId)?.leases.find((each) => sameEpoch(each.epoch, epoch));
        if (restOf(lease, now) > 0) return true;
        // It is not coming back: a lease that is released or gone stays so.
        holders.delete(key);
      }
      there?.delete(address);
      return false;
    };
    const at = (index: number): string => ipv4Text((network?.first ?? 0) + own.first + index);
    const index = nextFree(count, this.#next.get(idOf(node)) ?? 0, (each) => isTaken(at(each)));
    if (index === undefined)
      return { kind: "short", reason: `each of the ${count} addresses of ${nodeName(node)} is taken or rests` };
    this.#next.set(idOf(node), index + 1);
    return { kind: "allocated", value: at(index), changed: true };
  }

  /** Forgets a node that is gone. */
  forget(nodeId: string): void {
    this.#nodes.delete(nodeId);
    this.#next.delete(nodeId);
  }

  #put(slotId: string, { nodeId, address, epoch }: Lease): void {
    const there = this.#nodes.get(nodeId) ?? new Map<string, Map<string, Holder>>();
    const holders = there.get(address) ?? new Map<string, Holder>();
    holders.set(leaseKey(slotId, epoch), { slotId, epoch });
    there.set(address, holders);
    this.#nodes.set(nodeId, there);
  }
}

interface Holder {
  readonly slotId: string;
  readonly epoch: Lease["epoch"];
}

/** How long the lease's address is not free yet, ms; infinite while it is not released. */
function restOf(lease: Lease | undefined, now: number): number {
  if (lease === undefined) return 0;
  return lease.state === LeaseState.RELEASED
    ? remainingSince(lease.since, addressRestMs, now)
    : Number.POSITIVE_INFINITY;
}
