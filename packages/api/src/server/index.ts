/**
 * The API on a Unix socket.
 *
 * - `server.ts`        startServer, ApiServer: starting, draining, closing
 * - `binding.ts`       bind, Handlers, CallContext: functions as a generated service
 * - `authorization.ts` who may call what: roles, the table, the local identity
 * - `calls.ts`         one call: admitted, run, answered, counted, logged
 * - `health.ts`        grpc.health.v1
 * - `reflection.ts`    grpc.reflection, v1 and v1alpha
 * - `socket.ts`        a socket that is never open to others nor taken from one that answers
 */
export { startServer, type ApiServer, type ServerDependencies } from "./server.ts";
export { bind, type BoundService, type CallContext, type Handlers } from "./binding.ts";
export { authorizeByRole, localIdentity, rolesOf, type Authorize, type Identity, type Role } from "./authorization.ts";
export { ServerError, type ServerFailure } from "./errors.ts";
export type { ServerOptions } from "./options.ts";
