/**
 * Snapshots as files: `snapshot-INDEX.body` is `WRNS | level u32 | bytes`; `snapshot-INDEX.head` seals metadata, length
 * and crc32 of the bytes, and is what lists the snapshot. Each is written under a temporary name, synced, renamed.
 */
import { crc32 } from "node:zlib";

import type { SnapshotMetadata } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { Disk, FileWriter, StreamOptions } from "./disk.ts";
import { seal, unseal } from "./record.ts";
import { checkLevel } from "../levels.ts";
import { snapshotCorrupt } from "./refusals.ts";
import type { SnapshotReader, SnapshotSource } from "./storage.ts";

const magic = Buffer.from("WRNS");
/**
 * What is read at once. Small, so that memory is freed while a snapshot streams: 256 KiB cost a sender 65 MiB of garbage,
 * 32 KiB cost 45.
 */
const chunkBytes = 32 * 1024;
/** Large, as each write is a call into another thread; its memory is used again. */
const blockBytes = 256 * 1024;
/**
 * Synced so often while it is written: on a journalling file system an fsync of the log waits for what is dirty of other
 * files too, and must not wait for a whole snapshot.
 */
const syncBytes = 4 * 1024 * 1024;
const temporary = "snapshot.tmp";

/** What lists a snapshot. */
export interface SnapshotFileHead {
  readonly metadata: SnapshotMetadata;
  readonly bytes: number;
  readonly checksum: number;
}

/** A body that is being received, or was when the transfer was cut. */
interface Partial {
  /** Of which snapshot: index, term, length and checksum, as another leader's of the same index has other bytes. */
  readonly key: string;
  readonly name: string;
  readonly file: FileWriter;
  bytes: number;
  checksum: number;
  unsynced: number;
  busy: boolean;
}

function bodyStart(): Buffer {
  const start = Buffer.alloc(8);
  magic.copy(start);
  start.writeUInt32LE(1, 4);
  return start;
}

function snapshotDamaged(index: number): RaftError {
  return new RaftError({ code: "RAFT_WIRE_INVALID" }, `snapshot ${index} came with other bytes than were announced`);
}

export class SnapshotFiles {
  private readonly disk: Disk;
  private readonly keep: number;
  /** Newest first; changed by `hold` alone. */
  private held: readonly SnapshotFileHead[] = [];
  private listed: readonly SnapshotMetadata[] = [];
  private temporaries = 0;
  /** What has come of a snapshot from elsewhere. */
  private partial: Partial | undefined;

  constructor(disk: Disk, keep: number) {
    this.disk = disk;
    this.keep = keep;
  }

  async load(): Promise<void> {
    const found: SnapshotFileHead[] = [];
    for (const name of await this.disk.list()) {
      if (name.startsWith(temporary)) await this.disk.remove(name);
      const index = headOf(name);
      if (index !== undefined) found.push(readHead(index, (await this.disk.read(name)) ?? Buffer.alloc(0)));
    }
    this.hold(found);
  }

  list(): readonly SnapshotMetadata[] {
    return this.listed;
  }

  async save(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    // The state at an index is one, so the one that is held serves; between two files of one name a crash could mix them.
    if (this.holds(metadata)) {
      for await (const chunk of chunks) void chunk;
      return;
    }
    const name = this.temporaryName();
    try {
      await this.publish(name, metadata, await this.writeBody(name, chunks));
    } catch (error) {
      await this.removeAll([name, `${name}.head`]);
      throw error;
    }
  }

  /** As `save`, from elsewhere; what came is kept if it is cut short. */
  async receive(metadata: SnapshotMetadata, source: SnapshotSource): Promise<void> {
    if (this.holds(metadata)) {
      for await (const chunk of source.from(source.bytes)) void chunk;
      return;
    }
    const partial = await this.partialOf(metadata, source);
    partial.busy = true;
    try {
      for await (const chunk of source.from(partial.bytes)) await this.append(partial, chunk);
      await this.finish(partial, metadata, source);
    } finally {
      partial.busy = false;
    }
  }

