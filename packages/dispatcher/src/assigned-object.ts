import type { AssignmentKind } from "@warren/api";
import { assignedKinds, assignmentDigest, type AssignedKind } from "@warren/api/model";

/** An object as nodes are sent it. All streams share one. */
export class AssignedObject {
  readonly kind: AssignmentKind;
  readonly key: string;
  readonly bytes: Buffer;
  #digest: string | undefined;

  constructor(kind: AssignedKind, key: string, bytes: Uint8Array) {
    this.kind = assignedKinds[kind].kind;
    this.key = key;
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** As `assignmentDigest` has it, in hex. */
  get digest(): string {
    this.#digest ??= assignmentDigest(this.kind, this.key, this.bytes).toString("hex");
    return this.#digest;
  }

  equals(bytes: Uint8Array): boolean {
    return Buffer.compare(this.bytes, bytes) === 0;
  }
}
