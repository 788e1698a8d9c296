import type { Random } from "@warren/std";

import { RaftError } from "../errors.ts";
import type { RaftEvent } from "./event.ts";
import { isLocalTarget } from "./message.ts";
import { None, type NodeId, type Storage } from "./types.ts";

/** Time for lease reads. The core has no clock of its own; only differences of `nowMs` matter. */
export interface LeaseClock {
  /** Milliseconds on a clock that never goes back and keeps counting while the process is paused. */
  nowMs(): number;
  /**
   * How long after the start of a heartbeat round that a quorum answered the leader may serve reads alone.
   * Must be below `electionTicks − 1` times the tick of the fastest clock in the cluster (the first tick may come right
   * after the heartbeat): the declared drift goes off here.
   */
  readonly durationMs: number;
}

/** What a `RawNode` is made from. Sizes are bytes, times are ticks. */
export interface Config {
  readonly id: NodeId;
  readonly storage: Storage;
  /** Draws the election timeout; a simulation passes a seeded one. */
  readonly random: Pick<Random, "int">;
  /** Last index that the state machine already holds, on restart. @default the storage's `firstIndex() − 1` */
  readonly applied?: number;
  /**
   * Ticks without word from a leader before this node campaigns, drawn per term from `[n, 2n)` (Raft §5.2).
   * Invariant: `electionTicks > heartbeatTicks`. @default 10
   */
  readonly electionTicks?: number;
  /** Ticks between a leader's heartbeats. @default 1 */
  readonly heartbeatTicks?: number;
  /** Write through `MsgStorageAppend` / `MsgStorageApply` and their responses instead of `advance()`. @default false */
  readonly asyncStorageWrites?: boolean;
  /** Bytes of entries in one MsgApp; a single larger entry still goes. @default 1 MiB */
  readonly maxSizePerMsg?: number;
  /** Bytes of committed entries handed out and not yet applied. @default `maxSizePerMsg` */
  readonly maxCommittedSizePerReady?: number;
  /** Payload bytes in a leader's uncommitted tail beyond which proposals are dropped. @default unlimited */
  readonly maxUncommittedEntriesSize?: number;
  /** MsgApps in flight to one follower. @default 256 */
  readonly maxInflightMsgs?: number;
  /** Payload bytes in flight to one follower; at least `maxSizePerMsg`. @default unlimited */
  readonly maxInflightBytes?: number;
  /** A leader without messages from a quorum for an election timeout steps down; voters with a leader ignore candidates. @default true */
  readonly checkQuorum?: boolean;
  /** Ask before raising the term, so that a node cut off does not disturb on its return (thesis §9.6). @default true */
  readonly preVote?: boolean;
  /** `safe`: a heartbeat round per read (shared). `lease`: none while the lease holds; needs `checkQuorum`, `lease`. @default "safe" */
  readonly readOnlyOption?: "safe" | "lease";
  readonly lease?: LeaseClock;
  /** Followers drop proposals rather than forward them. @default false */
  readonly disableProposalForwarding?: boolean;
  /** Propose membership changes without checking them first; then the caller must. @default false */
  readonly disableConfChangeValidation?: boolean;
  /** A leader that is removed or demoted steps down once that is applied. @default true */
  readonly stepDownOnRemoval?: boolean;
  /** Called in place when the commit index moves, for checkers. Must not call back into the node. */
  readonly onCommit?: (before: number, committed: number) => void;
  /** Called in place when this node, leading, finds that a quorum has everything up to `index`, for checkers. */
  readonly onQuorum?: (index: number) => void;
  /** Called in place for each noteworthy event, for logs and metrics. Must not call back into the node. */
  readonly onEvent?: (event: RaftEvent) => void;
}

/** A `Config` with every option decided. */
export type ResolvedConfig = Required<Omit<Config, "applied" | "lease">> & Pick<Config, "applied" | "lease">;

const noEvent = (): void => undefined;

/** Checks a configuration and fills in its defaults. @throws RaftError `RAFT_OPTIONS_INVALID` */
export function resolveConfig(config: Config): ResolvedConfig {
  const maxSizePerMsg = config.maxSizePerMsg ?? 1024 * 1024;
  const resolved: ResolvedConfig = {
    electionTicks: 10,
    heartbeatTicks: 1,
    asyncStorageWrites: false,
    maxSizePerMsg,
    maxCommittedSizePerReady: maxSizePerMsg,
    maxUncommittedEntriesSize: Number.POSITIVE_INFINITY,
    maxInflightMsgs: 256,
    maxInflightBytes: Number.POSITIVE_INFINITY,
    checkQuorum: true,
    preVote: true,
    readOnlyOption: "safe",
    disableProposalForwarding: false,
    disableConfChangeValidation: false,
    stepDownOnRemoval: true,
    onEvent: noEvent,
    onCommit: noEvent,
    onQuorum: noEvent,
    ...config,
  };
  check(Number.isSafeInteger(config.id) && config.id > None, "id", "is not a whole number above 0");
  check(!isLocalTarget(config.id), "id", "names a local storage thread; choose a smaller one");
  check(resolved.heartbeatTicks > 0, "heartbeatTicks", "is not above 0");
  check(resolved.electionTicks > resolved.heartbeatTicks, "electionTicks", "is not above heartbeatTicks");
  check(resolved.maxSizePerMsg >= 0, "maxSizePerMsg", "is below 0");
  check(resolved.maxCommittedSizePerReady > 0, "maxCommittedSizePerReady", "is not above 0");
  check(resolved.maxUncommittedEntriesSize > 0, "maxUncommittedEntriesSize", "is not above 0");
  check(resolved.maxInflightMsgs > 0, "maxInflightMsgs", "is not above 0");
  check(resolved.maxInflightBytes >= resolved.maxSizePerMsg, "maxInflightBytes", "is below maxSizePerMsg");
  if (resolved.readOnlyOption === "lease") {
    check(resolved.checkQuorum, "checkQuorum", "is off, and lease reads are unsafe without it");
    check(resolved.lease !== undefined, "lease", "is missing, and lease reads need a clock");
  }
  return Object.freeze(resolved);
}

function check(condition: boolean, option: string, what: string): void {
  if (!condition) throw new RaftError({ code: "RAFT_OPTIONS_INVALID", option }, `raft option ${option} ${what}`);
}
