/**
 * The mapping of error codes to gRPC statuses, and back; the only one.
 *
 * Details travel as google.rpc.Status in the trailer `grpc-status-details-bin`: ErrorInfo always (reason = the code,
 * domain `warren`, the failure's other fields and `remedy` as metadata), BadRequest and PreconditionFailure where there
 * are violations.
 */
import { WarrenError } from "@warren/std";
import { ApiError, type ApiCode, type ApiFailure, type FieldViolation, type PreconditionViolation } from "./errors.ts";
import { BadRequest, ErrorInfo, PreconditionFailure, Status } from "./generated/google/rpc/error_details.ts";

export const detailsTrailer = "grpc-status-details-bin";
const domain = "warren";
const typePrefix = "type.googleapis.com/";
/** Violations that are sent, at most: clients limit trailers, some to 8 KiB. */
const mostViolations = 20;
/** Characters of one text in a trailer, at most. */
const longestText = 500;

/** gRPC's status numbers. */
export const grpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

const statusOfApiCode: Readonly<Record<ApiCode, number>> = {
  API_INVALID: grpcStatus.INVALID_ARGUMENT,
  API_NOT_FOUND: grpcStatus.NOT_FOUND,
  API_AMBIGUOUS: grpcStatus.FAILED_PRECONDITION,
  API_ALREADY_EXISTS: grpcStatus.ALREADY_EXISTS,
  API_PRECONDITION: grpcStatus.FAILED_PRECONDITION,
  API_ABORTED: grpcStatus.ABORTED,
  API_EXHAUSTED: grpcStatus.RESOURCE_EXHAUSTED,
  API_UNAVAILABLE: grpcStatus.UNAVAILABLE,
  API_OUTCOME_UNKNOWN: grpcStatus.UNKNOWN,
  API_DEADLINE: grpcStatus.DEADLINE_EXCEEDED,
  API_CANCELLED: grpcStatus.CANCELLED,
  API_UNAUTHENTICATED: grpcStatus.UNAUTHENTICATED,
  API_DENIED: grpcStatus.PERMISSION_DENIED,
  API_UNIMPLEMENTED: grpcStatus.UNIMPLEMENTED,
  API_INTERNAL: grpcStatus.INTERNAL,
};

/** Codes of other packages that have a status. A code that is neither here nor an API code is INTERNAL. */
const statusOfOtherCode: Readonly<Record<string, number>> = {
  STORE_NOT_FOUND: grpcStatus.NOT_FOUND,
  STORE_AMBIGUOUS: grpcStatus.FAILED_PRECONDITION,
  STORE_CONFLICT: grpcStatus.ABORTED,
  STORE_NAME_TAKEN: grpcStatus.ALREADY_EXISTS,
  STORE_LEVEL_HELD_BACK: grpcStatus.FAILED_PRECONDITION,
  STORE_TOO_LARGE: grpcStatus.RESOURCE_EXHAUSTED,
  STORE_NOT_LEADER: grpcStatus.UNAVAILABLE,
  STORE_UNAVAILABLE: grpcStatus.UNAVAILABLE,
  STORE_OUTCOME_UNKNOWN: grpcStatus.UNKNOWN,
  STORE_WATCH_LAGGED: grpcStatus.RESOURCE_EXHAUSTED,
};

const statusNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(grpcStatus).map(([name, code]) => [code, name]),
);

/** The name of google.rpc.Code that an error counts under in metrics and logs: `NOT_FOUND`. */
export function statusNameOf(error: unknown): string {
  return statusNames[statusOf(error) ?? grpcStatus.INTERNAL] as string;
}

/** The status that an error is sent with; undefined if it is a fault of the program. */
export function statusOf(error: unknown): number | undefined {
  if (!WarrenError.is(error)) return undefined;
  return (statusOfApiCode as Readonly<Record<string, number>>)[error.code] ?? statusOfOtherCode[error.code];
}

/** The trailer's bytes. Only for errors that `statusOf` knows. */
export function encodeDetails(error: WarrenError): Uint8Array {
  const metadata = fieldsOf(error);
  const remedy = (error as Partial<ApiError>).remedy ?? "";
  if (remedy !== "") metadata["remedy"] = clip(remedy);
  const reason = (error as Partial<ApiError>).reason ?? error.code;
  const details = [any(ErrorInfo, { reason, domain, metadata })];
  if (ApiError.is(error, "API_INVALID")) {
    const fieldViolations = error.failure.violations.slice(0, mostViolations).map(({ field, description }) => ({
      field: clip(field),
      description: clip(description),
    }));
    details.push(any(BadRequest, { fieldViolations }));
  }
  if (ApiError.is(error, "API_PRECONDITION")) {
    const violations = error.failure.violations.slice(0, mostViolations).map((each) => ({
      ...each,
      description: clip(each.description),
    }));
    details.push(any(PreconditionFailure, { violations }));
  }
  return Status.encode({
    code: statusOf(error) ?? grpcStatus.INTERNAL,
    message: clip(error.message),
    details,
  }).finish();
}

