import type { DropReason } from "../errors.ts";
import type { Message, NodeId, StateType } from "./types.ts";

/** What the core did that an operator may want to know. Its driver logs and counts them. */
export type RaftEvent =
  | { readonly kind: "state-changed"; readonly state: StateType; readonly term: number; readonly lead: NodeId }
  | { readonly kind: "election-started"; readonly term: number; readonly preVote: boolean; readonly transfer: boolean }
  | { readonly kind: "election-refused"; readonly why: "not-promotable" | "unapplied-conf-change" }
  | { readonly kind: "vote-decided"; readonly request: Message; readonly granted: boolean }
  | { readonly kind: "vote-ignored"; readonly request: Message; readonly remainingTicks: number }
  | { readonly kind: "quorum-lost"; readonly term: number }
  | { readonly kind: "higher-term-seen"; readonly message: Message; readonly term: number }
  | { readonly kind: "configuration-changed"; readonly configuration: string }
  | { readonly kind: "conf-change-refused"; readonly why: string }
  /** A committed change can't follow the active configuration: it changes nothing, on any member. */
  | { readonly kind: "conf-change-ignored"; readonly why: string }
  | { readonly kind: "log-conflict"; readonly index: number; readonly existingTerm: number; readonly term: number }
  | { readonly kind: "append-rejected"; readonly from: NodeId; readonly index: number; readonly hint: number }
  | { readonly kind: "snapshot-sent"; readonly to: NodeId; readonly index: number }
  | { readonly kind: "snapshot-restored" | "snapshot-ignored"; readonly index: number; readonly term: number }
  | { readonly kind: "transfer-started" | "transfer-aborted"; readonly to: NodeId }
  | { readonly kind: "leader-forgotten"; readonly lead: NodeId }
  | { readonly kind: "proposal-dropped"; readonly reason: DropReason };
