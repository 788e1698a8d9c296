import { WarrenError } from "@warren/std";

import { notLeader, StoreError, unavailable } from "./errors.ts";
import type { Proposer } from "./proposer.ts";

/** The part of `@warren/raft`'s RaftNode that is used. */
export interface RaftLike {
  propose(data: Uint8Array, options: { readonly term: number }): Promise<{ readonly result: Uint8Array | undefined }>;
  read(): Promise<number>;
  leadership(): { readonly term: number; readonly leader: number | undefined; readonly isLeader: boolean };
}

/** Attempts of one read when the leader changes meanwhile. */
const maxReads = 5;

/** A raft member as a Proposer. */
export function raftProposer(node: RaftLike): Proposer {
  const leader = (): string | undefined => node.leadership().leader?.toString();
  const translated = (error: unknown): unknown => {
    if (!WarrenError.is(error)) return error;
    switch (error.code) {
      case "RAFT_OUTCOME_UNKNOWN":
      case "RAFT_STORAGE_FAILED":
      case "RAFT_FSM_FAILED":
        return new StoreError(
          { code: "STORE_OUTCOME_UNKNOWN" },
          "consensus did not report the outcome: the write may be applied or not; read before you repeat it",
          { cause: error },
        );
      case "RAFT_NOT_LEADER":
        return notLeader(leader(), error);
      case "RAFT_PROPOSAL_DROPPED": {
        if (!node.leadership().isLeader) return notLeader(leader(), error);
        const { reason } = error.failure as unknown as { readonly reason: string };
        return unavailable(reason, error);
      }
      case "RAFT_CLOSED":
        return unavailable("closed", error);
      default:
        return error;
    }
  };
  return {
    leader,
    async propose(command, term) {
      const now = node.leadership();
      if (!now.isLeader || now.term !== term) throw notLeader(leader());
      try {
        const { result } = await node.propose(command, { term });
        if (result === undefined) throw new Error("assertion failed: the store's state machine answers every command");
        return result;
      } catch (error) {
        throw translated(error);
      }
    },
    async read() {
      for (let begun = 1; ; begun++) {
        try {
          await node.read();
          return;
        } catch (error) {
          if (!WarrenError.is(error)) throw error;
          // The failed read had no effect, and the next waits until a leader is known.
          if (error.code === "RAFT_LEADER_CHANGED" && begun < maxReads) continue;
          throw unavailable(readFailures[error.code] ?? error.code, error);
        }
      }
    },
  };
}

const readFailures: Readonly<Record<string, string>> = {
  RAFT_READ_TIMEOUT: "no leader confirmed the read in time",
  RAFT_LEADER_CHANGED: "the leader changed during the read",
  RAFT_CLOSED: "closed",
};
