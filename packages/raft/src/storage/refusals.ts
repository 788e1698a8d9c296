/** Why a storage does not open, or does no more: it never guesses. */
import { RaftError } from "../errors.ts";

const remedy = "remove this member and add it again under a new id";

export function storageFailed(cause: unknown): RaftError {
  const text = "a write to the log failed, so what is on disk is unknown; mend the disk and start again";
  return new RaftError({ code: "RAFT_STORAGE_FAILED" }, text, { cause });
}

export function logCorrupt(index: number): RaftError {
  return new RaftError({ code: "RAFT_LOG_CORRUPT", index }, `log entry ${index} is damaged on disk; ${remedy}`);
}

export function logHole(index: number): RaftError {
  return new RaftError({ code: "RAFT_LOG_HOLE", index }, `log entry ${index} is missing from the disk; ${remedy}`);
}

export function tailLost(last: number, expected: number): RaftError {
  return new RaftError(
    { code: "RAFT_LOG_TAIL_LOST", last, expected },
    `the log ends at ${last} but was durable to ${expected}: the disk lost what it had synced; ${remedy}`,
  );
}

export function stateCorrupt(): RaftError {
  return new RaftError({ code: "RAFT_STATE_CORRUPT" }, `this member's state record is damaged on disk; ${remedy}`);
}

export function mismatch(what: string): RaftError {
  return new RaftError({ code: "RAFT_IDENTITY_MISMATCH", what }, `this directory belongs to ${what}; check the path`);
}

export function snapshotCorrupt(index: number): RaftError {
  return new RaftError(
    { code: "RAFT_SNAPSHOT_CORRUPT", index },
    `snapshot ${index} is damaged on this disk; ${remedy}`,
  );
}

export function journalCorrupt(why: string): RaftError {
  return new RaftError({ code: "RAFT_JOURNAL_CORRUPT" }, `this member's journal can't be relied on: ${why}; ${remedy}`);
}
