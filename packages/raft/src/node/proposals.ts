/** Proposals of this member: those waiting for the turn to end, and those waiting for their result. */
import type { Clock } from "@warren/std";

import { RaftError, type DropReason } from "../errors.ts";
import { encodeProposal, type Proposal, type Ticket } from "./envelope.ts";
import type { Leadership } from "./leadership.ts";
import type { RaftMetrics } from "./metrics.ts";
import type { Result } from "./state-machine.ts";

export interface ProposeOptions {
  /** Propose only if this member leads in exactly this term; else nothing is proposed. */
  readonly term?: number | undefined;
}

export interface Applied {
  readonly index: number;
  readonly result: Result;
}

/** What a proposal costs beside its bytes, so that many small ones are bounded too. */
const overheadBytes = 128;

/** A proposal for the end of the turn. */
export interface Queued extends ProposeOptions {
  readonly sequence: number;
  readonly data: Uint8Array;
}

interface Waiting {
  readonly bytes: number;
  readonly sinceMs: number;
  readonly resolve: (applied: Applied) => void;
  readonly reject: (error: RaftError) => void;
}

export interface ProposalLimits {
  readonly origin: number;
  /** Drawn at each start, so that answers to an earlier run's proposals are not taken for ours. */
  readonly boot: number;
  readonly maxPendingBytes: number;
  readonly maxProposalBytes: number;
  readonly timeoutMs: () => number;
}

export class Proposals {
  private readonly clock: Clock;
  private readonly limits: ProposalLimits;
  private readonly metrics: RaftMetrics;
  /** In the order of proposal, so the oldest come first. */
  private readonly waiting = new Map<number, Waiting>();
  private queue: Queued[] = [];
  private sequence = 0;
  private bytes = 0;
  private idlers: (() => void)[] = [];

  constructor(clock: Clock, limits: ProposalLimits, metrics: RaftMetrics) {
    this.clock = clock;
    this.limits = limits;
    this.metrics = metrics;
  }

  /** How many are pending. */
  get count(): number {
    return this.waiting.size;
  }

  /** Resolves once none is pending. */
  idle(): Promise<void> {
    return this.waiting.size === 0 ? Promise.resolve() : new Promise((resolve) => void this.idlers.push(resolve));
  }

  /** Queues a proposal for the end of the turn. Rejects `RAFT_PROPOSAL_DROPPED`, `RAFT_OUTCOME_UNKNOWN`. */
  add(proposal: Proposal, { term }: ProposeOptions = {}): Promise<Applied> {
    const bytes = "data" in proposal ? proposal.data.length : 0;
    if (bytes > this.limits.maxProposalBytes) return Promise.reject(tooLarge(bytes, this.limits.maxProposalBytes));
    const { ticket, applied } = this.ticket(bytes + overheadBytes);
    if (ticket !== undefined) {
      this.queue.push({ sequence: ticket.sequence, data: encodeProposal(ticket, proposal), term });
    }
    return applied;
  }

  /** A ticket for an entry that is proposed by other means; `undefined` if too much is pending. */
  ticket(bytes: number): { readonly ticket: Ticket | undefined; readonly applied: Promise<Applied> } {
    if (this.bytes > 0 && this.bytes + bytes > this.limits.maxPendingBytes) {
      this.metrics.dropped.add();
      return { ticket: undefined, applied: Promise.reject(dropped("pending-bytes")) };
    }
    this.metrics.proposals.add();
    this.bytes += bytes;
    this.sequence = (this.sequence + 1) >>> 0;
    const { sequence } = this;
    const { promise, resolve, reject } = Promise.withResolvers<Applied>();
    this.waiting.set(sequence, { bytes, sinceMs: this.clock.monotonic(), resolve, reject });
    const { origin, boot } = this.limits;
    return { ticket: { origin, boot, sequence }, applied: promise };
  }

