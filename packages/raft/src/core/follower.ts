/** What a follower or candidate does with messages. */
import type { DropReason } from "../errors.ts";
import { message } from "./message.ts";
import { bcastAppend } from "./leader.ts";
import type { Raft } from "./raft.ts";
import { None, type Message } from "./types.ts";

/** A candidate or pre-candidate. */
export function stepCandidate(r: Raft, m: Message): DropReason | undefined {
  switch (m.type) {
    case "MsgProp":
      return "no-leader";
    case "MsgApp":
    case "MsgHeartbeat":
    case "MsgSnap":
      // Someone won this term.
      r.becomeFollower(m.term, m.from);
      return stepFollower(r, m);
    case "MsgVoteResp":
      if (r.state === "StateCandidate") countVote(r, m);
      break;
    case "MsgPreVoteResp":
      if (r.state === "StatePreCandidate") countVote(r, m);
      break;
    default:
  }
  return undefined;
}

function countVote(r: Raft, m: Message): void {
  r.tracker.recordVote(m.from, !m.reject);
  const result = r.tracker.voteResult();
  if (result === "VoteLost") {
    r.becomeFollower(r.term, None);
  } else if (result === "VoteWon") {
    if (r.state === "StatePreCandidate") {
      r.campaign("CampaignElection");
    } else {
      r.becomeLeader();
      bcastAppend(r);
    }
  }
}

export function stepFollower(r: Raft, m: Message): DropReason | undefined {
  switch (m.type) {
    case "MsgApp":
      heard(r, m);
      handleAppend(r, m);
      break;
    case "MsgHeartbeat":
      heard(r, m);
      r.log.commitTo(m.commit);
      r.send(message("MsgHeartbeatResp", { to: m.from, context: m.context }));
      break;
    case "MsgSnap":
      heard(r, m);
      handleSnapshot(r, m);
      break;
    case "MsgProp":
      if (r.lead === None) return "no-leader";
      if (r.config.disableProposalForwarding) return "forwarding-disabled";
      r.send({ ...m, to: r.lead });
      break;
    case "MsgTransferLeader":
    case "MsgReadIndex":
      if (r.lead !== None) r.send({ ...m, to: r.lead });
      break;
    case "MsgReadIndexResp":
      for (const { data } of m.entries) r.readStates.push({ index: m.index, context: data });
      break;
    case "MsgForgetLeader":
      // A leader that reads by lease relies on being remembered.
      if (r.lead !== None && r.config.readOnlyOption !== "lease") {
        r.emit({ kind: "leader-forgotten", lead: r.lead });
        r.lead = None;
      }
      break;
    case "MsgTimeoutNow":
      // The leader asks for it, so no leader is disturbed and no pre-vote is needed.
      r.hup("CampaignTransfer");
      break;
    default:
  }
  return undefined;
}

function heard(r: Raft, m: Message): void {
  r.electionElapsed = 0;
  r.lead = m.from;
}

function handleAppend(r: Raft, m: Message): void {
  const { committed } = r.log;
  if (m.index < committed) {
    // Committed means that it matches; what precedes may be compacted here.
    r.send(message("MsgAppResp", { to: m.from, index: committed }));
    return;
  }
  const matched = r.log.maybeAppend({ term: m.logTerm, index: m.index }, m.entries, m.commit);
  if (matched !== undefined) {
    r.send(message("MsgAppResp", { to: m.from, index: matched }));
    return;
  }
  // The hint: where this log may match the leader's. Terms above `logTerm` can't be in the leader's log up to here.
  const hint = r.log.findConflictByTerm(Math.min(m.index, r.log.lastIndex()), m.logTerm);
  const { index } = m;
  r.send(message("MsgAppResp", { to: m.from, index, reject: true, rejectHint: hint.index, logTerm: hint.term }));
}

function handleSnapshot(r: Raft, m: Message): void {
  if (m.snapshot === undefined) return;
  const { index, term } = m.snapshot.metadata;
  if (index > r.log.committed && r.log.applied < r.log.applying) {
    r.deferSnapshot(m);
    return;
  }
  const restored = r.restore(m.snapshot);
  r.emit({ kind: restored ? "snapshot-restored" : "snapshot-ignored", index, term });
  r.send(message("MsgAppResp", { to: m.from, index: restored ? r.log.lastIndex() : r.log.committed }));
}
