/** Snapshots: when to take one, and those that are sent and received. */
import { assert, errorText, type Logger } from "@warren/std";

import type { ConfState, Message, NodeId, SnapshotStatus } from "../core/index.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Transport } from "../transport/transport.ts";
import type { Applier } from "./applier.ts";
import type { RaftMetrics } from "./metrics.ts";
import type { ResolvedOptions } from "./options.ts";

export interface SnapshotsParts {
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly applier: Applier;
  readonly options: ResolvedOptions;
  readonly metrics: RaftMetrics;
  readonly log: Logger;
  readonly confState: () => ConfState;
  readonly committed: () => number;
  /** What became of one that was sent. */
  readonly report: (to: NodeId, status: SnapshotStatus) => void;
  readonly fail: (error: unknown) => void;
}

export class Snapshots {
  private readonly parts: SnapshotsParts;
  private taking: Promise<void> | undefined;
  private closed = false;

  constructor(parts: SnapshotsParts) {
    this.parts = parts;
  }

  /** No other begins; resolves when the one in progress is done. */
  async close(): Promise<void> {
    this.closed = true;
    await this.taking;
  }

  /** Takes one if it is due; called when everything up to `index` is applied and nothing is being applied. */
  considerAt(index: number): void {
    if (this.taking === undefined && !this.closed && this.isDue(index)) this.take();
  }

  /** After enough entries; and when the newest one does not name every member, as one that it does not name can't use it. */
  private isDue(index: number): boolean {
    const { storage, options, confState } = this.parts;
    const newest = storage.snapshots()[0];
    if (index - (newest?.index ?? 0) >= options.snapshotEntries) return true;
    const named = (id: NodeId): boolean =>
      newest !== undefined && (newest.confState.voters.includes(id) || newest.confState.learners.includes(id));
    const { voters, learners } = confState();
    return !voters.every(named) || !learners.every(named);
  }

  private take(): void {
    const { storage, applier, options, metrics, fail } = this.parts;
    const { metadata, chunks } = applier.image();
    this.taking = storage
      .saveSnapshot(metadata, chunks)
      .then(() => storage.compact(Math.max(0, metadata.index - options.trailingEntries)))
      .then(() => metrics.snapshots.add(), fail)
      .finally(() => {
        this.taking = undefined;
        if (!applier.busy) this.considerAt(applier.index);
      });
  }

  send(m: Message): void {
    const { storage, transport, log, report } = this.parts;
    assert(m.snapshot !== undefined, "a MsgSnap names a snapshot");
    const { index } = m.snapshot.metadata;
    log.info("sending snapshot", { to: m.to, index });
    transport.sendSnapshot(m, storage.openSnapshot(index, { reuse: true })).then(
      () => report(m.to, "finish"),
      (error: unknown) => {
        log.warn("snapshot was not sent", { to: m.to, index, error: errorText(error) });
        report(m.to, "failure");
      },
    );
  }

  /** Stores what a leader sends, if it is news. */
  async receive(m: Message, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { storage, committed } = this.parts;
    assert(m.snapshot !== undefined, "a MsgSnap announces a snapshot");
    const { metadata } = m.snapshot;
    if (metadata.index > committed()) await storage.saveSnapshot(metadata, chunks);
    else for await (const chunk of chunks) void chunk;
  }
}