  /** What was queued in this turn. */
  drain(): Queued[] {
    const { queue } = this;
    this.queue = [];
    return queue;
  }

  settle({ origin, boot, sequence }: Ticket, outcome: Applied | RaftError): void {
    if (origin !== this.limits.origin || boot !== this.limits.boot) return;
    const waiting = this.take(sequence);
    if (waiting === undefined) return;
    if (outcome instanceof RaftError) {
      waiting.reject(outcome);
    } else {
      this.metrics.commitSeconds.observe((this.clock.monotonic() - waiting.sinceMs) / 1_000);
      waiting.resolve(outcome);
    }
  }

  refuse(sequence: number, error: RaftError): void {
    this.metrics.dropped.add();
    this.take(sequence)?.reject(error);
  }

  /**
   * Rejects what was handed to a leader or term that is over: its entries may be in the log or not, and nobody reports
   * it. What still waits for the end of the turn stays.
   */
  leadershipChanged(now: Leadership): void {
    if (this.waiting.size === this.queue.length) return;
    const queued = new Set(this.queue.map(({ sequence }) => sequence));
    for (const sequence of this.waiting.keys()) {
      if (!queued.has(sequence)) this.take(sequence)?.reject(unknown("the leader or its term changed", now));
    }
  }

  /** Gives up on those that waited too long. */
  expire(): void {
    const deadline = this.clock.monotonic() - this.limits.timeoutMs();
    for (const [sequence, { sinceMs }] of this.waiting) {
      if (sinceMs > deadline) break;
      this.take(sequence)?.reject(unknown("no result came in time"));
    }
    this.metrics.pendingBytes.set(this.bytes);
  }

  /** The node ends: it can't know whether pending proposals will be applied. */
  close(): void {
    for (const sequence of this.waiting.keys()) this.take(sequence)?.reject(unknown("the node closed"));
  }

  private take(sequence: number): Waiting | undefined {
    const waiting = this.waiting.get(sequence);
    if (waiting === undefined) return undefined;
    this.waiting.delete(sequence);
    this.bytes -= waiting.bytes;
    if (this.waiting.size === 0) for (const resolve of this.idlers.splice(0)) resolve();
    return waiting;
  }
}

export function dropped(reason: DropReason): RaftError {
  return new RaftError(
    { code: "RAFT_PROPOSAL_DROPPED", reason },
    `proposal dropped: ${reason}; it is not in the log, retry later`,
  );
}

function tooLarge(bytes: number, maxBytes: number): RaftError {
  return new RaftError(
    { code: "RAFT_PROPOSAL_TOO_LARGE", bytes, maxBytes },
    `the proposal has ${bytes} bytes and ${maxBytes} are the most (maxProposalBytes); split it, or keep its bulk elsewhere`,
  );
}

/** The proposal or change is not in the log. */
export function notLeader({ leader, address }: Leadership, what = "proposals are taken by the leader"): RaftError {
  const where =
    leader === undefined
      ? "not known now; retry"
      : `member ${leader} at ${address ?? "an address not known here"}; ask it`;
  return new RaftError({ code: "RAFT_NOT_LEADER", leader, address }, `${what}, which is ${where}`);
}

/** The proposal was for a term in which this member does not lead; nothing was proposed. */
export function termOver(wanted: number, { leader, address, term, isLeader }: Leadership): RaftError {
  const now = isLeader
    ? `it leads term ${term}`
    : `it does not lead, ${leader === undefined ? "and no leader is known" : `member ${leader} does`}`;
  return new RaftError(
    { code: "RAFT_NOT_LEADER", leader, address },
    `the proposal is for term ${wanted} of this member, and ${now}; compute it again on the present state`,
  );
}

function unknown(why: string, { leader, address }: Partial<Leadership> = {}): RaftError {
  return new RaftError(
    { code: "RAFT_OUTCOME_UNKNOWN", leader, address },
    `${why}: the proposal may be applied or not; read before you retry, or use a session`,
  );
}
