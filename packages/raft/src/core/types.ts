/**
 * The words of Raft, as data: what goes over the wire, to disk, and between the core and its driver.
 *
 * Node ids, terms and indexes are plain numbers, whole and safe (below 2^53 − 1). Id 0 means none; the two largest
 * safe integers name the local storage threads.
 */

/** A member's id: a safe integer above 0. 0 means none. */
export type NodeId = number;

/** No member: no leader, or no vote. */
export const None: NodeId = 0;
/** Target of `MsgStorageAppend`: the thread that writes this node's log to disk. */
export const LocalAppendThread: NodeId = Number.MAX_SAFE_INTEGER;
/** Target of `MsgStorageApply`: the thread that applies committed entries to this node's state machine. */
export const LocalApplyThread: NodeId = Number.MAX_SAFE_INTEGER - 1;

export type EntryType = "EntryNormal" | "EntryConfChange" | "EntryConfChangeV2";

/** One log entry. Immutable once it has an index. */
export interface Entry {
  term: number;
  index: number;
  type: EntryType;
  /** The proposal's bytes, or an encoded `ConfChange` / `ConfChangeV2`. Empty: a leader's first entry, or a leave-joint. */
  data: Uint8Array;
}

/** What must be durable before any message that depends on it leaves. */
export interface HardState {
  readonly term: number;
  /** The candidate voted for in `term`, or 0. */
  readonly vote: NodeId;
  readonly commit: number;
}

export type StateType = "StateFollower" | "StateCandidate" | "StateLeader" | "StatePreCandidate";

/** What need not be durable: who leads and what we are. */
export interface SoftState {
  readonly lead: NodeId;
  readonly raftState: StateType;
}

/** A configuration, as stored in snapshots. Ids ascend. */
export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** The old voters while the configuration is joint, else empty. */
  readonly votersOutgoing: readonly NodeId[];
  /** Voters of the old half that become learners when it is left. */
  readonly learnersNext: readonly NodeId[];
  /** Whether Raft leaves the joint configuration by itself. */
  readonly autoLeave: boolean;
}

export interface SnapshotMetadata {
  readonly index: number;
  readonly term: number;
  /** The configuration at `index`, never one that is later or uncommitted. */
  readonly confState: ConfState;
}

export interface Snapshot {
  readonly metadata: SnapshotMetadata;
  /** The state machine's bytes, or whatever the runtime streams them by. The core never looks. */
  readonly data: Uint8Array;
}

export type MessageType =
  | "MsgHup"
  | "MsgBeat"
  | "MsgProp"
  | "MsgApp"
  | "MsgAppResp"
  | "MsgVote"
  | "MsgVoteResp"
  | "MsgSnap"
  | "MsgHeartbeat"
  | "MsgHeartbeatResp"
  | "MsgUnreachable"
  | "MsgSnapStatus"
  | "MsgCheckQuorum"
  | "MsgTransferLeader"
  | "MsgTimeoutNow"
  | "MsgReadIndex"
  | "MsgReadIndexResp"
  | "MsgPreVote"
  | "MsgPreVoteResp"
  | "MsgStorageAppend"
  | "MsgStorageAppendResp"
  | "MsgStorageApply"
  | "MsgStorageApplyResp"
  | "MsgForgetLeader";

/** One message, of one shape whatever its type; unused numbers are 0. Make it with `message()`; immutable once sent. */
export interface Message {
  type: MessageType;
  to: NodeId;
  from: NodeId;
  /** 0: a local message, or one that is forwarded and has no term. */
  term: number;
  /** MsgApp: term of the entry at `index`. MsgAppResp rejected: term at `rejectHint`. Votes: term of the last entry. */
  logTerm: number;
  /** MsgApp: the entry before `entries`. MsgAppResp: the last entry that matches. Votes: the last entry. */
  index: number;
  entries: readonly Entry[];
  commit: number;
  /** MsgStorageAppend only: with `term` and `commit`, the HardState to write; all three 0 when it is unchanged. */
  vote: NodeId;
  snapshot: Snapshot | undefined;
  reject: boolean;
  rejectHint: number;
  /** Votes: `CampaignTransfer`. Heartbeats and their responses: the leader's round. */
  context: Uint8Array | undefined;
  /** MsgStorageAppend, MsgStorageApply: messages to deliver once the write is done. */
  responses: readonly Message[];
}

/** Answer to `readIndex(context)`: serve the read once `index` is applied. */
export interface ReadState {
  readonly index: number;
  readonly context: Uint8Array;
  /** This leader answered by its lease alone: check `leaseValid()` again as the reply leaves. */
  readonly byLease?: boolean;
}

/** What the driver must do now; each list may be empty. The order is in `RawNode.ready`. */
export interface Ready {
  /** Set when it changed. */
  readonly softState: SoftState | undefined;
  /** Set when it changed: write it with `entries`, atomically. */
  readonly hardState: HardState | undefined;
  /** Append to the log, replacing what is there from `entries[0].index` on. */
  readonly entries: readonly Entry[];
  /** Replace log and state machine by this snapshot. */
  readonly snapshot: Snapshot | undefined;
  /** Apply, in order. */
  readonly committedEntries: readonly Entry[];
  /** Send, after `hardState`, `entries` and `snapshot` are durable (with async storage writes: at once). */
  readonly messages: readonly Message[];
  readonly readStates: readonly ReadState[];
  /** Whether `hardState` and `entries` need an fsync; false when only the commit index moved. A `snapshot` always does. */
  readonly mustSync: boolean;
}

export type ConfChangeType =
  | "ConfChangeAddNode"
  | "ConfChangeRemoveNode"
  | "ConfChangeUpdateNode"
  | "ConfChangeAddLearnerNode";

/** `Auto`: simple if one change, else joint and left by Raft. The other two: always joint, left by Raft or by the user. */
export type ConfChangeTransition =
  | "ConfChangeTransitionAuto"
  | "ConfChangeTransitionJointImplicit"
  | "ConfChangeTransitionJointExplicit";

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly nodeId: NodeId;
}

/** The old form: one change, never joint. */
export interface ConfChange extends ConfChangeSingle {
  readonly version: 1;
  readonly context?: Uint8Array;
}

/** Any number of changes in one step. No changes and `Auto` leaves the joint configuration. */
export interface ConfChangeV2 {
  readonly version: 2;
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  readonly context?: Uint8Array;
}

export type AnyConfChange = ConfChange | ConfChangeV2;

/**
 * The stable log, as the core reads it: synchronous, and reflecting every write whose completion was reported.
 *
 * What it throws passes through the core unchanged; the node must then stop.
 */
export interface Storage {
  /** What was last persisted; term 0, vote 0, commit 0 and an empty ConfState for a fresh node. Read once. */
  initialState(): { readonly hardState: HardState; readonly confState: ConfState };
  /** Index of the first entry that can be read; 1 + the snapshot's or compaction's index. */
  firstIndex(): number;
  /** Index of the last entry, or `firstIndex() − 1`. */
  lastIndex(): number;
  /** Term at `index`, asked only for `firstIndex() − 1 ≤ index ≤ lastIndex()`. */
  term(index: number): number;
  /**
   * Entries `[lo, hi)`, cut to `maxSize` encoded bytes (see `entriesSize`) but at least one.
   * Asked only within `[firstIndex(), lastIndex() + 1]`. The caller owns the array, not the entries.
   */
  entries(lo: number, hi: number, maxSize: number): Entry[];
  /** The newest snapshot; `undefined` when none is at hand yet, and the core asks again later. */
  snapshot(): Snapshot | undefined;
}

export type SnapshotStatus = "finish" | "failure";
