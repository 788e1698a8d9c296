import { AssignmentsMessage_Type, type AssignmentKind, type AssignmentsMessage } from "@warren/api";
import { assignmentDigestBytes } from "@warren/api/model";

/** The changes of a message. */
export interface AssignmentDelta {
  /** The message covers all assignments: a held object that it does not name stays assigned. */
  readonly complete: boolean;
  readonly changes: readonly {
    readonly kind: AssignmentKind;
    readonly key: string;
    /** Undefined: the object is no longer assigned. */
    readonly bytes: Uint8Array | undefined;
  }[];
}

/** Checks the chain of one stream of assignments. Pure. */
export class AssignmentChain {
  #position: string | undefined;

  /**
   * The changes of `message`. Undefined if it does not follow its predecessor: the stream must be opened again.
   *
   * @param find the held object with a digest
   */
  follow(
    message: AssignmentsMessage,
    find: (digest: Uint8Array) => { readonly kind: AssignmentKind; readonly key: string } | undefined,
  ): AssignmentDelta | undefined {
    const complete = message.type === AssignmentsMessage_Type.COMPLETE;
    if (!complete && (this.#position === undefined || message.appliesTo !== this.#position)) return undefined;
    this.#position = message.resultsIn;
    const dropped = complete ? digestsOf(message.dropped).map(find) : [];
    return {
      complete,
      changes: [
        ...message.changes.map(({ kind, key, object }) => ({ kind, key, bytes: object })),
        // A dropped digest whose object the same message replaces is no removal.
        ...dropped
          .filter((each) => each !== undefined)
          .filter(({ kind, key }) => !message.changes.some((change) => change.kind === kind && change.key === key))
          .map(({ kind, key }) => ({ kind, key, bytes: undefined })),
      ],
    };
  }
}

function digestsOf(bytes: Uint8Array): Uint8Array[] {
  const digests: Uint8Array[] = [];
  for (let at = 0; at + assignmentDigestBytes <= bytes.length; at += assignmentDigestBytes)
    digests.push(bytes.subarray(at, at + assignmentDigestBytes));
  return digests;
}
