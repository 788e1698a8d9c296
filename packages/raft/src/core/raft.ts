/**
 * One member's state and its transitions. What a leader and a follower do with messages is in `leader.ts` and
 * `follower.ts`; how its driver sees it, in `raw-node.ts`.
 *
 * I1: a vote, an append's acknowledgement and a leader's own copy count only once durable: they wait in
 * `messagesAfterAppend`. I2: within a term the vote never changes. I3: the term never decreases. I4: a leader never
 * replaces its entries. I5: one membership change may be unapplied at a time (`pendingConfIndex`).
 */
import { assert } from "@warren/std";

import { RaftError, type DropReason } from "../errors.ts";
import { asV2, transitionOf } from "./conf-change.ts";
import { Changer, restoreConfiguration, type Change } from "./changer.ts";
import { resolveConfig, type Config, type ResolvedConfig } from "./config.ts";
import type { RaftEvent } from "./event.ts";
import { entriesSize, payloadsSize } from "./entry.ts";
import { stepCandidate, stepFollower } from "./follower.ts";
import { configurationChanged, stepLeader } from "./leader.ts";
import { RaftLog } from "./log.ts";
import { message } from "./message.ts";
import { ReadOnly } from "./read-only.ts";
import { formatConfiguration, Tracker } from "./tracker.ts";
import {
  None,
  type AnyConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type NodeId,
  type ReadState,
  type Snapshot,
  type SoftState,
  type StateType,
} from "./types.ts";

export type CampaignType = "CampaignPreElection" | "CampaignElection" | "CampaignTransfer";

/** What a vote request of a leadership transfer carries: the leader itself wants it, so its lease does not protect it. */
const campaignTransfer = new TextEncoder().encode("CampaignTransfer" satisfies CampaignType);
const nothing = new Uint8Array(0);

export class Raft {
  readonly config: ResolvedConfig;
  readonly id: NodeId;
  readonly log: RaftLog;
  readonly emit: (event: RaftEvent) => void;
  tracker: Tracker;
  term = 0;
  vote: NodeId = None;
  state: StateType = "StateFollower";
  lead: NodeId = None;
  /** The member that leadership is being handed to. */
  leadTransferee: NodeId = None;
  /** A MsgTimeoutNow left in this term: someone may campaign at any time, so no lease is safe. */
  transferSent = false;
  /** At or above the index of the newest membership change that may be unapplied (I5). */
  pendingConfIndex = 0;
  /** Payload bytes of the leader's uncommitted tail; may be too low, never too high. */
  uncommittedSize = 0;
  readOnly: ReadOnly = new ReadOnly();
  /** Reads that came before this leader committed in its term. */
  pendingReads: Message[] = [];
  readStates: ReadState[] = [];
  /** Until when lease reads are served; only differences to the lease clock matter. */
  leaseUntilMs: number = Number.NEGATIVE_INFINITY;
  messages: Message[] = [];
  messagesAfterAppend: Message[] = [];
  electionElapsed = 0;
  heartbeatElapsed = 0;
  randomizedElectionTimeout = 0;
  /** A MsgSnap that came while entries were being applied; see `deferSnapshot`. */
  private deferredSnapshot: Message | undefined = undefined;
  /** Ticks after a restart for which no vote is given, as a lease granted before it may still hold. */
  private amnesiaTicks = 0;

  constructor(options: Config) {
    const config = resolveConfig(options);
    this.config = config;
    this.id = config.id;
    this.emit = config.onEvent;
    this.tracker = new Tracker(config.maxInflightMsgs, config.maxInflightBytes);
    this.log = new RaftLog(config.storage, config.maxCommittedSizePerReady, {
      conflict: (index, existingTerm, term) => this.emit({ kind: "log-conflict", index, existingTerm, term }),
      committed: config.onCommit,
    });
    const { hardState, confState } = config.storage.initialState();
    restoreConfiguration(this.tracker, this.log.lastIndex(), confState);
    if (hardState.term > 0 || hardState.vote > 0 || hardState.commit > 0) this.loadState(hardState);
    if (config.applied !== undefined && config.applied > 0) this.log.appliedTo(config.applied, 0);
    this.becomeFollower(this.term, None);
  }

