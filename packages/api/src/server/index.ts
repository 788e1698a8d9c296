/**
 * The API, served: one pipeline for every call, gRPC as its adapter, a Unix socket and TLS as its listeners. DESIGN.md has
 * the whole.
 *
 * - `server.ts`        startServer, ApiServer: starting, listening, draining, closing
 * - `binding.ts`       bind, Handlers, CallContext: functions as a generated service
 * - `pipeline.ts`      Pipeline: identity, authorisation, admission, handler or leader; knows no protocol
 * - `peer.ts`          who calls: the local socket, or what a Directory makes of a certificate
 * - `authorization.ts` the table of methods: which roles, and whether the leader serves it
 * - `admission.ts`     how much one caller may ask for
 * - `leadership.ts`    where the leader is
 * - `in-process.ts`    pipelineConnection: another pipeline of this process as the leader's
 * - `grpc.ts`          the adapter for gRPC
 * - `network.ts`       connections of other machines: which is whose, and closing them
 * - `tls-listener.ts`  TLS 1.3, bounded handshakes, protocols by ALPN
 * - `socket.ts`        a Unix socket that is never open to others nor taken from one that answers
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
