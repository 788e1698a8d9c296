/** The append thread: one synced write in flight; all that comes meanwhile is the next one. */
import type { Clock } from "@warren/std";

import type { Entry, HardState, Message, SnapshotMetadata } from "../core/index.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { RaftMetrics } from "./metrics.ts";

export interface WriterHooks {
  /** Takes the responses of writes that are durable. */
  deliver(responses: readonly Message[]): void;
  /** A leader's snapshot is the log now: the state machine follows. */
  restore(metadata: SnapshotMetadata): Promise<void>;
  fail(error: unknown): void;
}

interface Batch {
  readonly hardState: HardState | undefined;
  readonly snapshot: SnapshotMetadata | undefined;
  readonly entries: readonly Entry[];
  readonly responses: readonly Message[];
}

export class Writer {
  private readonly storage: RaftStorage;
  private readonly clock: Clock;
  private readonly metrics: RaftMetrics;
  private readonly hooks: WriterHooks;
  private queue: Message[] = [];
  private running: Promise<void> | undefined;
  private sinceMs: number | undefined;

  constructor(storage: RaftStorage, clock: Clock, metrics: RaftMetrics, hooks: WriterHooks) {
    this.storage = storage;
    this.clock = clock;
    this.metrics = metrics;
    this.hooks = hooks;
  }

  /** Takes what is not worth a write of its own: it goes with the next. */
  hold(m: Message): void {
    this.queue.push(m);
  }

  /** Takes a write; with `defer` it begins, if none is in flight, when that calls back. */
  push(m: Message, defer?: (begin: () => void) => void): void {
    this.hold(m);
    this.running ??= defer === undefined ? this.run() : new Promise<void>(defer).then(() => this.run());
  }

  /** How long the write in flight has taken, ms; 0 if none is. */
  busyMs(): number {
    return this.sinceMs === undefined ? 0 : this.clock.monotonic() - this.sinceMs;
  }

  /** Resolves when all that it took is written. */
  async idle(): Promise<void> {
    await (this.running ?? this.run());
  }

  private async run(): Promise<void> {
    try {
      while (this.queue.length > 0) await this.writeNext();
    } catch (error) {
      this.queue = [];
      this.hooks.fail(error);
    } finally {
      this.running = undefined;
      this.sinceMs = undefined;
    }
  }

  private async writeNext(): Promise<void> {
    const { batch, rest } = takeBatch(this.queue);
    this.queue = rest;
    this.sinceMs = this.clock.monotonic();
    if (batch.snapshot !== undefined) {
      await this.storage.installSnapshot(batch.snapshot, batch.hardState);
      this.sinceMs = undefined;
      await this.hooks.restore(batch.snapshot);
      this.sinceMs = this.clock.monotonic();
    }
    if (batch.entries.length > 0 || batch.hardState !== undefined) {
      await this.storage.write({ hardState: batch.hardState, entries: batch.entries });
    }
    if (batch.entries.length > 0) {
      this.metrics.writes.add();
      this.metrics.entriesWritten.add(batch.entries.length);
      this.metrics.writeSeconds.observe(this.busyMs() / 1_000);
    }
    this.sinceMs = undefined;
    if (batch.responses.length > 0) this.hooks.deliver(batch.responses);
  }
}

/** All that waits as one write; a snapshot begins a write of its own. */
function takeBatch(queue: readonly Message[]): { batch: Batch; rest: Message[] } {
  let hardState: HardState | undefined;
  const entries: Entry[] = [];
  const responses: Message[] = [];
  let taken = 0;
  for (const m of queue) {
    if (m.snapshot !== undefined && taken > 0) break;
    taken++;
    if (m.term !== 0) hardState = { term: m.term, vote: m.vote, commit: m.commit };
    const first = m.entries[0];
    const base = entries[0];
    // A later write replaces what an earlier one appends from its first index on.
    if (first !== undefined && base !== undefined)
      entries.length = Math.max(0, Math.min(entries.length, first.index - base.index));
    for (const entry of m.entries) entries.push(entry);
    for (const response of m.responses) responses.push(response);
  }
  const snapshot = queue[0]?.snapshot?.metadata;
  return { batch: { hardState, snapshot, entries, responses }, rest: queue.slice(taken) };
}
