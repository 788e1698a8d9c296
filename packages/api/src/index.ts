/**
 * Warren's API: messages, services, errors; client and server as subpaths.
 *
 * - `generated/` messages and services of `proto/warren/v1`, not committed
 * - `errors.ts`  ApiError: the failures of calls
 * - `status.ts`  errors as statuses and as records in messages, and back
 * - `relay.ts`   Relay: what a manager asks of a node on behalf of a caller
 * - `rpc.ts`     what generated services and messages have in common
 * - `client/`    as `@warren/api/client`
 * - `server/`    as `@warren/api/server`
 * - `json/`      as `@warren/api/json`
 * - `spec/`      as `@warren/api/spec`
 * - `model/`     as `@warren/api/model`
 * - `testing/`   as `@warren/api/testing`
 *
 * Neither gRPC nor the checks are loaded with it.
 */
export * from "./generated/warren/v1/cluster.ts";
export * from "./generated/warren/v1/container.ts";
export * from "./generated/warren/v1/dispatcher.ts";
export * from "./generated/warren/v1/event.ts";
export * from "./generated/warren/v1/meta.ts";
export * from "./generated/warren/v1/network.ts";
export * from "./generated/warren/v1/node.ts";
export * from "./generated/warren/v1/registry.ts";
export * from "./generated/warren/v1/image.ts";
export * from "./generated/warren/v1/volume.ts";
export * from "./generated/warren/v1/service.ts";
export * from "./generated/warren/v1/slot.ts";
export * from "./generated/warren/v1/store.ts";
export * from "./generated/warren/v1/task.ts";
export * from "./generated/warren/v1/version.ts";
export { HealthCheckResponse_ServingStatus, HealthDefinition } from "./generated/grpc/health/v1/health.ts";
export {
  ApiError,
  invalid,
  precondition,
  type ApiCode,
  type ApiErrorOptions,
  type ApiFailure,
  type FieldViolation,
  type PreconditionViolation,
} from "./errors.ts";
export type { Relay } from "./relay.ts";
export type {
  MessageType,
  MethodDefinition,
  PartialRequestOf,
  RequestOf,
  ResponseOf,
  ServiceDefinition,
} from "./rpc.ts";
export { apiFailureOf, errorFromStatus, errorOfApiFailure, type ApiFailureRecord } from "./status.ts";