  private loadState(state: HardState): void {
    const { committed } = this.log;
    assert(
      committed <= state.commit && state.commit <= this.log.lastIndex(),
      `stored commit ${state.commit} is not within the log (${committed} to ${this.log.lastIndex()})`,
    );
    this.log.committed = state.commit;
    this.term = state.term;
    this.vote = state.vote;
    if (this.config.readOnlyOption === "lease") this.amnesiaTicks = this.config.electionTicks;
  }

  softState(): SoftState {
    return { lead: this.lead, raftState: this.state };
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  /** Queues a message from this node: at once, or, if it promises anything, once what it promises is durable. */
  send(m: Message): void {
    if (m.from === None) m.from = this.id;
    switch (m.type) {
      case "MsgVote":
      case "MsgVoteResp":
      case "MsgPreVote":
      case "MsgPreVoteResp":
        assert(m.term !== 0, `${m.type} carries the term it is for`);
        break;
      case "MsgProp":
      case "MsgReadIndex":
        break;
      default:
        m.term = this.term;
    }
    if (m.type === "MsgAppResp" || m.type === "MsgVoteResp" || m.type === "MsgPreVoteResp") {
      this.messagesAfterAppend.push(m); // I1
    } else {
      assert(m.to !== this.id, `${m.type} is not for its sender`);
      this.messages.push(m);
    }
  }

  tick(): void {
    if (this.state === "StateLeader") this.tickHeartbeat();
    else this.tickElection();
  }

  private tickElection(): void {
    this.electionElapsed++;
    if (this.amnesiaTicks > 0) this.amnesiaTicks--;
    if (this.promotable() && this.electionElapsed >= this.randomizedElectionTimeout) {
      this.electionElapsed = 0;
      this.step(message("MsgHup", { from: this.id }));
    }
  }

  private tickHeartbeat(): void {
    this.heartbeatElapsed++;
    this.electionElapsed++;
    if (this.electionElapsed >= this.config.electionTicks) {
      this.electionElapsed = 0;
      if (this.config.checkQuorum) this.step(message("MsgCheckQuorum", { from: this.id }));
      // A transfer that took a whole election timeout has failed; this leader takes proposals again.
      if (this.isLeader()) this.abortTransfer();
    }
    if (this.isLeader() && this.heartbeatElapsed >= this.config.heartbeatTicks) {
      this.heartbeatElapsed = 0;
      this.step(message("MsgBeat", { from: this.id }));
    }
  }

  isLeader(): boolean {
    return this.state === "StateLeader";
  }

  abortTransfer(): void {
    if (this.leadTransferee === None) return;
    this.emit({ kind: "transfer-aborted", to: this.leadTransferee });
    this.leadTransferee = None;
  }

  private reset(term: number): void {
    if (this.term !== term) {
      this.term = term; // I3: callers pass no lower one.
      this.vote = None; // I2
    }
    this.lead = None;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    const { electionTicks } = this.config;
    this.randomizedElectionTimeout = electionTicks + this.config.random.int(electionTicks);
    this.abortTransfer();
    this.transferSent = false;
    this.tracker.resetVotes();
    this.tracker.resetProgress(this.log.lastIndex() + 1, this.id);
    this.pendingConfIndex = 0;
    this.uncommittedSize = 0;
    this.readOnly = new ReadOnly();
    this.pendingReads = [];
    this.leaseUntilMs = Number.NEGATIVE_INFINITY;
    this.dropDeferredSnapshot();
  }

  private enter(state: StateType): void {
    this.state = state;
    this.emit({ kind: "state-changed", state, term: this.term, lead: this.lead });
  }

  becomeFollower(term: number, lead: NodeId): void {
    this.reset(term);
    this.lead = lead;
    this.enter("StateFollower");
  }

  private becomeCandidate(): void {
    this.reset(this.term + 1);
    this.vote = this.id;
    this.enter("StateCandidate");
  }

  /** Neither term nor vote changes: a pre-candidate promises nothing. */
  private becomePreCandidate(): void {
    this.tracker.resetVotes();
    this.lead = None;
    this.enter("StatePreCandidate");
  }

  becomeLeader(): void {
    this.reset(this.term);
    this.lead = this.id;
    const self = this.tracker.get(this.id);
    assert(self !== undefined, "a leader is a member");
    self.becomeReplicate();
    self.recentActive = true;
    // I5: somewhere in the tail there may be a membership change; waiting for all of it spares a scan.
    this.pendingConfIndex = this.log.lastIndex();
    this.enter("StateLeader");
    // Only an entry of its own term lets a leader commit what came before it (Raft §5.4.2). Empty, so never refused.
    this.appendEntries([{ term: 0, index: 0, type: "EntryNormal", data: nothing }]);
  }

  /** Appends proposals to a leader's log; false if the uncommitted tail is too long for them. */
  appendEntries(proposals: readonly Entry[]): boolean {
    const size = payloadsSize(proposals);
    // Something always fits into an empty tail, and empty entries always fit.
    if (this.uncommittedSize > 0 && size > 0 && this.uncommittedSize + size > this.config.maxUncommittedEntriesSize) {
      return false;
    }
    this.uncommittedSize += size;
    let index = this.log.lastIndex();
    const entries = proposals.map(({ type, data }): Entry => ({ term: this.term, index: ++index, type, data }));
    this.log.append(entries);
    // I1: the leader's own copy is acknowledged like any other's, once it is durable.
    this.send(message("MsgAppResp", { to: this.id, index }));
    return true;
  }

  /** Committed entries with `size` payload bytes were applied. */
  reduceUncommittedSize(size: number): void {
    this.uncommittedSize = Math.max(0, this.uncommittedSize - size);
  }

  /** Starts an election if this node may win one. */
  hup(type: CampaignType): void {
    if (this.isLeader()) return;
    if (!this.promotable()) {
      this.emit({ kind: "election-refused", why: "not-promotable" });
    } else if (this.hasUnappliedConfChange()) {
      this.emit({ kind: "election-refused", why: "unapplied-conf-change" });
    } else {
      this.campaign(type);
    }
  }

  private hasUnappliedConfChange(): boolean {
    const { applied, committed } = this.log;
    return applied < committed && this.log.some(applied + 1, committed + 1, ({ type }) => type !== "EntryNormal");
  }

  campaign(type: CampaignType): void {
    const preVote = type === "CampaignPreElection";
    if (preVote) this.becomePreCandidate();
    else this.becomeCandidate();
    const term = preVote ? this.term + 1 : this.term;
    this.emit({ kind: "election-started", term, preVote, transfer: type === "CampaignTransfer" });
    const last = this.log.lastEntryId();
    for (const to of this.tracker.voters()) {
      if (to === this.id) {
        // I1: our own vote counts like any other's, once it is durable.
        this.send(message(preVote ? "MsgPreVoteResp" : "MsgVoteResp", { to, term }));
        continue;
      }
      const context = type === "CampaignTransfer" ? campaignTransfer : undefined;
      const { index, term: logTerm } = last;
      this.send(message(preVote ? "MsgPreVote" : "MsgVote", { to, term, index, logTerm, context }));
    }
  }

  /** Takes one message. Returns why a proposal was dropped, if it was. */
  step(m: Message): DropReason | undefined {
    if (m.term > this.term) {
      if (!this.admitHigherTerm(m)) return undefined;
    } else if (m.term !== 0 && m.term < this.term) {
      this.stepLowerTerm(m);
      return undefined;
    }
    switch (m.type) {
      case "MsgHup":
        this.hup(this.config.preVote ? "CampaignPreElection" : "CampaignElection");
        return undefined;
      case "MsgStorageAppendResp":
        if (m.index !== 0) this.log.unstable.stableTo(m.index, m.logTerm);
        if (m.snapshot !== undefined) this.appliedSnapshot(m.snapshot);
        return undefined;
      case "MsgStorageApplyResp":
        this.appliedEntries(m.entries);
        return undefined;
      case "MsgVote":
      case "MsgPreVote":
        this.decideVote(m);
        return undefined;
      default:
    }
    if (this.state === "StateLeader") return stepLeader(this, m);
    return this.state === "StateFollower" ? stepFollower(this, m) : stepCandidate(this, m);
  }

  /** Follows a higher term if the message shows one. False if the message is to be ignored. */
  private admitHigherTerm(m: Message): boolean {
    if (m.type === "MsgVote" || m.type === "MsgPreVote") {
      const remainingTicks = this.leaseTicks();
      if (remainingTicks > 0 && !isTransfer(m)) {
        this.emit({ kind: "vote-ignored", request: m, remainingTicks });
        return false;
      }
    }
    // A pre-vote is a question about a term that may never be; only its refusal shows one that is.
    if (m.type === "MsgPreVote" || (m.type === "MsgPreVoteResp" && !m.reject)) return true;
    this.emit({ kind: "higher-term-seen", message: m, term: this.term });
    const fromLeader = m.type === "MsgApp" || m.type === "MsgHeartbeat" || m.type === "MsgSnap";
    this.becomeFollower(m.term, fromLeader ? m.from : None);
    return true;
  }

  /** Ticks for which this node owes its leader not to vote for another. */
  private leaseTicks(): number {
    if (!this.config.checkQuorum) return 0;
    const heard = this.lead === None ? 0 : this.config.electionTicks - this.electionElapsed;
    return Math.max(heard, this.amnesiaTicks);
  }

  private stepLowerTerm(m: Message): void {
    const { checkQuorum, preVote } = this.config;
    if ((checkQuorum || preVote) && (m.type === "MsgHeartbeat" || m.type === "MsgApp")) {
      // Votes at our higher term are ignored by those who hear this leader; it must learn our term from us.
      this.send(message("MsgAppResp", { to: m.from }));
    } else if (m.type === "MsgPreVote") {
      // Silence could leave a candidate with a longer log at a lower term and us at a higher one stuck for ever.
      this.emit({ kind: "vote-decided", request: m, granted: false });
      this.send(message("MsgPreVoteResp", { to: m.from, term: this.term, reject: true }));
    } else if (m.type === "MsgStorageAppendResp" && m.snapshot !== undefined) {
      // Entries written under an older term may have been replaced since, so their stability is not taken from it;
      // a snapshot is committed state, whatever the term.
      this.appliedSnapshot(m.snapshot);
    }
  }

  /** Learners vote too when asked: a candidate may know of their promotion before they do. */
  private decideVote(m: Message): void {
    const canVote =
      this.vote === m.from || // again, the same
      (this.vote === None && this.lead === None) || // the first of this term
      (m.type === "MsgPreVote" && m.term > this.term); // a question about a later term
    const granted = canVote && this.log.isUpToDate({ term: m.logTerm, index: m.index });
    this.emit({ kind: "vote-decided", request: m, granted });
    const type = m.type === "MsgVote" ? "MsgVoteResp" : "MsgPreVoteResp";
    // A grant answers at the request's term, which for a pre-vote is not ours.
    this.send(message(type, { to: m.from, term: granted ? m.term : this.term, reject: !granted }));
    if (granted && m.type === "MsgVote") {
      this.electionElapsed = 0;
      this.vote = m.from; // I2
    }
  }

  private appliedEntries(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    this.appliedTo(last.index, entries);
    this.reduceUncommittedSize(payloadsSize(entries));
  }

  private appliedSnapshot({ metadata }: Snapshot): void {
    this.log.unstable.stableSnapshotTo(metadata.index);
    this.appliedTo(metadata.index, []);
  }

  private appliedTo(index: number, entries: readonly Entry[]): void {
    const applied = Math.max(index, this.log.applied);
    this.log.appliedTo(applied, entriesSize(entries));
    this.resumeSnapshot();
    if (this.tracker.config.autoLeave && applied >= this.pendingConfIndex && this.isLeader()) {
      // Dropped while a transfer is under way; then tried again with the next applied entry, or by the next leader.
      const leave = { term: 0, index: 0, type: "EntryConfChangeV2", data: nothing } as const;
      this.step(message("MsgProp", { from: this.id, entries: [leave] }));
    }
  }

  /**
   * Puts a snapshot off until what is being applied is applied. It brings its own configuration; a membership change
   * among the entries under way would otherwise be applied on top of one that contains it already.
   */
  deferSnapshot(m: Message): void {
    this.deferredSnapshot = m;
    this.log.applyingHeld = true;
  }

  private dropDeferredSnapshot(): void {
    this.deferredSnapshot = undefined;
    this.log.applyingHeld = false;
  }

  private resumeSnapshot(): void {
    const m = this.deferredSnapshot;
    if (m === undefined || this.log.applied < this.log.applying) return;
    this.dropDeferredSnapshot();
    this.step(m);
  }

  /** May become leader: a voter, and not one whose state is about to be replaced by a snapshot. */
  promotable(): boolean {
    const self = this.tracker.get(this.id);
    return self !== undefined && !self.isLearner && !this.log.hasPendingSnapshot();
  }

  /** Makes a committed membership change the active configuration. One that can't follow it changes nothing. */
  applyConfChange(change: AnyConfChange): ConfState {
    const tried = this.tryConfChange(change);
    if (typeof tried !== "string") return this.switchTo(tried);
    this.emit({ kind: "conf-change-ignored", why: tried });
    return this.tracker.confState();
  }

  /** What would follow the active configuration, or why nothing does. The same on each member that applied as much. */
  tryConfChange(change: AnyConfChange): Change | string {
    const v2 = asV2(change);
    const changer = new Changer(this.tracker, this.log.lastIndex());
    try {
      switch (transitionOf(v2)) {
        case "leave-joint":
          return changer.leaveJoint();
        case "enter-joint":
          return changer.enterJoint(v2.transition !== "ConfChangeTransitionJointExplicit", v2.changes);
        case "simple":
          return changer.simple(v2.changes);
      }
    } catch (error) {
      if (!RaftError.is(error, "RAFT_CONF_CHANGE_INVALID")) throw error;
      return error.message;
    }
  }

  private switchTo({ config, progress }: Change): ConfState {
    this.tracker.switchTo(config, progress);
    this.leaseUntilMs = Number.NEGATIVE_INFINITY;
    this.emit({ kind: "configuration-changed", configuration: formatConfiguration(config) });
    const self = progress.get(this.id);
    if (this.isLeader()) {
      if (self === undefined || self.isLearner) {
        if (this.config.stepDownOnRemoval) this.becomeFollower(this.term, None);
      } else {
        configurationChanged(this);
      }
    }
    return this.tracker.confState();
  }

  /** Takes a leader's snapshot in place of log and configuration. False if it brings nothing new. */
  restore(snapshot: Snapshot): boolean {
    const { index, term, confState } = snapshot.metadata;
    if (index <= this.log.committed) return false;
    assert(this.state === "StateFollower", "only a follower restores a snapshot");
    const { voters, learners, votersOutgoing } = confState;
    if (![voters, learners, votersOutgoing].some((ids) => ids.includes(this.id))) return false;
    if (this.log.matchTerm(index, term)) {
      // The log holds all of it already.
      this.log.commitTo(index);
      return false;
    }
    // Before anything is touched: a configuration that can't be is refused by what this throws.
    const tracker = new Tracker(this.config.maxInflightMsgs, this.config.maxInflightBytes);
    restoreConfiguration(tracker, index, confState);
    this.log.restore(snapshot);
    this.tracker = tracker;
    this.emit({
      kind: "configuration-changed",
      configuration: formatConfiguration(this.tracker.config),
    });
    return true;
  }

  committedInTerm(): boolean {
    return this.log.term(this.log.committed) === this.term;
  }
}

function isTransfer({ context }: Message): boolean {
  return context?.length === campaignTransfer.length && context.every((byte, at) => byte === campaignTransfer[at]);
}
