/** What a leader does with messages: replicate, commit, count who is there, confirm reads, hand over. */
import { assert } from "@warren/std";

import type { DropReason } from "../errors.ts";
import { asV2, decodeConfChange } from "./conf-change.ts";
import { payloadsSize } from "./entry.ts";
import { message } from "./message.ts";
import type { Progress } from "./progress.ts";
import type { Raft } from "./raft.ts";
import { None, type Entry, type Message, type NodeId } from "./types.ts";

export function stepLeader(r: Raft, m: Message): DropReason | undefined {
  switch (m.type) {
    case "MsgBeat":
      bcastHeartbeat(r);
      return undefined;
    case "MsgCheckQuorum":
      checkQuorum(r);
      return undefined;
    case "MsgProp":
      return propose(r, m);
    case "MsgReadIndex":
      readIndex(r, m);
      return undefined;
    default:
  }
  const progress = r.tracker.get(m.from);
  if (progress === undefined) return undefined;
  switch (m.type) {
    case "MsgAppResp":
      progress.recentActive = true;
      if (m.reject) appendRejected(r, m, progress);
      else appendAccepted(r, m, progress);
      break;
    case "MsgHeartbeatResp":
      heartbeatAnswered(r, m, progress);
      break;
    case "MsgSnapStatus":
      snapshotReported(m, progress);
      break;
    case "MsgUnreachable":
      // Appends that were in flight are likely lost.
      if (progress.state === "StateReplicate") progress.becomeProbe();
      break;
    case "MsgTransferLeader":
      transfer(r, m.from, progress);
      break;
    default:
  }
  return undefined;
}

function checkQuorum(r: Raft): void {
  if (!r.tracker.quorumActive()) {
    r.emit({ kind: "quorum-lost", term: r.term });
    r.becomeFollower(r.term, None);
  }
  for (const id of r.tracker.ids) if (id !== r.id) (r.tracker.get(id) as Progress).recentActive = false;
}

function propose(r: Raft, m: Message): DropReason | undefined {
  assert(m.entries.length > 0, "a proposal has entries");
  if (r.tracker.get(r.id) === undefined) return "not-a-member";
  if (r.leadTransferee !== None) return "transfer-in-progress";
  const before = r.pendingConfIndex;
  const entries = m.entries.some(({ type }) => type !== "EntryNormal") ? admitConfChanges(r, m.entries) : m.entries;
  if (!r.appendEntries(entries)) {
    r.pendingConfIndex = before;
    return "uncommitted-limit";
  }
  bcastAppend(r);
  return undefined;
}

/** Replaces each membership change that can't follow the active configuration by an empty entry (I5). */
function admitConfChanges(r: Raft, proposals: readonly Entry[]): Entry[] {
  return proposals.map((entry, at): Entry => {
    if (entry.type === "EntryNormal") return entry;
    const why = refusal(r, entry);
    if (why !== undefined && !r.config.disableConfChangeValidation) {
      r.emit({ kind: "conf-change-refused", why });
      return { ...entry, type: "EntryNormal", data: entry.data.subarray(0, 0) };
    }
    r.pendingConfIndex = r.log.lastIndex() + at + 1;
    return entry;
  });
}

function refusal(r: Raft, entry: Entry): string | undefined {
  const joint = r.tracker.config.outgoing.size > 0;
  const change = decodeConfChange(entry);
  const leaves = asV2(change).changes.length === 0;
  if (r.pendingConfIndex > r.log.applied) {
    return `possible unapplied conf change at index ${r.pendingConfIndex} (applied to ${r.log.applied})`;
  }
  if (joint && !leaves) return "must transition out of joint config first";
  if (!joint && leaves) return "not in joint state; refusing empty conf change";
  // What is committed is applied by everyone: whether it can be is known now, as no other change is unapplied.
  const tried = r.tryConfChange(change);
  return typeof tried === "string" ? tried : undefined;
}

