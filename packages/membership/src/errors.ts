import { precondition, type ApiError } from "@warren/api";
import { WarrenError } from "@warren/std";

/** Why a manager that has a cluster can't take its part in it; `code` is public API. */
export type MembershipFailure =
  /** The file that names the cluster is not what was written. */
  | { readonly code: "MEMBERSHIP_IDENTITY_DAMAGED"; readonly path: string }
  /** The log is gone from under an identity that had one: what is missing is not taken for new. */
  | { readonly code: "MEMBERSHIP_LOG_MISSING"; readonly path: string }
  /** There is a log, and nothing says whose. */
  | { readonly code: "MEMBERSHIP_IDENTITY_MISSING"; readonly path: string }
  /** The log or its snapshots can't be read; the cause names the part. */
  | { readonly code: "MEMBERSHIP_LOG_UNREADABLE"; readonly path: string };

export class MembershipError extends WarrenError<MembershipFailure> {
  /** What the operator does about it. */
  readonly remedy: string;

  constructor(failure: MembershipFailure, message: string, remedy: string, options?: { readonly cause?: unknown }) {
    super(failure, message, options);
    this.remedy = remedy;
  }
}

/** What callers of a locked manager are told. To ask again helps nothing, as it would where a manager is unavailable. */
export function lockedRefusal(error: MembershipError): ApiError {
  return precondition([{ type: "MANAGER_LOCKED", subject: "manager", description: error.message }], error.remedy);
}
