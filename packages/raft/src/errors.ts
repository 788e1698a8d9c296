import { WarrenError } from "@warren/std";

/** Why a proposal was not taken. All but `uncommitted-limit` clear up with the next leader or the end of a transfer. */
export type DropReason =
  | "no-leader"
  | "forwarding-disabled"
  | "transfer-in-progress"
  | "not-a-member"
  | "uncommitted-limit";

/** What can go wrong in operation; `code` is public API. */
export type RaftFailure =
  | { readonly code: "RAFT_PROPOSAL_DROPPED"; readonly reason: DropReason }
  /** A message that only the node's own driver may step came from elsewhere. */
  | { readonly code: "RAFT_LOCAL_MESSAGE" }
  /** A response from a node that is not in the configuration. */
  | { readonly code: "RAFT_PEER_UNKNOWN"; readonly peer: number }
  | { readonly code: "RAFT_CONF_CHANGE_INVALID" }
  | { readonly code: "RAFT_OPTIONS_INVALID"; readonly option: string };

export class RaftError extends WarrenError<RaftFailure> {}
