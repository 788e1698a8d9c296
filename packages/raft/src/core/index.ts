/**
 * The pure core of Raft: a state machine that is stepped, ticked and asked what to do. No I/O, no clock, no chance of
 * its own.
 *
 * - `raw-node.ts`       RawNode: the core as its driver sees it
 * - `types.ts`          the words: Entry, Message, HardState, ConfState, Snapshot, Ready, Storage
 * - `config.ts`         Config, its defaults and checks
 * - `event.ts`          RaftEvent: what happened, for logs and metrics
 * - `conf-change.ts`    membership changes and their bytes
 * - `describe.ts`       text for people
 * - `memory-storage.ts` a Storage in memory
 * - `raft.ts`           a member's state and transitions; with `leader.ts`, `follower.ts`
 * - `log.ts`            the log: stable and `unstable.ts`
 * - `read-only.ts`      reads waiting for a heartbeat round
 * - `tracker.ts`        configuration and progress: `progress.ts`, `inflights.ts`
 * - `changer.ts`        from one configuration to the next
 * - `quorum.ts`         majorities, alone and joint
 * - `message.ts`        message(), and which types are local or responses
 * - `entry.ts`          sizes of entries
 */
export { LogLost } from "./log.ts";
export { RawNode, type BasicStatus, type Status } from "./raw-node.ts";
export type { Config, LeaseClock } from "./config.ts";
export * from "./types.ts";
export type { RaftEvent } from "./event.ts";
export { message, isLocalMessage, isLocalTarget, isNodeId, isResponseMessage } from "./message.ts";
export { asV2, decodeConfChange, encodeConfChange } from "./conf-change.ts";
export { entriesSize, entrySize } from "./entry.ts";
export { MemoryStorage } from "./memory-storage.ts";
export { RaftError, type DropReason, type RaftFailure } from "../errors.ts";
export type { Configuration } from "./tracker.ts";
export type { Progress, ProgressState } from "./progress.ts";
export {
  describeConfState,
  describeEntries,
  describeEntry,
  describeHardState,
  describeMessage,
  describeReady,
  describeSnapshot,
  describeSoftState,
  type EntryFormatter,
} from "./describe.ts";
