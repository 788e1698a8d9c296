/**
 * Sends a snapshot's bytes over a call whose other end replies how many it has stored.
 *
 * Only so much is on its way that a reply takes little longer than on an idle link: a queue in front of a slow link would
 * hold up the entries and heartbeats that share it. What was stored before a cut is not sent again.
 */
import { delay, type Clock } from "@warren/std";

import { RaftError } from "../errors.ts";
import type { Call } from "./grpc-connection.ts";

/** What a reply may take beyond the quickest one, ms. */
const queueMs = 100;
const leastWindowBytes = 1_024;
const mostWindowBytes = 2 * 1024 * 1024;
/** Bytes of a frame at the most: what is read of the file at once. */
const mostPieceBytes = 32 * 1024;
/** A transfer without a reply for this long is aborted, ms. TCP repeats lost packets within seconds. */
const idleMs = 30_000;

export interface SendOptions {
  readonly clock: Clock;
  /** A cap on what is sent, bytes a second. */
  readonly bytesPerSecond: number;
}

interface Flight {
  readonly end: number;
  readonly sentMs: number;
}

export class SnapshotSender {
  private readonly call: Call;
  private readonly options: SendOptions;
  private readonly startMs: number;
  private stored: number | undefined;
  private sent = 0;
  private paced = 0;
  private window = 2 * leastWindowBytes;
  private quickestMs = Number.POSITIVE_INFINITY;
  private flights: Flight[] = [];
  private replied = Promise.withResolvers<void>();

  constructor(call: Call, options: SendOptions) {
    this.call = call;
    this.options = options;
    this.startMs = options.clock.monotonic();
    call.onReply((body) => this.take(body));
  }

  /** Sends what the other end lacks of `chunks`, which begin at the snapshot's first byte; resolves when it has all. */
  async send(chunks: AsyncIterable<Uint8Array>, bytes: number): Promise<void> {
    while (this.stored === undefined) await this.reply();
    const from = this.stored;
    this.sent = from;
    let at = 0;
    for await (const chunk of chunks) {
      // Read all the same: the reader checks the whole.
      const skip = Math.min(chunk.length, Math.max(0, from - at));
      at += chunk.length;
      if (skip < chunk.length) await this.sendChunk(chunk.subarray(skip));
    }
    while (this.stored < bytes) await this.reply();
  }

  private async sendChunk(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      while (this.sent - (this.stored ?? 0) >= this.window) await this.reply();
      const room = Math.max(leastWindowBytes, Math.floor(this.window / 2));
      const piece = chunk.subarray(at, at + Math.min(room, mostPieceBytes));
      await this.pace(piece.length);
      at += piece.length;
      this.sent += piece.length;
      this.flights.push({ end: this.sent, sentMs: this.options.clock.monotonic() });
      // A copy: the chunk's memory is used again, and what was written may still wait to be encrypted.
      this.call.write(Uint8Array.from(piece), () => undefined);
    }
  }

  private async pace(bytes: number): Promise<void> {
    const { clock, bytesPerSecond } = this.options;
    const dueMs = this.startMs + (this.paced / bytesPerSecond) * 1_000;
    this.paced += bytes;
    const leftMs = dueMs - clock.monotonic();
    if (leftMs > 1) await this.orEnd(delay(clock, leftMs));
  }

  /** Waits for the next reply. */
  private async reply(): Promise<void> {
    const late = Promise.withResolvers<never>();
    const timer = this.options.clock.setTimeout(() => {
      const text = `the receiver of a snapshot stored nothing for ${idleMs / 1_000} s`;
      late.reject(new RaftError({ code: "RAFT_WIRE_INVALID" }, text));
    }, idleMs);
    try {
      await this.orEnd(Promise.race([this.replied.promise, late.promise]));
    } finally {
      timer.cancel();
    }
  }

  /** The call may end while something is waited for. */
  private async orEnd(work: Promise<void>): Promise<void> {
    const ended = this.call.ended.then(() => {
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "the call for a snapshot ended before it was whole");
    });
    await Promise.race([work, ended]);
  }

  private take(body: Buffer): void {
    if (body.length !== 8) return;
    this.stored = body.readDoubleLE();
    const now = this.options.clock.monotonic();
    for (let flight = this.flights[0]; flight !== undefined && flight.end <= this.stored; flight = this.flights[0]) {
      this.flights.shift();
      this.adapt(now - flight.sentMs);
    }
    const { replied } = this;
    this.replied = Promise.withResolvers();
    replied.resolve();
  }

  private adapt(tookMs: number): void {
    this.quickestMs = Math.min(this.quickestMs, tookMs);
    if (tookMs <= this.quickestMs + queueMs) this.window = Math.min(mostWindowBytes, this.window * 1.5);
    else this.window = Math.max(leastWindowBytes, this.window / 2);
  }
}

/** How many bytes of a snapshot are stored, as a reply. */
export function storedReply(bytes: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeDoubleLE(bytes);
  return body;
}
