/**
 * The durable log on a `Disk`: a record an entry, one for the state, a file a snapshot, and a small marker file.
 *
 * D1: entries, state and last index go in one synced batch. D2: the marker file never names more than what is durable,
 * and is written behind the batches without a sync: it outlives the process, mostly the machine, and shows a lost tail.
 * It may lag behind the log, never lead it: it is lowered durably, behind any write of it that is under way, before the
 * log is truncated. D3: one write at a time. D4: what is found at open may have been written by a process that died before
 * its sync was done; a sync of our own makes it durable before anyone relies on it. D5: behind a new term or vote stands
 * another record: a damaged last record is taken for a write that never ended, and a vote that was given is never that.
 */
import { randomUUID } from "node:crypto";

import { assert, serially } from "@warren/std";

import {
  entrySize,
  type ConfState,
  type Entry,
  type HardState,
  type Snapshot,
  type SnapshotMetadata,
} from "../core/index.ts";
import type { RaftError } from "../errors.ts";
import { checkLevel, levels as currentLevels, type Levels } from "../levels.ts";
import type { Disk, KeyValue, KeyValueOp, StreamOptions } from "./disk.ts";
import { entryKey, identityKey, markerName, peerKey, stateKey } from "./keys.ts";
import { asBuffer, decodeEntry, encodeEntry, seal, unseal } from "./record.ts";
import { logCorrupt, logHole, mismatch, stateCorrupt, storageFailed, tailLost } from "./refusals.ts";
import { SnapshotFiles } from "./snapshot-files.ts";
import type { Identity, RaftStorage, SnapshotReader, SnapshotSource, Write } from "./storage.ts";

/** Of the layout of the small records here; what the whole directory needs stands in its identity. */
const level = 1;
const noConfState: ConfState = { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };

export interface LogStorageOptions {
  readonly clusterId: string;
  readonly nodeId: number;
  /** Used only when the storage is made. @default crypto.randomUUID */
  readonly newIncarnation?: () => string;
  /** Snapshots kept. @default 3 */
  readonly snapshotsKept?: number;
  /** Levels that the program reads; a test gives another program's. @default this program's */
  readonly levels?: Levels;
  /** Memory that the newest entries may take, bytes; older ones are read from disk. @default 16 MiB */
  readonly cacheBytes?: number;
}

/** The record of term, vote, commit and bounds. */
export interface State extends HardState {
  /** Index and term of the last entry that was compacted. */
  compacted: { index: number; term: number };
  last: number;
}

/** Resident memory of an entry beside its bytes: the object, its record, the buffers of both. Measured on Node 26. */
const entryOverheadBytes = 1_100;

/** Its data are there twice: as they were proposed, and in the record. */
function cachedSize(entry: Entry): number {
  return 2 * entrySize(entry) + entryOverheadBytes;
}

/** Opens, or makes, a member's storage and checks all of it. @throws RaftError `RAFT_LOG_*`, `RAFT_IDENTITY_MISMATCH`, … */
export async function openLogStorage(disk: Disk, options: LogStorageOptions): Promise<RaftStorage> {
  const kv = await disk.openKeyValue();
  try {
    const marker = await readMarker(disk);
    const identity = await openIdentity(disk, kv, options, marker);
    const snapshots = new SnapshotFiles(disk, options.snapshotsKept ?? 3);
    await snapshots.load();
    const state = readState(kv);
    const log = new LogStorage(disk, kv, identity, snapshots, state, options.cacheBytes ?? 16 * 1024 * 1024);
    await log.load(marker);
    await kv.batch([{ type: "put", key: stateKey, value: seal(state) }], { sync: true }); // D4
    return log;
  } catch (error) {
    await kv.close();
    throw error;
  }
}

class LogStorage implements RaftStorage {
  identity: IdentityRecord;
  private readonly disk: Disk;
  private readonly kv: KeyValue;
  private readonly files: SnapshotFiles;
  private readonly cacheLimit: number;
  private state: State;
  /** Where each term begins, ascending: the term of every entry in a few numbers. */
  private terms: { from: number; term: number }[] = [];
  /** The newest entries; the first has index `cachedFrom`. */
  private cache: Entry[] = [];
  private cachedFrom = 1;
  private cachedBytes = 0;
  private failure: RaftError | undefined;
  private markDue: number | undefined;
  private marking: Promise<void> | undefined;
  private readonly inTurn = serially(); // D3
  /** Removals, one at a time, beside the writes. */
  private readonly behind = serially();

