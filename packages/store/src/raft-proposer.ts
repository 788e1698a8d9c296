import { WarrenError } from "@warren/std";

import { StoreError } from "./errors.ts";
import type { Proposer } from "./proposer.ts";

/** What is used of `@warren/raft`'s RaftNode. */
export interface RaftLike {
  propose(data: Uint8Array): Promise<{ readonly result: Uint8Array | undefined }>;
  leadership(): { readonly leader: number | undefined; readonly isLeader: boolean };
}

/** A raft member as a Proposer. Only the leader proposes: a follower's view is behind, so its writes would conflict. */
export function raftProposer(node: RaftLike): Proposer {
  return {
    async propose(command) {
      const { isLeader, leader } = node.leadership();
      if (!isLeader) throw notLeader(leader);
      try {
        const { result } = await node.propose(command);
        if (result === undefined) throw new Error("assertion failed: the store's state machine answers every command");
        return result;
      } catch (error) {
        throw translated(error, node);
      }
    },
  };
}

function translated(error: unknown, node: RaftLike): unknown {
  if (!WarrenError.is(error)) return error;
  const cause = { cause: error };
  switch (error.code) {
    case "RAFT_OUTCOME_UNKNOWN":
    case "RAFT_STORAGE_FAILED":
    case "RAFT_FSM_FAILED":
      return new StoreError(
        { code: "STORE_OUTCOME_UNKNOWN" },
        "no answer came from consensus: the write may be applied or not; look before you repeat it",
        cause,
      );
    case "RAFT_NOT_LEADER":
      return notLeader(node.leadership().leader, error);
    case "RAFT_PROPOSAL_DROPPED": {
      const { isLeader, leader } = node.leadership();
      if (!isLeader) return notLeader(leader, error);
      const { reason } = error.failure as unknown as { readonly reason: string };
      return unavailable(reason, error);
    }
    case "RAFT_CLOSED":
      return unavailable("closed", error);
    default:
      return error;
  }
}

function notLeader(leader: number | undefined, cause?: unknown): StoreError {
  return new StoreError(
    { code: "STORE_NOT_LEADER", leader: leader === undefined ? undefined : String(leader) },
    leader === undefined
      ? "no manager leads at the moment; retry in a second, or see whether a majority of managers is up"
      : `this manager does not lead, manager ${leader} does; ask that one`,
    { cause },
  );
}

function unavailable(reason: string, cause: unknown): StoreError {
  return new StoreError(
    { code: "STORE_UNAVAILABLE", reason },
    `the write was not taken (${reason}); retry in a second`,
    { cause },
  );
}
