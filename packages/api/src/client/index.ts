/**
 * Typed calls to a manager, quick enough to load for a command line: neither checks of specs nor JSON are loaded.
 *
 * - `connect.ts` connect, ApiClient: one connection, a client for each service; connectToLeader: calls as bytes
 * - `calls.ts`   the three kinds of calls: one response, a stream of responses, streams both ways
 * - `options.ts` ConnectOptions, CallOptions
 */
export { connect, connectToLeader, type ApiClient, type ServiceClient } from "./connect.ts";
export type { CallOptions, ConnectOptions, HostOptions, SocketOptions } from "./options.ts";
export type { DuplexCall, StreamCall, UnaryCall } from "./calls.ts";
export { fixedCredentials, type Credentials, type CredentialSource } from "../credentials.ts";
export { ApiError, type ApiCode, type ApiFailure, type FieldViolation, type PreconditionViolation } from "../errors.ts";
