/** Assignments of nodes, for dispatcher and agent: the table of kinds, and the digests by which a session resumes. */
import { createHash } from "node:crypto";
import {
  AssignedLease,
  AssignedService,
  AssignmentKind,
  Backend,
  Endpoint,
  RegistryLogin,
} from "../generated/warren/v1/dispatcher.ts";
import { Version } from "../generated/warren/v1/version.ts";
import { keyOfSlot, parseLeaseKey } from "./keys.ts";

/** The message of each kind. */
export interface AssignedObjects {
  lease: AssignedLease;
  version: Version;
  service: AssignedService;
  registry: RegistryLogin;
  endpoint: Endpoint;
  backend: Backend;
}
export type AssignedKind = keyof AssignedObjects;

interface KindDefinition<T> {
  readonly kind: AssignmentKind;
  readonly codec: { encode(message: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T };
  /** Objects with a lower rank are sent first, and removed last: what needs something comes after it. */
  readonly rank: number;
  /** Its removals are sent before everything else: no object needs it, and the task that it leads to may be about to stop. */
  readonly leavesFirst?: true;
}

/** The table of kinds. To add a kind: here, and in `AssignmentKind`. */
export const assignedKinds: { readonly [K in AssignedKind]: KindDefinition<AssignedObjects[K]> } = {
  registry: { kind: AssignmentKind.REGISTRY, codec: RegistryLogin, rank: 0 },
  version: { kind: AssignmentKind.VERSION, codec: Version, rank: 0 },
  service: { kind: AssignmentKind.SERVICE, codec: AssignedService, rank: 0 },
  endpoint: { kind: AssignmentKind.ENDPOINT, codec: Endpoint, rank: 1 },
  backend: { kind: AssignmentKind.BACKEND, codec: Backend, rank: 2, leavesFirst: true },
  lease: { kind: AssignmentKind.LEASE, codec: AssignedLease, rank: 3 },
};

const names = new Map<AssignmentKind, AssignedKind>(
  Object.entries(assignedKinds).map(([name, { kind }]) => [kind, name as AssignedKind]),
);

/** The name of a kind; undefined for one of a later level. */
export function kindName(kind: AssignmentKind): AssignedKind | undefined {
  return names.get(kind);
}

export function encodeAssigned<K extends AssignedKind>(kind: K, object: AssignedObjects[K]): Uint8Array {
  return assignedKinds[kind].codec.encode(object).finish();
}

/** @throws Error for bytes that are no message of the kind */
export function decodeAssigned<K extends AssignedKind>(kind: K, bytes: Uint8Array): AssignedObjects[K] {
  return assignedKinds[kind].codec.decode(bytes);
}

/** The node of a backend that was assigned under this key. */
export function nodeOfBackend(key: string, { nodeId }: Backend): string {
  if (nodeId !== "") return nodeId;
  const slot = keyOfSlot(parseLeaseKey(key)?.slotId ?? "")?.key;
  return slot?.$case === "nodeId" ? slot.value : "";
}

/**
 * Changes in the order in which they are sent: removals of backends, then additions, each object before those that need
 * it, then other removals in reverse order. So a lease has left the balancer before it is to stop.
 */
export function inSendingOrder<C extends Sendable>(changes: Iterable<C>): C[] {
  // A bucket sort, as a node may be assigned ten thousand objects at once.
  const byRank = new Map<number, C[]>();
  for (const change of changes) {
    const rank = sendingRank(change);
    const bucket = byRank.get(rank);
    if (bucket === undefined) byRank.set(rank, [change]);
    else bucket.push(change);
  }
  return [...byRank].sort(([a], [b]) => a - b).flatMap(([, bucket]) => bucket);
}

/** The fields of an AssignmentChange that decide about its order. */
interface Sendable {
  readonly kind: AssignmentKind;
  readonly object?: Uint8Array | undefined;
}

function sendingRank({ kind, object }: Sendable): number {
  const name = names.get(kind);
  if (name === undefined) return object === undefined ? 100 : 0;
  const { rank, leavesFirst }: { readonly rank: number; readonly leavesFirst?: true } = assignedKinds[name];
  if (object !== undefined) return rank;
  return leavesFirst === true ? -1 : 100 - rank;
}

/**
 * Bytes of a digest. With the 10,000 objects of a busy node, a changed object is mistaken for a held one about once in
 * 10^11 resumptions; and 50 leases of 50 services, five objects each, need less than 2 kB.
 */
export const assignmentDigestBytes = 7;

/** A digest of an object's kind, key and bytes, `assignmentDigestBytes` long; dispatcher and agent compute it alike. */
export function assignmentDigest(kind: AssignmentKind, key: string, object: Uint8Array): Buffer {
  return createHash("sha256").update(`${kind}/${key}/`).update(object).digest().subarray(0, assignmentDigestBytes);
}
