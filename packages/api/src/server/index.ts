/**
 * The API's server: one pipeline for every call, gRPC as its adapter, a Unix socket and TLS as its listeners. See
 * DESIGN.md.
 *
 * - `server.ts`        startServer, ApiServer: starting, listening, draining, closing
 * - `binding.ts`       bind, Handlers, CallContext: the functions of a generated service
 * - `pipeline.ts`      Pipeline: identity, authorisation, admission, handler or leader; independent of protocols
 * - `peer.ts`          peers of connections: the local socket, or a certificate's identity from a Directory
 * - `authorization.ts` the table of methods: the roles that may call each, and whether the leader serves it
 * - `admission.ts`     limits of each caller
 * - `leadership.ts`    the route to the leader
 * - `in-process.ts`    pipelineConnection: another pipeline of this process as the leader's
 * - `grpc.ts`          the adapter for gRPC
 * - `network.ts`       connections of other machines, by identity
 * - `tls-listener.ts`  TLS 1.3, bounded handshakes, protocols by ALPN
 * - `socket.ts`        a Unix socket that is never open to other users, nor taken from a process that listens
 * - `health.ts`        grpc.health.v1
 * - `reflection.ts`    grpc.reflection, v1 and v1alpha
 */
export {
  createPipeline,
  startServer,
  type ApiServer,
  type PipelineDependencies,
  type ServerDependencies,
} from "./server.ts";
export { bind, type BoundService, type CallContext, type Handlers } from "./binding.ts";
export { authorizeByRole, placeOf, rolesOf, type Authorize, type Place } from "./authorization.ts";
export { mustSpeakFor, speaksFor, type Identity, type Refusal, type Role } from "../identity.ts";
export { localIdentity, localPeer, remotePeer, type Directory, type Peer } from "./peer.ts";
export type { Answer, IncomingCall, Pipeline } from "./pipeline.ts";
export type { AdmissionOptions } from "./admission.ts";
export { pipelineConnection } from "./in-process.ts";
export type { LeaderRoute, Leadership } from "./leadership.ts";
export type { ForwardedCall, LeaderConnection } from "../forwarding.ts";
export { fixedCredentials, type Credentials, type CredentialSource } from "../credentials.ts";
export { protocolNames, type NetworkDependencies, type NetworkListener } from "./network.ts";
export type { TlsListenerOptions } from "./tls-listener.ts";
export { ServerError, type ServerFailure } from "./errors.ts";
export type { ServerOptions } from "./options.ts";