function appendRejected(r: Raft, m: Message, progress: Progress): void {
  r.emit({ kind: "append-rejected", from: m.from, index: m.index, hint: m.rejectHint });
  // The follower's term at the hint rules out every index at which ours is higher (log.ts, L3): one probe a term.
  const hint = m.logTerm > 0 ? r.log.findConflictByTerm(m.rejectHint, m.logTerm).index : m.rejectHint;
  if (!progress.maybeDecreaseTo(m.index, hint)) return;
  if (progress.state === "StateReplicate") progress.becomeProbe();
  sendAppend(r, m.from);
}

function appendAccepted(r: Raft, m: Message, progress: Progress): void {
  const confirmsProbe = progress.match === m.index && progress.state === "StateProbe";
  if (!progress.maybeUpdate(m.index) && !confirmsProbe) return;
  if (progress.state === "StateProbe") {
    progress.becomeReplicate();
  } else if (progress.state === "StateReplicate") {
    progress.inflights.freeUpTo(m.index);
  } else if (progress.match + 1 >= r.log.firstIndex()) {
    // Whichever snapshot it was that arrived, the log can take it from here.
    progress.becomeProbe();
    progress.becomeReplicate();
  }
  if (maybeCommit(r)) {
    releasePendingReads(r);
    bcastAppend(r);
  } else if (m.from !== r.id && progress.canBumpCommit(r.log.committed)) {
    sendAppend(r, m.from);
  }
  if (m.from === r.id) return;
  // Room in the window may be enough for several appends.
  while (maybeSendAppend(r, m.from, false));
  if (m.from === r.leadTransferee && progress.match === r.log.lastIndex()) sendTimeoutNow(r, m.from);
}

function heartbeatAnswered(r: Raft, m: Message, progress: Progress): void {
  progress.recentActive = true;
  progress.msgAppFlowPaused = false;
  // An append, empty if need be, gets a full window or a probe going again after losses.
  if (progress.match < r.log.lastIndex() || progress.state === "StateProbe") sendAppend(r, m.from);
  if (m.context === undefined || m.context.length === 0) return;
  r.readOnly.recordAck(m.from, m.context);
  confirmReads(r);
}

function snapshotReported(m: Message, progress: Progress): void {
  if (progress.state !== "StateSnapshot") return;
  // A snapshot that failed is nothing to go on from.
  if (m.reject) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  // Wait for the follower's word on it, or for a heartbeat.
  progress.msgAppFlowPaused = true;
}

function transfer(r: Raft, to: NodeId, progress: Progress): void {
  if (!progress.isLearner && r.leadTransferee !== to) {
    r.abortTransfer();
    if (to === r.id) return;
    r.emit({ kind: "transfer-started", to });
    // It has one election timeout from now.
    r.electionElapsed = 0;
    r.leadTransferee = to;
    if (progress.match === r.log.lastIndex()) sendTimeoutNow(r, to);
    else sendAppend(r, to);
  }
}

function sendTimeoutNow(r: Raft, to: NodeId): void {
  r.transferSent = true;
  r.send(message("MsgTimeoutNow", { to }));
}

/** Commits what a quorum has of this term's entries. True if that is news. */
function maybeCommit(r: Raft): boolean {
  const index = r.tracker.committed();
  const moved = r.log.maybeCommit(index, r.term);
  if (moved) r.config.onQuorum(index);
  return moved;
}

/** Tells the members of a new configuration what they need. */
export function configurationChanged(r: Raft): void {
  if (maybeCommit(r)) {
    releasePendingReads(r);
    bcastAppend(r);
  } else {
    for (const id of r.tracker.ids) if (id !== r.id) maybeSendAppend(r, id, false);
  }
  confirmReads(r);
  if (r.leadTransferee !== None && !r.tracker.isVoter(r.leadTransferee)) r.abortTransfer();
}

/** Sends every follower what it lacks. */
export function bcastAppend(r: Raft): void {
  for (const id of r.tracker.ids) if (id !== r.id) sendAppend(r, id);
}

function sendAppend(r: Raft, to: NodeId): void {
  maybeSendAppend(r, to, true);
}

