import { WarrenError } from "@warren/std";

/** Why a proposal was not taken. All but `uncommitted-limit` clear up with the next leader or the end of a transfer. */
export type DropReason =
  | "no-leader"
  | "forwarding-disabled"
  | "transfer-in-progress"
  | "not-a-member"
  | "uncommitted-limit"
  /** This node has taken as many bytes as it may hold; retry when some are committed. */
  | "pending-bytes"
  | "draining";

/** What can go wrong in operation; `code` is public API. */
export type RaftFailure =
  /** The proposal is not in the log. */
  | { readonly code: "RAFT_PROPOSAL_DROPPED"; readonly reason: DropReason }
  /** The proposal may be in the log or not: its leader changed, or the answer did not come in time. `leader`: as known then. */
  | {
      readonly code: "RAFT_OUTCOME_UNKNOWN";
      readonly leader?: number | undefined;
      readonly address?: string | undefined;
    }
  /** A read's leader or term changed before it was confirmed; it had no effect, so repeat it. */
  | { readonly code: "RAFT_LEADER_CHANGED"; readonly leader: number | undefined; readonly address: string | undefined }
  | { readonly code: "RAFT_READ_TIMEOUT" }
  /** Too many reads are pending here. */
  | { readonly code: "RAFT_OVERLOADED" }
  /** A proposal has more bytes than members carry to each other; it is not in the log. */
  | { readonly code: "RAFT_PROPOSAL_TOO_LARGE"; readonly bytes: number; readonly maxBytes: number }
  | { readonly code: "RAFT_SESSION_UNKNOWN"; readonly session: number }
  /** The proposal or change is not in the log: this member does not lead, or not in the term that was asked for. */
  | { readonly code: "RAFT_NOT_LEADER"; readonly leader: number | undefined; readonly address?: string | undefined }
  | { readonly code: "RAFT_MEMBERSHIP_REFUSED"; readonly why: string }
  | { readonly code: "RAFT_TRANSFER_FAILED"; readonly to: number }
  | { readonly code: "RAFT_CLOSED" }
  /** A write or an fsync failed: what is on disk is unknown, so the node stops. */
  | { readonly code: "RAFT_STORAGE_FAILED" }
  /** The state machine threw: it and the log may have parted, so the node stops. */
  | { readonly code: "RAFT_FSM_FAILED" }
  | { readonly code: "RAFT_LOG_CORRUPT"; readonly index: number }
  | { readonly code: "RAFT_LOG_HOLE"; readonly index: number }
  | { readonly code: "RAFT_LOG_TAIL_LOST"; readonly last: number; readonly expected: number }
  | { readonly code: "RAFT_SNAPSHOT_CORRUPT"; readonly index: number }
  /** A file is no exported snapshot, or not the one that was exported. */
  | { readonly code: "RAFT_EXPORT_INVALID"; readonly why: string }
  | { readonly code: "RAFT_STATE_CORRUPT" }
  | { readonly code: "RAFT_JOURNAL_CORRUPT" }
  /** Data or a message is of a level that this program does not read; it reads `minLevel` to `level`. */
  | {
      readonly code: "RAFT_LEVEL_UNREADABLE";
      readonly found: number;
      readonly minLevel: number;
      readonly level: number;
    }
  | { readonly code: "RAFT_IDENTITY_MISMATCH"; readonly what: string }
  /** A member came back under its id without its log. */
  | { readonly code: "RAFT_MEMBER_WIPED"; readonly id: number }
  | { readonly code: "RAFT_WIRE_INVALID" }
  | { readonly code: "RAFT_PEER_UNREACHABLE"; readonly peer: number }
  /** A message that only the node's own driver may step came from elsewhere. */
  | { readonly code: "RAFT_LOCAL_MESSAGE" }
  /** A response from a node that is not in the configuration. */
  | { readonly code: "RAFT_PEER_UNKNOWN"; readonly peer: number }
  | { readonly code: "RAFT_CONF_CHANGE_INVALID" }
  | { readonly code: "RAFT_OPTIONS_INVALID"; readonly option: string }
  /** A method was called with what it can't take; nothing came of it. */
  | { readonly code: "RAFT_ARGUMENT_INVALID"; readonly argument: string };

export class RaftError extends WarrenError<RaftFailure> {}
