/**
 * Reads that wait for proof that this leader still leads.
 *
 * Every broadcast of heartbeats is a *round*, numbered within the leader's term. A follower that answers round `r` had
 * no newer leader then; so a quorum of answers to `r` confirms every read that came before `r` left.
 *
 * R1: a read joins a round only while none of the round's heartbeats has been handed out; so reads of one turn share
 * one broadcast. R2: the number is the leader's own, so that equal user contexts are never confused.
 */
import { jointCommitted, type AckedIndexer, type JointConfig } from "./quorum.ts";
import type { Message, NodeId } from "./types.ts";

/** Rounds without an answer from a quorum whose beginning is known: far more than an election timeout has. */
const maxStarts = 1_024;

export interface PendingRead {
  readonly request: Message;
  /** The commit index when the request came. */
  readonly index: number;
  readonly round: number;
}

export class ReadOnly implements AckedIndexer {
  private round = 0;
  /** Whether the heartbeats of `round` have not been handed out yet. */
  private open = false;
  private pending: PendingRead[] = [];
  private readonly acks = new Map<NodeId, number>();
  private confirmedRound = 0;
  /** When each round that is not confirmed yet began. */
  private starts: { round: number; atMs: number }[] = [];

  /** Begins a round; its number, as heartbeats carry it. */
  startRound(self: NodeId, nowMs: number | undefined): Uint8Array {
    this.round++;
    this.open = true;
    this.acks.set(self, this.round);
    if (nowMs !== undefined) this.starts.push({ round: this.round, atMs: nowMs });
    // Without the oldest a lease may be confirmed a little later, never longer.
    if (this.starts.length > maxStarts) this.starts.shift();
    return encodeRound(this.round);
  }

  /** Adds a read to the round that is open. False if none is: begin one first. */
  join(request: Message, index: number): boolean {
    if (!this.open) return false; // R1
    this.pending.push({ request, index, round: this.round });
    return true;
  }

  /** The open round's heartbeats were handed out. */
  closeRound(): void {
    this.open = false;
  }

  recordAck(from: NodeId, context: Uint8Array): void {
    this.acks.set(from, Math.max(this.acks.get(from) ?? 0, decodeRound(context)));
  }

  ackedIndex(voter: NodeId): number | undefined {
    return this.acks.get(voter);
  }

  /** Takes out the reads that a quorum has confirmed, and when the newest confirmed round began if it is news. */
  advance(config: JointConfig): { reads: PendingRead[]; startedMs: number | undefined } {
    const confirmed = Math.min(jointCommitted(config, this), this.round);
    if (confirmed <= this.confirmedRound) return { reads: [], startedMs: undefined };
    this.confirmedRound = confirmed;
    const startedMs = this.starts.findLast(({ round }) => round <= confirmed)?.atMs;
    this.starts = this.starts.filter(({ round }) => round > confirmed);
    const cut = this.pending.findIndex(({ round }) => round > confirmed);
    const reads = this.pending.splice(0, cut < 0 ? this.pending.length : cut);
    return { reads, startedMs };
  }
}

function encodeRound(round: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, round % 2 ** 32, true);
  view.setUint32(4, Math.floor(round / 2 ** 32), true);
  return bytes;
}

function decodeRound(bytes: Uint8Array): number {
  if (bytes.length !== 8) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
}
