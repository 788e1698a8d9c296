/** Proposals of this member: those waiting for the turn to end, and those waiting for their result. */
import type { Clock } from "@warren/std";

import { RaftError, type DropReason } from "../errors.ts";
import { encodeProposal, type Proposal, type Ticket } from "./envelope.ts";
import type { RaftMetrics } from "./metrics.ts";
import type { Result } from "./state-machine.ts";

export interface Applied {
  readonly index: number;
  readonly result: Result;
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
  readonly timeoutMs: number;
}

export class Proposals {
  private readonly clock: Clock;
  private readonly limits: ProposalLimits;
  private readonly metrics: RaftMetrics;
  /** In the order of proposal, so the oldest come first. */
  private readonly waiting = new Map<number, Waiting>();
  private queue: { readonly sequence: number; readonly data: Uint8Array }[] = [];
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
  add(proposal: Proposal): Promise<Applied> {
    const { ticket, applied } = this.ticket("data" in proposal ? proposal.data.length : 0);
    if (ticket !== undefined) this.queue.push({ sequence: ticket.sequence, data: encodeProposal(ticket, proposal) });
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
  drain(): { readonly sequence: number; readonly data: Uint8Array }[] {
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

  /** Gives up on those that waited too long. */
  expire(): void {
    const deadline = this.clock.monotonic() - this.limits.timeoutMs;
    for (const [sequence, { sinceMs }] of this.waiting) {
      if (sinceMs > deadline) break;
      this.take(sequence)?.reject(unknown("no result came in time"));
    }
    this.metrics.pendingBytes.set(this.bytes);
  }

  /** The node ends: whether what is pending will be applied, nobody here will see. */
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

function unknown(why: string): RaftError {
  return new RaftError(
    { code: "RAFT_OUTCOME_UNKNOWN" },
    `${why}: the proposal may be applied or not; read before you retry, or use a session`,
  );
}
