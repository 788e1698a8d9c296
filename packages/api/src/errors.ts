import { WarrenError } from "@warren/std";

/** One invalid field of a request. */
export interface FieldViolation {
  /** Path of proto field names: `spec.task.container.env["A B"]`, `spec.ports[1].target`. */
  readonly field: string;
  /** What is wrong and what would be right. */
  readonly description: string;
}

/** A condition of the cluster that a valid request does not meet. */
export interface PreconditionViolation {
  /** A word for programs: `PORT_IN_USE`, `NETWORK_IN_USE`. */
  readonly type: string;
  /** The object concerned: `service/web`. */
  readonly subject: string;
  readonly description: string;
}

/** Failures of a call; the same for client and server. */
export type ApiFailure =
  /** The request is invalid, whatever the cluster's state. INVALID_ARGUMENT */
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
  /** The object was changed meanwhile, or a newer call replaced this one: read again, then try again. ABORTED */
  | { readonly code: "API_ABORTED" }
  /** Too large, too many or too slow. RESOURCE_EXHAUSTED */
  | { readonly code: "API_EXHAUSTED" }
  /** The call had no effect; it may succeed later. UNAVAILABLE */
  | { readonly code: "API_UNAVAILABLE" }
  /** The call may have taken effect or not. UNKNOWN */
  | { readonly code: "API_OUTCOME_UNKNOWN" }
  /** The call may have taken effect or not. DEADLINE_EXCEEDED */
  | { readonly code: "API_DEADLINE" }
  /** CANCELLED */
  | { readonly code: "API_CANCELLED" }
  /** The caller is not known: it has no certificate, or one that is not valid here. UNAUTHENTICATED */
  | { readonly code: "API_UNAUTHENTICATED" }
  /** The caller is known and may not call this. PERMISSION_DENIED */
  | { readonly code: "API_DENIED" }
  /** UNIMPLEMENTED */
  | { readonly code: "API_UNIMPLEMENTED" }
  /** A fault of the program; the manager that served the call logged it under `id`. INTERNAL */
  | { readonly code: "API_INTERNAL"; readonly id: string };

export type ApiCode = ApiFailure["code"];

export interface ApiErrorOptions {
  readonly cause?: unknown;
  /** What to do about it, as a sentence, if the message does not have it. */
  readonly remedy?: string;
  /** The original code, if it is not an API code: `STORE_NOT_LEADER`. @default the failure's code */
  readonly reason?: string;
}

/** The error of a call, or of a request that is refused before it is sent. */
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

/** The error of an invalid request; its message is the first violation. */
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
