import type { AssignmentChange, AssignmentKind } from "@warren/api";
import { assignedKinds, assignmentDigest, type AssignedKind } from "@warren/api/model";

/**
 * An encoded object. It is an AssignmentChange, which the messages of all streams share: a hundred nodes with ten
 * thousand objects each would otherwise need a million changes.
 */
export class AssignedObject implements AssignmentChange {
  readonly kind: AssignmentKind;
  readonly key: string;
  readonly object: Buffer;
  #digest: string | undefined;

  constructor(kind: AssignedKind, key: string, object: Uint8Array) {
    this.kind = assignedKinds[kind].kind;
    this.key = key;
    this.object = Buffer.from(object.buffer, object.byteOffset, object.byteLength);
  }

  /** Its `assignmentDigest`, in hex. */
  get digest(): string {
    this.#digest ??= assignmentDigest(this.kind, this.key, this.object).toString("hex");
    return this.#digest;
  }

  equals(object: Uint8Array): boolean {
    return this.object.equals(object);
  }
}
