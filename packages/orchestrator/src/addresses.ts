/**
 * Addresses of leases, from the subnet of their node.
 *
 * A lease keeps its address through all runs (L8). Once it is released the address rests, so that no flow of the old
 * task reaches a new one.
 */
import { LeaseState, type Lease, type Node, type Slot } from "@warren/api";
import { idOf, sameEpoch } from "@warren/api/model";
import type { View } from "@warren/store";
import type { Allocation } from "./allocator.ts";
import { addressText, nextFree, parseNetwork, sizeOf } from "./ipv4.ts";
import { nodeName, remainingSince } from "./reading.ts";
import { addressRestMs } from "./slot-draft.ts";

/** Of a node's subnet, the first two addresses are the node's own, and the last is not used. */
const own = { first: 2, last: 1 } as const;

/** How many addresses leases can have on a node with that subnet. */
export function addressCount(subnet: string): number {
  const network = parseNetwork(subnet);
  return network === undefined ? 0 : Math.max(0, sizeOf(network.prefix) - own.first - own.last);
}

/**
 * Which lease has which address. It is an index, and may name leases that are gone: whether an address is free is read
 * from the slot that it names, in the transaction that allocates it.
 */
export class AddressBook {
  /** Node → address → the newest lease that got it. */
  readonly #nodes = new Map<string, Map<string, { readonly slotId: string; readonly epoch: Lease["epoch"] }>>();
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
    const network = parseNetwork(node.subnet);
    const count = addressCount(node.subnet);
    const taken = new Set<string>();
    for (const [address, { slotId, epoch }] of this.#nodes.get(idOf(node)) ?? []) {
      const lease = view.get("slots", slotId)?.leases.find((each) => sameEpoch(each.epoch, epoch));
      if (restOf(lease, now) > 0) taken.add(address);
    }
    const at = (index: number): string => addressText((network?.first ?? 0) + own.first + index);
    const index = nextFree(count, this.#next.get(idOf(node)) ?? 0, (each) => taken.has(at(each)));
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
    const there = this.#nodes.get(nodeId) ?? new Map<string, { slotId: string; epoch: Lease["epoch"] }>();
    const before = there.get(address);
    // A slot that is written again may name an older lease that had the address before.
    const isOlder = before !== undefined && (before.epoch?.index ?? 0) > (epoch?.index ?? 0);
    if (!isOlder) there.set(address, { slotId, epoch });
    this.#nodes.set(nodeId, there);
  }
}

/** How long the lease's address is not free yet, ms; infinite while it is not released. */
function restOf(lease: Lease | undefined, now: number): number {
  if (lease === undefined) return 0;
  return lease.state === LeaseState.RELEASED
    ? remainingSince(lease.since, addressRestMs, now)
    : Number.POSITIVE_INFINITY;
}
