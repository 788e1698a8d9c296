/**
 * The objects that are assigned to this node, by kind and key. They are decoded for use here, and their bytes are kept
 * as received, so that kinds and fields of a later level survive.
 */
import type { AssignmentKind } from "@warren/api";
import { assignmentDigest, decodeAssigned, kindName, type AssignedKind, type AssignedObjects } from "@warren/api/model";

export interface AssignedEntry {
  readonly kind: AssignmentKind;
  readonly key: string;
  readonly bytes: Uint8Array;
}

type Decoded = { readonly [K in AssignedKind]: Map<string, AssignedObjects[K]> };

export class Assigned {
  readonly #decoded: Decoded = {
    lease: new Map(),
    version: new Map(),
    service: new Map(),
    registry: new Map(),
    endpoint: new Map(),
    backend: new Map(),
  };
  /** By digest, in hex, for the resumption of a session. */
  readonly #byDigest = new Map<string, { readonly kind: AssignmentKind; readonly key: string }>();
  readonly #digests = new Map<string, string>();

  of<K extends AssignedKind>(kind: K): ReadonlyMap<string, AssignedObjects[K]> {
    return this.#decoded[kind];
  }

  get size(): number {
    return this.#digests.size;
  }

  /** False if the bytes are no message of their kind; they are kept all the same. */
  set({ kind, key, bytes }: AssignedEntry): boolean {
    this.delete(kind, key);
    const digest = assignmentDigest(kind, key, bytes).toString("hex");
    this.#digests.set(placeOf(kind, key), digest);
    this.#byDigest.set(digest, { kind, key });
    const name = kindName(kind);
    if (name === undefined) return true;
    try {
      this.#decode(name, key, bytes);
      return true;
    } catch {
      return false;
    }
  }

  delete(kind: AssignmentKind, key: string): void {
    const place = placeOf(kind, key);
    const digest = this.#digests.get(place);
    if (digest === undefined) return;
    this.#digests.delete(place);
    this.#byDigest.delete(digest);
    const name = kindName(kind);
    if (name !== undefined) this.#decoded[name].delete(key);
  }

  /** Digests of all objects, in ascending order. */
  held(): Buffer {
    return Buffer.from([...this.#byDigest.keys()].toSorted().join(""), "hex");
  }

  find(digest: Uint8Array): { readonly kind: AssignmentKind; readonly key: string } | undefined {
    return this.#byDigest.get(Buffer.from(digest).toString("hex"));
  }

  #decode(name: AssignedKind, key: string, bytes: Uint8Array): void {
    const decoded = this.#decoded[name] as Map<string, AssignedObjects[AssignedKind]>;
    decoded.set(key, decodeAssigned(name, bytes));
  }
}

function placeOf(kind: AssignmentKind, key: string): string {
  return `${kind}/${key}`;
}
