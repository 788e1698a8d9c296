/**
 * Which small writes are made on the calling thread.
 *
 * A write in the thread pool wakes a thread for the write and this one for its end. On a quick disk these two wakes are
 * most of what a lone write takes, and all of its tail where other programs want the processors. A write on this thread
 * has neither, but nothing else happens meanwhile: so only lone writes are made here, which are all that there is to do,
 * and only while the disk is quick. One that meets a stall of the disk stops the process for as long; those after it go
 * to the pool.
 */

/** A write of a quick disk takes no longer, ms. */
const quickMs = 2;
/**
 * At least this share of the newest writes is quick. No more is asked: on a busy machine many are late by the time that
 * this thread waits for a processor, in the pool too.
 */
const quickShare = 0.25;
/** Of how many writes the share is, about. */
const weight = 16;
/** One write that takes so long is a stall, ms. */
const stallMs = 100;
/** How long a disk that was slow is not tried again, at first and at most, ms. */
const [firstPauseMs, longestPauseMs] = [1_000, 64_000];
/** Where the share begins: three slow writes are enough, and one is not. */
const firstShare = 0.3;

export class InlineWrites {
  private readonly nowMs: () => number;
  private share = firstShare;
  private pauseMs = firstPauseMs;
  /** When the disk is tried again, while it is slow. */
  private resumeMs: number | undefined;

  constructor(nowMs: () => number = () => performance.now()) {
    this.nowMs = nowMs;
  }

  /** Whether a lone write is made on this thread. */
  allows(): boolean {
    if (this.resumeMs === undefined) return true;
    if (this.nowMs() < this.resumeMs) return false;
    this.resumeMs = undefined;
    this.share = firstShare;
    return true;
  }

  /** Makes a write on this thread. */
  run(write: () => void): void {
    const sinceMs = this.nowMs();
    write();
    const now = this.nowMs();
    this.share += ((now - sinceMs <= quickMs ? 1 : 0) - this.share) / weight;
    if (this.share >= quickShare && now - sinceMs < stallMs) {
      if (this.share > 2 * quickShare) this.pauseMs = firstPauseMs;
      return;
    }
    this.resumeMs = now + this.pauseMs;
    this.pauseMs = Math.min(2 * this.pauseMs, longestPauseMs);
  }
}