  /** What is not whole is removed. */
  async close(): Promise<void> {
    if (this.partial !== undefined) await this.discard(this.partial);
  }

  /** What came of this snapshot before; a beginning, if another came. */
  private async partialOf({ index, term }: SnapshotMetadata, { bytes, checksum }: SnapshotSource): Promise<Partial> {
    const key = `${index} ${term} ${bytes} ${checksum}`;
    if (this.partial?.key === key) {
      if (!this.partial.busy) return this.partial;
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `snapshot ${index} is being received already`);
    }
    if (this.partial !== undefined) await this.discard(this.partial);
    const name = this.temporaryName();
    const file = await this.disk.create(name);
    const partial = { key, name, file, bytes: 0, checksum: 0, unsynced: 0, busy: false };
    this.partial = partial;
    await this.write(partial, bodyStart());
    return partial;
  }

  private async append(partial: Partial, chunk: Uint8Array): Promise<void> {
    await this.write(partial, chunk);
    partial.bytes += chunk.length;
    partial.checksum = crc32(chunk, partial.checksum);
  }

  /** What can't be written is not gone on with. */
  private async write(partial: Partial, chunk: Uint8Array): Promise<void> {
    if (this.partial !== partial) {
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "another snapshot came, or the storage was closed");
    }
    try {
      await partial.file.write(chunk);
      partial.unsynced += chunk.length;
      if (partial.unsynced < syncBytes) return;
      await partial.file.sync();
      partial.unsynced = 0;
    } catch (error) {
      await this.discard(partial);
      throw error;
    }
  }

  private async finish(partial: Partial, metadata: SnapshotMetadata, announced: SnapshotSource): Promise<void> {
    const { bytes, checksum, name, file } = partial;
    try {
      if (bytes !== announced.bytes || checksum !== announced.checksum) throw snapshotDamaged(metadata.index);
      await file.sync();
      await file.close();
      await this.publish(name, metadata, { bytes, checksum });
      this.partial = undefined;
    } catch (error) {
      await this.discard(partial);
      throw error;
    }
  }

  private async discard(partial: Partial): Promise<void> {
    if (this.partial === partial) this.partial = undefined;
    // It may be closed, or its disk full: a file that stays is removed at the next start.
    await Promise.allSettled([partial.file.close()]);
    await this.removeAll([partial.name, `${partial.name}.head`]);
  }

  private async removeAll(names: readonly string[]): Promise<void> {
    await Promise.allSettled(names.map((name) => this.disk.remove(name)));
  }

  private temporaryName(): string {
    return `${temporary}-${this.temporaries++}`;
  }

  /** Gives a body that is durable its name, and lists it. */
  private async publish(
    name: string,
    metadata: SnapshotMetadata,
    body: Omit<SnapshotFileHead, "metadata">,
  ): Promise<void> {
    await this.disk.rename(name, bodyName(metadata.index));
    // S3: the head, which lists it, comes last.
    const head: SnapshotFileHead = { metadata, ...body };
    const headFile = await this.disk.create(`${name}.head`);
    try {
      await headFile.write(seal(head));
      await headFile.sync();
    } finally {
      await headFile.close();
    }
    await this.disk.syncDirectory();
    await this.disk.rename(`${name}.head`, headName(metadata.index));
    await this.disk.syncDirectory();
    this.hold([head, ...this.held.filter((old) => old.metadata.index !== metadata.index)]);
  }

  private hold(heads: readonly SnapshotFileHead[]): void {
    this.held = heads.toSorted((a, b) => b.metadata.index - a.metadata.index);
    this.listed = this.held.map(({ metadata }) => metadata);
  }

  private holds({ index, term }: SnapshotMetadata): boolean {
    return this.held.some(({ metadata }) => metadata.index === index && metadata.term === term);
  }

  /** Removes all but the newest of those that the log has reached; what is beyond `last` waits to be installed. */
  async prune(last: number): Promise<void> {
    const reached = this.list().filter(({ index }) => index <= last);
    const gone = new Set(reached.slice(this.keep));
    await this.retain((held) => !gone.has(held));
  }

  private async writeBody(
    name: string,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<Omit<SnapshotFileHead, "metadata">> {
    let bytes = 0;
    let checksum = 0;
    let unsynced = 0;
    const file = await this.disk.create(name);
    try {
      await file.write(bodyStart());
      for await (const block of inBlocks(chunks)) {
        bytes += block.length;
        checksum = crc32(block, checksum);
        await file.write(block);
        unsynced += block.length;
        if (unsynced < syncBytes) continue;
        await file.sync();
        unsynced = 0;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    return { bytes, checksum };
  }

  /** Removes the others. */
  async retain(keep: (metadata: SnapshotMetadata) => boolean): Promise<void> {
    const gone = this.held.filter(({ metadata }) => !keep(metadata));
    this.hold(this.held.filter((held) => !gone.includes(held)));
    for (const { metadata } of gone) {
      await this.disk.remove(headName(metadata.index));
      await this.disk.remove(bodyName(metadata.index));
    }
  }

  open(index: number, options: StreamOptions = {}): SnapshotReader {
    const head = this.held.find(({ metadata }) => metadata.index === index);
    if (head === undefined) throw snapshotCorrupt(index);
    const { metadata, bytes, checksum } = head;
    return { metadata, bytes, checksum, chunks: verified(this.disk, head, options) };
  }
}

/** The same bytes in blocks that are worth a write each; a block's memory is used again for the next. */
async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const block = Buffer.allocUnsafeSlow(blockBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const taken = chunk.subarray(at, at + block.length - filled);
      block.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled < block.length) continue;
      yield block;
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

/** The index of the snapshot whose head a file is; `undefined` if it is none. */
export function headOf(name: string): number | undefined {
  const index = /^snapshot-(\d+)\.head$/u.exec(name)?.[1];
  return index === undefined ? undefined : Number(index);
}

/** @throws RaftError `RAFT_SNAPSHOT_CORRUPT` */
export function readHead(index: number, bytes: Uint8Array): SnapshotFileHead {
  const head = unseal(bytes) as SnapshotFileHead | undefined;
  if (head === undefined) throw snapshotCorrupt(index);
  return head;
}

/** A snapshot's bytes. @throws RaftError `RAFT_SNAPSHOT_CORRUPT` before its end, if it is damaged */
export async function* verified(
  disk: Pick<Disk, "stream">,
  head: SnapshotFileHead,
  options: StreamOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { index } = head.metadata;
  let checksum = 0;
  let bytes = 0;
  let skip = 8;
  // The last chunk is held back until the checksum is verified, so that a damaged snapshot is never read to its end.
  let last: Uint8Array | undefined;
  for await (let chunk of disk.stream(bodyName(index), chunkBytes, options)) {
    if (skip > 0) {
      const found = Buffer.from(chunk.subarray(4, 8)).readUInt32LE(0);
      if (!magic.equals(chunk.subarray(0, 4))) throw snapshotCorrupt(index);
      checkLevel(found, `snapshot ${index}`);
      chunk = chunk.subarray(skip);
      skip = 0;
    }
    bytes += chunk.length;
    checksum = crc32(chunk, checksum);
    if (last !== undefined) yield last;
    last = chunk;
  }
  if (bytes !== head.bytes || checksum !== head.checksum) throw snapshotCorrupt(index);
  if (last !== undefined && last.length > 0) yield last;
}

const bodyName = (index: number): string => `snapshot-${index}.body`;
const headName = (index: number): string => `snapshot-${index}.head`;
