/** Snapshots: when to take one, and those that are sent and received. */
import { assert, errorText, type Logger } from "@warren/std";

import type { ConfState, Message, NodeId, SnapshotMetadata, SnapshotStatus } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { RaftStorage, SnapshotReader, SnapshotSource } from "../storage/index.ts";
import type { Transport } from "../transport/transport.ts";
import type { Applier } from "./applier.ts";
import type { RaftMetrics } from "./metrics.ts";
import type { LiveOptions } from "./options.ts";
import { closed } from "./reads.ts";

export interface SnapshotsParts {
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly applier: Applier;
  readonly options: LiveOptions;
  readonly metrics: RaftMetrics;
  readonly log: Logger;
  readonly confState: () => ConfState;
  readonly committed: () => number;
  /** What became of one that was sent. */
  readonly report: (to: NodeId, status: SnapshotStatus) => void;
  readonly fail: (error: unknown) => void;
}

interface Wanted {
  readonly resolve: (metadata: SnapshotMetadata) => void;
  readonly reject: (error: unknown) => void;
}

export class Snapshots {
  private readonly parts: SnapshotsParts;
  private taking: Promise<void> | undefined;
  private readonly sending = new Set<Promise<void>>();
  /** Asked for though none is due. */
  private wanted: Wanted[] = [];
  private isClosed = false;

  constructor(parts: SnapshotsParts) {
    this.parts = parts;
  }

  /** No other begins; resolves when what is in progress has stopped. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const { reject } of this.wanted.splice(0)) reject(closed());
    await this.taking;
    await Promise.all(this.sending);
  }

  /** Takes one as soon as nothing is being applied. */
  takeNow(): Promise<SnapshotMetadata> {
    const { applier } = this.parts;
    const taken = new Promise<SnapshotMetadata>((resolve, reject) => this.wanted.push({ resolve, reject }));
    if (!applier.busy && !applier.restoring) this.considerAt(applier.index);
    return taken;
  }

  /** Takes one if it is due; called when everything up to `index` is applied and nothing is being applied. */
  considerAt(index: number): void {
    if (this.taking === undefined && !this.isClosed && (this.wanted.length > 0 || this.isDue(index))) this.take();
  }

  /** After enough entries; and when the newest one does not name every member, as one that it does not name can't use it. */
  private isDue(index: number): boolean {
    const { storage, options, confState } = this.parts;
    const newest = storage.snapshots()[0];
    if (index - (newest?.index ?? 0) >= options.current.snapshotEntries) return true;
    const named = (id: NodeId): boolean =>
      newest !== undefined && (newest.confState.voters.includes(id) || newest.confState.learners.includes(id));
    const { voters, learners } = confState();
    return !voters.every(named) || !learners.every(named);
  }

  private take(): void {
    const { applier } = this.parts;
    const wanted = this.wanted.splice(0);
    const { metadata, chunks } = applier.image();
    this.taking = this.save(metadata, chunks)
      .then(
        () => wanted.forEach(({ resolve }) => resolve(metadata)),
        (error: unknown) => {
          for (const { reject } of wanted) reject(error);
          if (!this.isClosed) this.parts.fail(error);
        },
      )
      .finally(() => {
        this.taking = undefined;
        if (!applier.busy && !applier.restoring) this.considerAt(applier.index);
      });
  }

  private async save(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { storage, options, metrics } = this.parts;
    await storage.saveSnapshot(metadata, this.whileOpen(chunks));
    await storage.compact(Math.max(0, metadata.index - options.current.trailingEntries));
    metrics.snapshots.add();
  }

  /** The same chunks, until this member ends: a state of gigabytes is not written to its end then. */
  private async *whileOpen(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      if (this.isClosed) throw closed();
      yield chunk;
    }
  }

  /**
   * Drops the log up to `upTo`, by default all that the newest snapshot holds; the first index that is left.
   * @throws RaftError `RAFT_ARGUMENT_INVALID` if no snapshot holds what would be dropped
   */
  async compact(upTo?: number): Promise<number> {
    const { storage, applier } = this.parts;
    // One that the log has not reached waits to be installed.
    const newest = storage.snapshots().find(({ index }) => index <= applier.index)?.index ?? 0;
    const index = upTo ?? newest;
    if (!Number.isSafeInteger(index) || index < 0 || index > newest) {
      const text = `the log can't be compacted up to ${String(index)}: the newest snapshot holds it up to ${newest}; take one first`;
      throw new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "upTo" }, text);
    }
    await storage.compact(index);
    return storage.firstIndex();
  }

  /** A snapshot of what is applied now, with its beginning read: it can be read to its end though newer ones replace it. */
  async open(): Promise<SnapshotReader> {
    const { index } = await this.takeNow();
    const reader = this.parts.storage.openSnapshot(index);
    const chunks = reader.chunks[Symbol.asyncIterator]();
    const first = await chunks.next();
    async function* whole(): AsyncGenerator<Uint8Array, void, void> {
      for (let next = first; next.done !== true; next = await chunks.next()) yield next.value;
    }
    return { ...reader, chunks: whole() };
  }

  send(m: Message): void {
    const sent = this.sendNow(m).finally(() => this.sending.delete(sent));
    this.sending.add(sent);
  }

  private async sendNow(m: Message): Promise<void> {
    const { storage, transport, log, report } = this.parts;
    assert(m.snapshot !== undefined, "a MsgSnap names a snapshot");
    const { index } = m.snapshot.metadata;
    log.info("sending snapshot", { to: m.to, index });
    try {
      await transport.sendSnapshot(m, storage.openSnapshot(index, { reuse: true }));
      report(m.to, "finish");
    } catch (error) {
      log.warn("snapshot was not sent", { to: m.to, index, error: errorText(error) });
      report(m.to, "failure");
    }
  }

  /** Stores what a leader sends, if it is news. */
  async receive(m: Message, source: SnapshotSource): Promise<void> {
    const { storage, committed } = this.parts;
    assert(m.snapshot !== undefined, "a MsgSnap announces a snapshot");
    const { metadata } = m.snapshot;
    if (metadata.index > committed()) await storage.receiveSnapshot(metadata, source);
    // Replies to the sender that all of it is stored.
    else for await (const chunk of source.from(source.bytes)) void chunk;
  }
}
