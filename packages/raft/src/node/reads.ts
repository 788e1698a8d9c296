/** Linearizable reads: those of a turn share one question to the leader, asked again when its answer fails to come. */
import type { Clock } from "@warren/std";

import type { ReadState } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { Leadership } from "./leadership.ts";

/** Reads that may be pending; what waits for their answers costs more than they do. */
const maxReads = 65_536;

interface Reader {
  readonly sinceMs: number;
  readonly resolve: (index: number) => void;
  readonly reject: (error: RaftError) => void;
}

interface Round {
  readonly askedMs: number;
  readonly readers: readonly Reader[];
}

interface Confirmed {
  readonly index: number;
  /** By this leader's lease alone, which may have run out when the answer leaves. */
  readonly byLease: boolean;
  readonly readers: readonly Reader[];
}

export interface ReadLimits {
  readonly origin: number;
  readonly boot: number;
  readonly timeoutMs: () => number;
  readonly retryMs: number;
}

export class Reads {
  private readonly clock: Clock;
  private readonly limits: ReadLimits;
  private waiting: Reader[] = [];
  /** Asked, by the number in their context. */
  private readonly asked = new Map<number, Round>();
  /** Answered, waiting for this index to be applied. */
  private confirmed: Confirmed[] = [];
  private round = 0;
  /** Readers that are not answered. */
  private count = 0;

  constructor(clock: Clock, limits: ReadLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  add(): Promise<number> {
    if (this.count >= maxReads) return Promise.reject(overloaded());
    this.count++;
    return new Promise((resolve, reject) => {
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          this.count--;
          then(value);
        };
      this.waiting.push({ sinceMs: this.clock.monotonic(), resolve: settle(resolve), reject: settle(reject) });
    });
  }

  /** Asks for what waits, if `ask` finds a leader. */
  issue(ask: (context: Uint8Array) => boolean): void {
    if (this.waiting.length === 0) return;
    const round = ++this.round;
    const context = Buffer.alloc(20);
    context.writeDoubleLE(this.limits.origin, 0);
    context.writeUInt32LE(this.limits.boot, 8);
    context.writeDoubleLE(round, 12);
    if (!ask(context)) return;
    this.asked.set(round, { askedMs: this.clock.monotonic(), readers: this.waiting });
    this.waiting = [];
  }

  confirm({ index, context, byLease = false }: ReadState): void {
    if (context.length !== 20) return;
    const view = new DataView(context.buffer, context.byteOffset, 20);
    if (view.getFloat64(0, true) !== this.limits.origin || view.getUint32(8, true) !== this.limits.boot) return;
    const round = view.getFloat64(12, true);
    const readers = this.asked.get(round)?.readers;
    this.asked.delete(round);
    if (readers !== undefined) this.confirmed.push({ index, byLease, readers });
  }

  /** Serves what `applied` covers. What was answered by a lease that is not valid any more is asked again. */
  serve(applied: number, leaseValid: () => boolean): void {
    if (this.confirmed.length === 0) return;
    const due = this.confirmed.filter(({ index }) => index <= applied);
    if (due.length === 0) return;
    this.confirmed = this.confirmed.filter(({ index }) => index > applied);
    const valid = leaseValid();
    for (const { readers, byLease } of due) {
      if (valid || !byLease) for (const { resolve } of readers) resolve(applied);
      else this.waiting.push(...readers);
    }
  }

  /** Rejects what the leader or term that is over was asked; what waits for a leader to ask goes on waiting. */
  leadershipChanged(now: Leadership): void {
    const readers = [...this.asked.values()].flatMap((round) => round.readers);
    this.asked.clear();
    for (const { reject } of readers) reject(leaderChanged(now));
  }

  /** Repeats lost requests, and rejects reads that waited too long. */
  expire(): void {
    const now = this.clock.monotonic();
    for (const [round, { askedMs, readers }] of this.asked) {
      if (now - askedMs < this.limits.retryMs) break;
      this.asked.delete(round);
      this.waiting.push(...readers);
    }
    const timeoutMs = this.limits.timeoutMs();
    const late = ({ sinceMs }: Reader): boolean => now - sinceMs >= timeoutMs;
    const giveUp = (readers: readonly Reader[]): Reader[] => {
      for (const { reject } of readers.filter(late)) reject(timedOut());
      return readers.filter((reader) => !late(reader));
    };
    this.waiting = giveUp(this.waiting);
    // Confirmed, but the state machine does not get there.
    this.confirmed = this.confirmed
      .map((one) => ({ ...one, readers: giveUp(one.readers) }))
      .filter(({ readers }) => readers.length > 0);
  }

  close(): void {
    const all = [this.waiting, ...[...this.asked.values(), ...this.confirmed].map(({ readers }) => readers)].flat();
    this.waiting = [];
    this.asked.clear();
    this.confirmed = [];
    for (const { reject } of all) reject(closed());
  }
}

function leaderChanged({ leader, address }: Leadership): RaftError {
  return new RaftError(
    { code: "RAFT_LEADER_CHANGED", leader, address },
    `the leader or its term changed before the read was confirmed; the leader is ${leader ?? "not known"} now; repeat it`,
  );
}

function overloaded(): RaftError {
  return new RaftError(
    { code: "RAFT_OVERLOADED" },
    `${maxReads} reads are pending here, and no more are taken; retry later`,
  );
}

function timedOut(): RaftError {
  return new RaftError(
    { code: "RAFT_READ_TIMEOUT" },
    "no leader confirmed the read in time: there is none, or a majority can't be reached; retry later",
  );
}

export function closed(): RaftError {
  return new RaftError({ code: "RAFT_CLOSED" }, "this raft node is closed; start another");
}
