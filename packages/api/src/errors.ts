import { WarrenError } from "@warren/std";

/** One thing that is wrong in a request. */
export interface FieldViolation {
  /** Path of proto field names: `spec.task.container.env["A B"]`, `spec.ports[1].target`. */
  readonly field: string;
  /** What is wrong and what would be right. */
  readonly description: string;
}

/** What in the cluster stands in the way of a request that is right in itself. */
export interface PreconditionViolation {
  /** A word for programs: `PORT_IN_USE`, `NETWORK_IN_USE`. */
  readonly type: string;
  /** What it is about: `service/web`. */
  readonly subject: string;
  readonly description: string;
}

/** What a call can fail with; the same on both sides of the wire. */
export type ApiFailure =
  /** The request is wrong whatever the cluster's state. INVALID_ARGUMENT */
  | { readonly code: "API_INVALID"; readonly violations: readonly FieldViolation[] }
  /** NOT_FOUND */
  | { readonly code: "API_NOT_FOUND"; readonly kind: string; readonly ref: string }
  /** A prefix of several ids. FAILED_PRECONDITION */
  | {
      readonly code: "API_AMBIGUOUS";
      readonly kind: string;
      readonly ref: string;
      readonly candidates: readonly string[];
    }
  /** ALREADY_EXISTS */
  | { readonly code: "API_ALREADY_EXISTS"; readonly kind: string; readonly name: string }
  /** FAILED_PRECONDITION */
  | { readonly code: "API_PRECONDITION"; readonly violations: readonly PreconditionViolation[] }
  /** It was changed meanwhile, or something newer took its place: read again, then try again. ABORTED */
  | { readonly code: "API_ABORTED" }
  /** Too large, too many or too slow. RESOURCE_EXHAUSTED */
  | { readonly code: "API_EXHAUSTED" }
  /** Nothing was done; the same call may succeed later. UNAVAILABLE */
  | { readonly code: "API_UNAVAILABLE" }
  /** Whether it was done is not known. UNKNOWN */
  | { readonly code: "API_OUTCOME_UNKNOWN" }
  /** Whether it was done is not known. DEADLINE_EXCEEDED */
  | { readonly code: "API_DEADLINE" }
  /** CANCELLED */
  | { readonly code: "API_CANCELLED" }
  /** The caller is not known: it has no certificate, or one that does not count. UNAUTHENTICATED */
  | { readonly code: "API_UNAUTHENTICATED" }
  /** The caller is known and may not call this. PERMISSION_DENIED */
  | { readonly code: "API_DENIED" }
  /** UNIMPLEMENTED */
  | { readonly code: "API_UNIMPLEMENTED" }
  /** A fault of ours; `id` finds it in the log of the manager that answered. INTERNAL */
  | { readonly code: "API_INTERNAL"; readonly id: string };

export type ApiCode = ApiFailure["code"];

export interface ApiErrorOptions {
  readonly cause?: unknown;
  /** What to do about it, as a sentence; where the message does not say it. */
  readonly remedy?: string;
  /** The code as the other side has it, where it is none of ours: `STORE_NOT_LEADER`. @default the failure's code */
  readonly reason?: string;
}

/** A call that failed, or a request that would. */
export class ApiError extends WarrenError<ApiFailure> {
  /** What to do about it; empty where nothing is known. */
  readonly remedy: string;
  readonly reason: string;

  constructor(failure: ApiFailure, message: string, options: ApiErrorOptions = {}) {
    super(failure, message, options.cause === undefined ? {} : { cause: options.cause });
    this.remedy = options.remedy ?? "";
    this.reason = options.reason ?? failure.code;
  }
}

/** A request with these things wrong; the message says the first. */
export function invalid(violations: readonly FieldViolation[]): ApiError {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  const text = first === undefined ? "the request is not valid" : `${first.field}: ${first.description}`;
  return new ApiError({ code: "API_INVALID", violations }, `${text}${more}`);
}

export function precondition(violations: readonly PreconditionViolation[], remedy = ""): ApiError {
  const text = violations.map(({ description }) => description).join("; ");
  return new ApiError({ code: "API_PRECONDITION", violations }, text, { remedy });
}
