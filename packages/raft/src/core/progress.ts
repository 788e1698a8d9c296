/**
 * What a leader knows of one follower's log.
 *
 * P1: `0 ≤ match < next`. Entries in `(match, next)` are in flight; nothing at or below `match` is ever sent again.
 */
import { Inflights } from "./inflights.ts";

/**
 * Probe: the follower's end is not known; one append per heartbeat.
 * Replicate: appends are pipelined, as far as `inflights` allows.
 * Snapshot: a snapshot is on its way; no appends.
 */
export type ProgressState = "StateProbe" | "StateReplicate" | "StateSnapshot";

export class Progress {
  /** The follower's log is known to equal the leader's up to here. */
  match: number;
  /** The next entry to send. */
  next: number;
  /** The highest commit index that was sent and may have arrived. */
  private sentCommitIndex = 0;
  state: ProgressState = "StateProbe";
  /** In `StateSnapshot`, the index of the snapshot that was sent. */
  pendingSnapshot = 0;
  /** Heard from since the last check of the quorum. */
  recentActive: boolean;
  /** No more appends until a response to an append or a heartbeat comes. */
  msgAppFlowPaused = false;
  inflights: Inflights;
  isLearner: boolean;

  constructor(match: number, next: number, inflights: Inflights, isLearner: boolean, recentActive: boolean) {
    this.match = match;
    this.next = next;
    this.inflights = inflights;
    this.isLearner = isLearner;
    this.recentActive = recentActive;
  }

  /** A copy that shares the window of in-flight messages, for building a configuration that may be refused. */
  copy(): Progress {
    const copy = new Progress(this.match, this.next, this.inflights, this.isLearner, this.recentActive);
    copy.sentCommitIndex = this.sentCommitIndex;
    copy.state = this.state;
    copy.pendingSnapshot = this.pendingSnapshot;
    copy.msgAppFlowPaused = this.msgAppFlowPaused;
    return copy;
  }

  /** A copy that nothing changes later. */
  clone(): Progress {
    const copy = this.copy();
    copy.inflights = this.inflights.clone();
    return copy;
  }

  becomeProbe(): void {
    // A snapshot that arrived is where to go on from; otherwise what is known to match.
    const arrived = this.state === "StateSnapshot" ? this.pendingSnapshot : 0;
    this.enter("StateProbe");
    this.next = Math.max(this.match, arrived) + 1;
    this.lowerSentCommit();
  }

  becomeReplicate(): void {
    this.enter("StateReplicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.enter("StateSnapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommitIndex = index;
  }

  /** An append of `entries` entries with `bytes` of payload leaves. */
  sentEntries(entries: number, bytes: number): void {
    if (this.state === "StateReplicate") {
      if (entries > 0) {
        this.next += entries;
        this.inflights.add(this.next - 1, bytes);
      }
      // A full window makes this message a probe: the flow stops until the follower answers.
      this.msgAppFlowPaused = this.inflights.full();
    } else if (this.state === "StateProbe") {
      if (entries > 0) this.msgAppFlowPaused = true;
    } else {
      throw new Error(`append sent in ${this.state}`);
    }
  }

  /** Whether sending commit index `commit` can still raise the follower's, which stops at `next − 1`. */
  canBumpCommit(commit: number): boolean {
    return commit > this.sentCommitIndex && this.sentCommitIndex < this.next - 1;
  }

  sentCommit(commit: number): void {
    this.sentCommitIndex = commit;
  }

  /** The follower acknowledged `index`. False if that was known. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1); // P1
    this.msgAppFlowPaused = false;
    return true;
  }

  /** The follower rejected an append after `rejected` and hints that it may match at `hint`. False if that is stale. */
  maybeDecreaseTo(rejected: number, hint: number): boolean {
    if (this.state === "StateReplicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.lowerSentCommit();
      return true;
    }
    // One probe is out at a time, so a rejection of anything else is old.
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1); // P1
    this.lowerSentCommit();
    this.msgAppFlowPaused = false;
    return true;
  }

  isPaused(): boolean {
    return this.state === "StateSnapshot" || this.msgAppFlowPaused;
  }

  toString(): string {
    let text = `${this.state} match=${this.match} next=${this.next}`;
    if (this.isLearner) text += " learner";
    if (this.isPaused()) text += " paused";
    if (this.pendingSnapshot > 0) text += ` pendingSnap=${this.pendingSnapshot}`;
    if (!this.recentActive) text += " inactive";
    if (this.inflights.count > 0) text += ` inflight=${this.inflights.count}${this.inflights.full() ? "[full]" : ""}`;
    return text;
  }

  private enter(state: ProgressState): void {
    this.msgAppFlowPaused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.reset();
  }

  /** What was sent beyond `next − 1` will not have been applied. */
  private lowerSentCommit(): void {
    this.sentCommitIndex = Math.min(this.sentCommitIndex, this.next - 1);
  }
}