  constructor(
    disk: Disk,
    kv: KeyValue,
    identity: IdentityRecord,
    files: SnapshotFiles,
    state: State,
    cacheLimit: number,
  ) {
    this.disk = disk;
    this.kv = kv;
    this.identity = identity;
    this.files = files;
    this.state = state;
    this.cacheLimit = cacheLimit;
  }

  async load(marker: number | undefined): Promise<void> {
    const { compacted, last } = this.state;
    this.cachedFrom = compacted.index + 1;
    // What a crash kept from being removed.
    await this.kv.clear(entryKey(0), entryKey(compacted.index + 1));
    if (marker !== undefined && last < marker) throw tailLost(last, marker);
    let expected = compacted.index + 1;
    for await (const [, value] of this.kv.iterate(entryKey(expected), entryKey(Number.MAX_SAFE_INTEGER))) {
      const entry = decodeEntry(value);
      if (entry === undefined || entry.index < expected) throw logCorrupt(expected);
      if (entry.index > expected) throw logHole(expected);
      // A copy: the iterator's buffer is shared by many records.
      this.remember({ ...entry, data: Uint8Array.from(entry.data) });
      expected++;
    }
    if (expected - 1 < last) throw tailLost(expected - 1, last);
    if (expected - 1 > last) throw logCorrupt(expected - 1);
    // A snapshot that came but was never installed is not ours: its sender sends another.
    await this.files.retain(
      ({ index, term }) => index <= last && (index < compacted.index || this.term(index) === term),
    );
    const newest = this.files.list()[0];
    if (compacted.index > 0 && (newest === undefined || newest.index < compacted.index)) throw logHole(compacted.index);
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    const { term, vote } = this.state;
    const newest = this.files.list()[0];
    // What a snapshot holds was committed, though the commit index may not have reached the disk.
    const commit = Math.max(this.state.commit, newest?.index ?? 0);
    return { hardState: { term, vote, commit }, confState: newest?.confState ?? noConfState };
  }

  firstIndex(): number {
    return this.state.compacted.index + 1;
  }

  lastIndex(): number {
    return this.state.last;
  }

  term(index: number): number {
    if (index === this.state.compacted.index) return this.state.compacted.term;
    const term = this.terms.findLast(({ from }) => from <= index)?.term;
    assert(term !== undefined && index <= this.state.last, `entry ${index} is in the log`);
    return term;
  }

