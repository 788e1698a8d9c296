/**
 * Raft: `startRaftNode` makes a member from a storage, a transport and a state machine.
 *
 * - `node/`      the member: turns, writer, applier, reads, sessions, options, metrics
 * - `storage/`   the durable log on a `Disk`: LevelDB and files, or memory
 * - `transport/` messages between members: gRPC with TLS, or memory
 * - `errors.ts`  RaftError and its codes
 * - `core/`      the pure core, as `@warren/raft/core`
 * - `autopilot/` promotion of learners and replacement of dead members, as `@warren/raft/autopilot`
 * - `dump/`      the program `warren-raft-dump`
 * - `testing/`   what others need to test against us, as `@warren/raft/testing`
 */
export * from "./node/index.ts";
export * from "./storage/index.ts";
export * from "./transport/index.ts";
export { RaftError, type DropReason, type RaftFailure } from "./errors.ts";
export type { ConfState, ConfChangeSingle, NodeId, Status } from "./core/index.ts";
