/** What a node is assigned, as both ends handle it: one table of kinds, and digests by which a session resumes. */
import { createHash } from "node:crypto";
import {
  AssignedLease,
  AssignedService,
  AssignmentKind,
  Backend,
  Endpoint,
  RegistryLogin,
  type AssignmentChange,
} from "../generated/warren/v1/dispatcher.ts";
import { Version } from "../generated/warren/v1/version.ts";

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
}

/** The one table of kinds. To add a kind: here, and in `AssignmentKind`. */
export const assignedKinds: { readonly [K in AssignedKind]: KindDefinition<AssignedObjects[K]> } = {
  registry: { kind: AssignmentKind.REGISTRY, codec: RegistryLogin, rank: 0 },
  version: { kind: AssignmentKind.VERSION, codec: Version, rank: 0 },
  service: { kind: AssignmentKind.SERVICE, codec: AssignedService, rank: 0 },
  endpoint: { kind: AssignmentKind.ENDPOINT, codec: Endpoint, rank: 1 },
  backend: { kind: AssignmentKind.BACKEND, codec: Backend, rank: 2 },
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

/** Changes in the order in which they are sent: what is needed before what needs it, removals the other way round. */
export function inSendingOrder(changes: Iterable<AssignmentChange>): AssignmentChange[] {
  return [...changes].sort((a, b) => sendingRank(a) - sendingRank(b));
}

function sendingRank({ kind, object }: AssignmentChange): number {
  const name = names.get(kind);
  const rank = name === undefined ? 0 : assignedKinds[name].rank;
  return object === undefined ? 100 - rank : rank;
}

/** Bytes of a digest. */
export const assignmentDigestBytes = 8;

/** Names an object by what it is: two ends that hold equal bytes of it compute equal digests. */
export function assignmentDigest(kind: AssignmentKind, key: string, object: Uint8Array): Buffer {
  return createHash("sha256").update(`${kind}/${key}/`).update(object).digest().subarray(0, assignmentDigestBytes);
}