/** The failure's fields as text, without its code and its violations. */
function fieldsOf(error: WarrenError): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [key, value] of Object.entries(error.failure)) {
    if (key === "code" || key === "violations") continue;
    fields[key] = clip(Array.isArray(value) ? value.slice(0, mostViolations).join(",") : String(value));
  }
  return fields;
}

/** A failure as part of a message, such as that of a relayed call. */
export interface ApiFailureRecord {
  readonly code: ApiCode;
  readonly message: string;
  readonly remedy: string;
  /** The code where the failure happened: `RUNTIME_NOT_FOUND`. */
  readonly reason: string;
  /** The failure's other fields, as text, without violations. */
  readonly fields: Readonly<Record<string, string>>;
}

/** An error as a record; an error without a status becomes INTERNAL without its text. */
export function apiFailureOf(error: unknown): ApiFailureRecord {
  const status = statusOf(error);
  if (status === undefined) {
    const reason = WarrenError.is(error) ? error.code : "API_INTERNAL";
    return { code: "API_INTERNAL", message: "internal error", remedy: "", reason, fields: {} };
  }
  const known = error as WarrenError;
  const { remedy = "", reason = known.code } = known as Partial<ApiError>;
  const code = known.code in statusOfApiCode ? (known.code as ApiCode) : codeOf(status);
  return { code, message: clip(known.message), remedy: clip(remedy), reason, fields: fieldsOf(known) };
}

/** The error of a record, as ApiError. Never throws: an unknown code is INTERNAL. */
export function errorOfApiFailure(
  record: { readonly code: string; readonly message: string } & Partial<Omit<ApiFailureRecord, "code">>,
): ApiError {
  const { code, message, remedy = "", reason = "", fields = {} } = record;
  const known = Object.hasOwn(statusOfApiCode, code) ? (code as ApiCode) : "API_INTERNAL";
  return new ApiError(failureOf(known, fields), message, { remedy, reason: reason === "" ? code : reason });
}

/** The error of a received status, with or without our details. Never throws: details that can't be decoded are left out. */
export function errorFromStatus(code: number, message: string, trailer?: Uint8Array, cause?: unknown): ApiError {
  let info: ErrorInfo | undefined;
  let fields: readonly FieldViolation[] = [];
  let preconditions: readonly PreconditionViolation[] = [];
  try {
    for (const { typeUrl, value } of trailer === undefined ? [] : Status.decode(trailer).details) {
      if (typeUrl === typePrefix + ErrorInfo.$type) info = ErrorInfo.decode(value);
      else if (typeUrl === typePrefix + BadRequest.$type) fields = BadRequest.decode(value).fieldViolations;
      else if (typeUrl === typePrefix + PreconditionFailure.$type)
        preconditions = PreconditionFailure.decode(value).violations;
    }
  } catch {
    info = undefined; // Without the details, the status and its message remain.
  }
  const ours = info?.domain === domain ? info : undefined;
  const metadata = ours?.metadata ?? {};
  const reason = ours?.reason ?? "";
  const failure = failureOf(reason in statusOfApiCode ? (reason as ApiCode) : codeOf(code), metadata);
  if (failure.code === "API_INVALID") Object.assign(failure, { violations: fields });
  if (failure.code === "API_PRECONDITION") Object.assign(failure, { violations: preconditions });
  return new ApiError(failure, message, {
    cause,
    remedy: metadata["remedy"] ?? "",
    ...(reason === "" ? {} : { reason }),
  });
}

function codeOf(status: number): ApiCode {
  const codes = Object.keys(statusOfApiCode) as ApiCode[];
  if (status === grpcStatus.FAILED_PRECONDITION) return "API_PRECONDITION";
  return codes.find((code) => statusOfApiCode[code] === status) ?? "API_INTERNAL";
}

function failureOf(code: ApiCode, metadata: Readonly<Record<string, string>>): ApiFailure {
  const text = (key: string): string => metadata[key] ?? "";
  switch (code) {
    case "API_INVALID":
    case "API_PRECONDITION":
      return { code, violations: [] };
    case "API_NOT_FOUND":
      return { code, kind: text("kind"), ref: text("ref") };
    case "API_AMBIGUOUS":
      return { code, kind: text("kind"), ref: text("ref"), candidates: text("candidates").split(",").filter(Boolean) };
    case "API_ALREADY_EXISTS":
      return { code, kind: text("kind"), name: text("name") };
    case "API_INTERNAL":
      return { code, id: text("id") };
    case "API_ABORTED":
    case "API_EXHAUSTED":
    case "API_UNAVAILABLE":
    case "API_OUTCOME_UNKNOWN":
    case "API_DEADLINE":
    case "API_CANCELLED":
    case "API_UNAUTHENTICATED":
    case "API_DENIED":
    case "API_UNIMPLEMENTED":
      return { code };
  }
}

/** Shortens a text so that it fits a trailer. */
export function clip(text: string): string {
  return text.length <= longestText ? text : `${text.slice(0, longestText - 1)}…`;
}

function any<T>(
  type: { readonly $type: string; encode(message: T): { finish(): Uint8Array } },
  message: T,
): { readonly typeUrl: string; readonly value: Buffer } {
  return { typeUrl: typePrefix + type.$type, value: Buffer.from(type.encode(message).finish()) };
}