  entries(lo: number, hi: number, maxSize: number): Entry[] {
    const found: Entry[] = [];
    let size = 0;
    for (let index = lo; index < hi; index++) {
      const entry = index >= this.cachedFrom ? (this.cache[index - this.cachedFrom] as Entry) : this.readEntry(index);
      size += entrySize(entry);
      if (size > maxSize && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  snapshot(): Snapshot | undefined {
    const metadata = this.files.list()[0];
    return metadata === undefined ? undefined : { metadata, data: new Uint8Array(0) };
  }

  write({ hardState, entries }: Write): Promise<void> {
    return this.inTurn(async () => {
      const before = this.state;
      const first = entries[0]?.index;
      assert(first === undefined || first <= before.last + 1, "a write leaves no gap");
      const state: State = { ...before, ...hardState, last: entries.at(-1)?.index ?? before.last };
      if (first === undefined && state.term === before.term && state.vote === before.vote) {
        this.state = state;
        return;
      }
      await this.guard(async () => {
        if (first !== undefined && first <= before.last) await this.mark(first - 1); // D2
        const ops: KeyValueOp[] = [{ type: "put", key: stateKey, value: seal(state) }];
        for (const entry of entries) ops.push({ type: "put", key: entryKey(entry.index), value: encodeEntry(entry) });
        for (let index = state.last + 1; index <= before.last; index++) ops.push({ type: "del", key: entryKey(index) });
        await this.kv.batch(ops, { sync: true }); // D1
        if (state.term !== before.term || state.vote !== before.vote) await this.standBehind(state); // D5
        if (first !== undefined) this.markLater(state.last);
      });
      this.state = state;
      if (first !== undefined) this.forgetFrom(first);
      for (const entry of entries) this.remember(entry);
    });
  }

  async compact(index: number): Promise<void> {
    const first = await this.inTurn(async () => {
      const { compacted, last } = this.state;
      if (index <= compacted.index) return undefined;
      assert(index <= last, `compaction index ${index} is in the log`);
      const state: State = { ...this.state, compacted: { index, term: this.term(index) } };
      await this.guard(async () => {
        await this.kv.batch([{ type: "put", key: stateKey, value: seal(state) }], { sync: false });
        this.state = state;
        this.terms.splice(
          0,
          this.terms.findLastIndex(({ from }) => from <= index + 1),
        );
        this.evictBefore(index + 1);
      });
      return compacted.index + 1;
    });
    if (first !== undefined) await this.removeEntries(first, index);
  }

  async saveSnapshot(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    await this.files.save(metadata, chunks);
    await this.files.prune(this.state.last);
  }

  async receiveSnapshot(metadata: SnapshotMetadata, source: SnapshotSource): Promise<void> {
    await this.files.receive(metadata, source);
    await this.files.prune(this.state.last);
  }

  async installSnapshot(
    { index, term }: SnapshotMetadata,
    hardState: HardState | undefined,
    changed?: Omit<Identity, "nodeId">,
  ): Promise<void> {
    const identity: IdentityRecord = { ...this.identity, ...changed };
    const { compacted, last } = await this.inTurn(async () => {
      const before = this.state;
      // What is committed beyond the snapshot is not here yet: entries that follow it are a write of their own.
      const commit = Math.min(hardState?.commit ?? before.commit, index);
      const state: State = { ...before, ...hardState, commit, compacted: { index, term }, last: index };
      await this.guard(async () => {
        if (before.last > index) await this.mark(index); // D2
        // Synced apart from the removal: entries below the compaction index are never read, those above go with it.
        const ops: KeyValueOp[] = [{ type: "put", key: stateKey, value: seal(state) }];
        for (let at = index + 1; at <= before.last; at++) ops.push({ type: "del", key: entryKey(at) });
        if (changed !== undefined) ops.push({ type: "put", key: identityKey, value: seal(identity) });
        await this.kv.batch(ops, { sync: true });
        this.identity = identity;
        this.markLater(index);
        this.state = state;
        this.terms = [];
        this.cache = [];
        this.cachedFrom = index + 1;
        this.cachedBytes = 0;
      });
      return before;
    });
    await this.removeEntries(compacted.index + 1, Math.min(index, last));
  }

  snapshots(): readonly SnapshotMetadata[] {
    return this.files.list();
  }

  openSnapshot(index: number, options?: StreamOptions): SnapshotReader {
    return this.files.open(index, options);
  }

  get level(): number {
    return this.identity.level;
  }

  raiseLevel(to: number): Promise<void> {
    return this.inTurn(async () => {
      if (to <= this.identity.level) return;
      // Fields that this program does not know stay.
      const identity = { ...this.identity, level: to };
      await this.guard(() => this.kv.batch([{ type: "put", key: identityKey, value: seal(identity) }], { sync: true }));
      this.identity = identity;
    });
  }

  async rememberPeer(id: number, incarnation: string): Promise<boolean> {
    const key = peerKey(id);
    return this.inTurn(async () => {
      const known = this.kv.get(key);
      if (known !== undefined) return unseal(known) === incarnation;
      await this.guard(() => this.kv.batch([{ type: "put", key, value: seal(incarnation) }], { sync: true }));
      return true;
    });
  }

  forgetPeer(id: number): Promise<void> {
    const ops: KeyValueOp[] = [{ type: "del", key: peerKey(id) }];
    return this.inTurn(() => this.guard(() => this.kv.batch(ops, { sync: true })));
  }

  close(): Promise<void> {
    return this.inTurn(async () => {
      try {
        if (this.failure !== undefined) return;
        const value = seal(this.state);
        await this.guard(() => this.kv.batch([{ type: "put", key: stateKey, value }], { sync: true }));
        await this.guard(() => this.mark(this.state.last));
      } finally {
        await this.marking;
        await this.files.close();
        await this.behind(() => this.kv.close());
      }
    });
  }

  /** Writes the state once more, so that its first record is not the last one. */
  private async standBehind(state: State): Promise<void> {
    await this.kv.batch([{ type: "put", key: stateKey, value: seal(state) }], { sync: true });
  }

  /** Entries that were compacted, which nothing reads or writes again: out of turn, so that no write waits for it. */
  private removeEntries(first: number, last: number): Promise<void> {
    return this.behind(() => this.guard(() => this.kv.clear(entryKey(first), entryKey(last + 1))));
  }

  private readEntry(index: number): Entry {
    const value = this.kv.get(entryKey(index));
    if (value === undefined) throw logHole(index);
    const entry = decodeEntry(value);
    if (entry?.index !== index) throw logCorrupt(index);
    return entry;
  }

  private remember(entry: Entry): void {
    if (this.terms.at(-1)?.term !== entry.term) this.terms.push({ from: entry.index, term: entry.term });
    this.cache.push(entry);
    this.cachedBytes += cachedSize(entry);
    // Half at a time, so that the shift is rare.
    if (this.cachedBytes > this.cacheLimit) this.evictBefore(this.cachedFrom + (this.cache.length >> 1) + 1);
  }

  private evictBefore(index: number): void {
    const count = index - this.cachedFrom;
    if (count <= 0) return;
    for (const entry of this.cache.splice(0, count)) this.cachedBytes -= cachedSize(entry);
    this.cachedFrom = index;
  }

  private forgetFrom(index: number): void {
    for (const entry of this.cache.splice(Math.max(0, index - this.cachedFrom))) this.cachedBytes -= cachedSize(entry);
    this.cachedFrom = Math.min(this.cachedFrom, index);
    while ((this.terms.at(-1)?.from ?? 0) >= index) this.terms.pop();
  }

  /** Writes the marker durably, after any that is being written. */
  private async mark(last: number): Promise<void> {
    this.markDue = undefined;
    await this.marking;
    if (this.failure !== undefined) throw this.failure;
    await this.disk.overwrite(markerName, seal({ level, last }), { sync: true });
  }

  /** Writes the marker without a sync and without keeping anyone waiting; of several that are due, the last. */
  private markLater(last: number): void {
    this.markDue = last;
    this.marking ??= this.writeMarks();
  }

  private async writeMarks(): Promise<void> {
    try {
      for (let last = this.markDue; last !== undefined; last = this.markDue) {
        this.markDue = undefined;
        await this.disk.overwrite(markerName, seal({ level, last }), { sync: false });
      }
    } catch (cause) {
      // The next write reports it.
      this.failure ??= storageFailed(cause);
    } finally {
      this.marking = undefined;
    }
  }

  /** S1: after one failed write nothing is known about the disk. */
  private async guard(work: () => Promise<void>): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    try {
      await work();
    } catch (cause) {
      this.failure = storageFailed(cause);
      throw this.failure;
    }
  }
}

async function readMarker(disk: Disk): Promise<number | undefined> {
  const bytes = await disk.read(markerName);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const marker = unseal(bytes) as { level: number; last: number } | undefined;
  // Torn: it is not synced with each write, and says less then, never more.
  if (marker === undefined) return undefined;
  checkLevel(marker.level, "the marker of the log's end");
  return marker.last;
}

/** Whose directory it is, and the highest level of anything in it. */
export interface IdentityRecord extends Identity {
  readonly level: number;
}

async function openIdentity(
  disk: Disk,
  kv: KeyValue,
  options: LogStorageOptions,
  marker: number | undefined,
): Promise<IdentityRecord> {
  const { clusterId, nodeId, levels = currentLevels, newIncarnation = randomUUID } = options;
  const stored = kv.get(identityKey);
  if (stored === undefined) {
    if (marker !== undefined) throw tailLost(0, marker);
    const identity = { level: levels.minLevel, clusterId, nodeId, incarnation: newIncarnation() };
    await kv.batch([{ type: "put", key: identityKey, value: seal(identity) }], { sync: true });
    await disk.overwrite(markerName, seal({ level, last: 0 }), { sync: true });
    return identity;
  }
  const found = unseal(stored) as IdentityRecord | undefined;
  if (found === undefined) throw stateCorrupt();
  checkLevel(found.level, "what this directory holds", levels);
  if (found.clusterId !== clusterId) throw mismatch(`cluster ${found.clusterId}, not ${clusterId}`);
  if (found.nodeId !== nodeId) throw mismatch(`node ${found.nodeId}, not ${nodeId}`);
  return found;
}

function readState(kv: KeyValue): State {
  const stored = kv.get(stateKey);
  if (stored === undefined) return { term: 0, vote: 0, commit: 0, compacted: { index: 0, term: 0 }, last: 0 };
  const state = unseal(asBuffer(stored)) as State | undefined;
  if (state === undefined) throw stateCorrupt();
  return state;
}
