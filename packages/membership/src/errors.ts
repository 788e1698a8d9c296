import { precondition, type ApiError } from "@warren/api";
import { WarrenError } from "@warren/std";

/** Why a manager can't act as a member of its cluster; `code` is public API. */
export type MembershipFailure =
  /** The identity file is damaged. */
  | { readonly code: "MEMBERSHIP_IDENTITY_DAMAGED"; readonly path: string }
  /** There is an identity, and its log is missing; a missing log is not treated as a new cluster. */
  | { readonly code: "MEMBERSHIP_LOG_MISSING"; readonly path: string }
  /** There is a log, and the identity file is missing. */
  | { readonly code: "MEMBERSHIP_IDENTITY_MISSING"; readonly path: string }
  /** The log or its snapshots can't be read; the cause names the part. */
  | { readonly code: "MEMBERSHIP_LOG_UNREADABLE"; readonly path: string }
  /** The log is of a level that this program does not read; the folder is sound. */
  | { readonly code: "MEMBERSHIP_LEVEL_REFUSED"; readonly path: string };

export class MembershipError extends WarrenError<MembershipFailure> {
  /** What the operator does about it. */
  readonly remedy: string;

  constructor(failure: MembershipFailure, message: string, remedy: string, options?: { readonly cause?: unknown }) {
    super(failure, message, options);
    this.remedy = remedy;
  }
}

/** The error for callers of a locked manager. Unlike that of an unavailable one, retrying does not help. */
export function lockedRefusal(error: MembershipError): ApiError {
  return precondition([{ type: "MANAGER_LOCKED", subject: "manager", description: error.message }], error.remedy);
}
