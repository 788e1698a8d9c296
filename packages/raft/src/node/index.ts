export { RaftNode, type Inspection, type NodeStatus, type RaftNodeDependencies } from "./raft-node.ts";
export { startRaftNode } from "./start.ts";
export { recoverGroup, type Recovery, type RecoveryReport } from "./recover.ts";
export type { Leadership, LeaderTerm } from "./leadership.ts";
export { resolveOptions, type ChangeableOptions, type RaftNodeOptions, type ResolvedOptions } from "./options.ts";
export {
  importSnapshot,
  verifySnapshot,
  type ExportedHead,
  type ExportedSnapshot,
  type Import,
  type ImportReport,
} from "./exported-snapshot.ts";
export type { PeersListener, PeerState } from "./peer-observer.ts";
export type { Command, Result, StateMachine } from "./state-machine.ts";
export { levels, type Formats, type Levels } from "../levels.ts";
export type { NodeProbe } from "./engine.ts";
export type { Refusal } from "./peers.ts";
export type { Applied, ProposeOptions } from "./proposals.ts";
