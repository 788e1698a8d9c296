export { RaftNode, type Inspection, type NodeStatus, type RaftNodeDependencies } from "./raft-node.ts";
export { startRaftNode } from "./start.ts";
export type { Leadership, LeaderTerm } from "./leadership.ts";
export { resolveOptions, type RaftNodeOptions, type ResolvedOptions } from "./options.ts";
export type { Command, Result, StateMachine } from "./state-machine.ts";
export type { Formats, Levels } from "../levels.ts";
export type { NodeProbe } from "./engine.ts";
export type { Refusal } from "./peers.ts";
export type { Applied, ProposeOptions } from "./proposals.ts";