/** Sends the next entries, or with `sendIfEmpty` at least the commit index, or a snapshot. True if anything left. */
function maybeSendAppend(r: Raft, to: NodeId, sendIfEmpty: boolean): boolean {
  const progress = r.tracker.get(to) as Progress;
  if (progress.isPaused()) return false;
  const index = progress.next - 1;
  const logTerm = r.log.term(index);
  if (logTerm === undefined) return maybeSendSnapshot(r, to, progress);
  // Through a full window only empty appends go, so that losses are noticed.
  const closed = progress.state === "StateReplicate" && progress.inflights.full();
  const entries = closed ? [] : r.log.entries(progress.next, r.config.maxSizePerMsg);
  if (entries === undefined) return sendIfEmpty && maybeSendSnapshot(r, to, progress);
  if (entries.length === 0 && !sendIfEmpty) return false;
  const commit = r.log.committed;
  r.send(message("MsgApp", { to, index, logTerm, entries, commit }));
  progress.sentEntries(entries.length, payloadsSize(entries));
  progress.sentCommit(commit);
  return true;
}

function maybeSendSnapshot(r: Raft, to: NodeId, progress: Progress): boolean {
  if (!progress.recentActive) return false;
  const snapshot = r.log.snapshot();
  if (snapshot === undefined) return false;
  const { index } = snapshot.metadata;
  assert(index > 0, "a snapshot to send is not empty");
  progress.becomeSnapshot(index);
  r.emit({ kind: "snapshot-sent", to, index });
  r.send(message("MsgSnap", { to, snapshot }));
  return true;
}

function bcastHeartbeat(r: Raft): void {
  const context = r.readOnly.startRound(r.id, r.config.lease?.nowMs());
  for (const to of r.tracker.ids) {
    if (to === r.id) continue;
    const progress = r.tracker.get(to) as Progress;
    // Never beyond what the follower is known to share.
    const commit = Math.min(progress.match, r.log.committed);
    r.send(message("MsgHeartbeat", { to, commit, context }));
    progress.sentCommit(commit);
  }
  // Nobody else answers a lone voter's round.
  if (r.tracker.isSingleton()) confirmReads(r);
}

function readIndex(r: Raft, m: Message): void {
  // Until a leader commits in its term it does not know what is committed (Raft §8).
  if (!r.committedInTerm()) r.pendingReads.push(m);
  else serveRead(r, m);
}

function serveRead(r: Raft, m: Message): void {
  const index = r.log.committed;
  const byLease = leaseValid(r);
  if (byLease || r.tracker.isSingleton()) {
    answerRead(r, m, index, byLease);
    return;
  }
  if (r.readOnly.join(m, index)) return;
  bcastHeartbeat(r);
  r.readOnly.join(m, index);
  confirmReads(r);
}

function releasePendingReads(r: Raft): void {
  if (r.pendingReads.length === 0 || !r.committedInTerm()) return;
  const reads = r.pendingReads;
  r.pendingReads = [];
  for (const read of reads) serveRead(r, read);
}

function confirmReads(r: Raft): void {
  const { reads, startedMs } = r.readOnly.advance(r.tracker.config);
  const { lease } = r.config;
  if (startedMs !== undefined && lease !== undefined) r.leaseUntilMs = startedMs + lease.durationMs;
  for (const { request, index } of reads) answerRead(r, request, index, false);
}

function answerRead(r: Raft, m: Message, index: number, byLease: boolean): void {
  if (m.from === None || m.from === r.id) {
    const { data: context } = m.entries[0] as Entry;
    r.readStates.push(byLease ? { index, context, byLease } : { index, context });
  } else {
    r.send(message("MsgReadIndexResp", { to: m.from, index, entries: m.entries }));
  }
}

/**
 * Whether no one else can lead now: a quorum answered a round that began less than the lease ago, and this leader asked
 * no one to take over. The clock is read here, so a pause since that round is seen.
 */
export function leaseValid(r: Raft): boolean {
  const { lease, readOnlyOption } = r.config;
  if (readOnlyOption !== "lease" || lease === undefined) return false;
  if (!r.isLeader() || !r.committedInTerm()) return false;
  // Without a lone voter nobody is elected, and nobody answers its heartbeats.
  return r.tracker.isSingleton() || (!r.transferSent && lease.nowMs() < r.leaseUntilMs);
}
