export { RaftNode, startRaftNode, type Leadership, type RaftNodeDependencies } from "./raft-node.ts";
export { resolveOptions, type RaftNodeOptions, type ResolvedOptions } from "./options.ts";
export type { Command, Result, StateMachine } from "./state-machine.ts";
export type { Applied } from "./proposals.ts";
