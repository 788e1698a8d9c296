/**
 * Snapshots as files: `snapshot-INDEX.body` is `WRNS | level u32 | bytes`; `snapshot-INDEX.head` seals metadata, length
 * and crc32 of the bytes, and is what lists the snapshot. Each is written under a temporary name, synced, renamed.
 */
import { crc32 } from "node:zlib";

import type { SnapshotMetadata } from "../core/index.ts";
import type { Disk, StreamOptions } from "./disk.ts";
import { seal, unseal } from "./record.ts";
import { checkLevel } from "../levels.ts";
import { snapshotCorrupt } from "./refusals.ts";
import type { SnapshotReader } from "./storage.ts";

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

interface Head {
  readonly metadata: SnapshotMetadata;
  readonly bytes: number;
  readonly checksum: number;
}

export class SnapshotFiles {
  private readonly disk: Disk;
  private readonly keep: number;
  /** Newest first. */
  private held: Head[] = [];
  private temporaries = 0;

  constructor(disk: Disk, keep: number) {
    this.disk = disk;
    this.keep = keep;
  }

  async load(): Promise<void> {
    for (const name of await this.disk.list()) {
      if (name.startsWith(temporary)) await this.disk.remove(name);
      const index = /^snapshot-(\d+)\.head$/u.exec(name)?.[1];
      if (index === undefined) continue;
      const head = unseal((await this.disk.read(name)) ?? Buffer.alloc(0)) as Head | undefined;
      if (head === undefined) throw snapshotCorrupt(Number(index));
      this.held.push(head);
    }
    this.held.sort((a, b) => b.metadata.index - a.metadata.index);
  }

  list(): readonly SnapshotMetadata[] {
    return this.held.map(({ metadata }) => metadata);
  }

  async save(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    // The state at an index is one, so the one that is held serves; between two files of one name a crash could mix them.
    if (this.holds(metadata)) {
      for await (const chunk of chunks) void chunk;
      return;
    }
    const name = `${temporary}-${this.temporaries++}`;
    const body = await this.writeBody(name, chunks);
    await this.disk.rename(name, bodyName(metadata.index));
    // S3: the head, which lists it, comes last.
    const head: Head = { metadata, ...body };
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
    this.held = [head, ...this.held.filter((old) => old.metadata.index !== metadata.index)];
    this.held.sort((a, b) => b.metadata.index - a.metadata.index);
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

  private async writeBody(name: string, chunks: AsyncIterable<Uint8Array>): Promise<Omit<Head, "metadata">> {
    let bytes = 0;
    let checksum = 0;
    let unsynced = 0;
    const file = await this.disk.create(name);
    try {
      const start = Buffer.alloc(8);
      magic.copy(start);
      start.writeUInt32LE(1, 4);
      await file.write(start);
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
    this.held = this.held.filter((held) => !gone.includes(held));
    for (const { metadata } of gone) {
      await this.disk.remove(headName(metadata.index));
      await this.disk.remove(bodyName(metadata.index));
    }
  }

  open(index: number, options: StreamOptions = {}): SnapshotReader {
    const head = this.held.find(({ metadata }) => metadata.index === index);
    if (head === undefined) throw snapshotCorrupt(index);
    return { metadata: head.metadata, bytes: head.bytes, chunks: verified(this.disk, head, options) };
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

async function* verified(disk: Disk, head: Head, options: StreamOptions): AsyncGenerator<Uint8Array, void, void> {
  const { index } = head.metadata;
  let checksum = 0;
  let bytes = 0;
  let skip = 8;
  // The last chunk is held back until the checksum is known: nobody reads a damaged snapshot to its end.
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
