/**
 * A file of batches that is laid out beforehand: an append to it changes nothing of the file but its bytes, so it is
 * durable in one call and without the file system's own journal.
 *
 * It has a head and two halves, all in sectors of 512 bytes. A record begins a sector and ends within its half:
 * `checksum u32 | length u32 | number f64 | per operation: key's length u16, value's length u32 (2^32 − 1: none, the key
 * is removed), key, value`, little endian. The checksum is salted by the head's, so that no bytes of a user's, laid bare
 * when a shorter record is written over a longer one, pass for a record.
 */
import { randomInt } from "node:crypto";
import { constants } from "node:fs";
import { open, rename, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

import { assert } from "@warren/std";

import { checkLevel } from "../levels.ts";
import type { KeyValueOp } from "./disk.ts";
import { exists, syncDirectory, writeAt } from "./files.ts";
import { seal, unseal } from "./record.ts";
import { journalCorrupt } from "./refusals.ts";

const sectorBytes = 512;
const halfBytes = 128 * 1024;
const fileBytes = sectorBytes + 2 * halfBytes;
const headBytes = 16;
const opHeadBytes = 6;
const removed = 2 ** 32 - 1;
/** Bytes of the largest record: a larger batch gains nothing here. */
export const largestRecordBytes: number = 16 * 1024;

// A record begins a sector and ends within its half; a head fits a sector; lengths fit their fields.
assert(halfBytes % sectorBytes === 0, "a half of the journal is whole sectors");
assert(padded(largestRecordBytes) <= halfBytes, "the largest record fits half of the journal");
assert(headBytes + opHeadBytes <= sectorBytes, "a record's head and an operation's fit a sector");
assert(largestRecordBytes < removed, "no value is as long as the mark of a removed key");

export interface JournalRecord {
  readonly number: number;
  readonly ops: readonly KeyValueOp[];
}

export interface OpenedJournal {
  readonly journal: Journal;
  /** All that can be read in it, by ascending numbers. */
  readonly records: readonly JournalRecord[];
}

/** Bytes of a batch's record. */
export function recordBytes(ops: readonly KeyValueOp[]): number {
  let bytes = headBytes;
  for (const op of ops) bytes += opHeadBytes + op.key.length + (op.type === "put" ? op.value.length : 0);
  return bytes;
}

/** Opens a journal, or lays it out if none is `known`. @throws RaftError `RAFT_JOURNAL_CORRUPT`, `RAFT_LEVEL_UNREADABLE` */
export async function openJournal(path: string, known: boolean): Promise<OpenedJournal> {
  const flags = constants.O_RDWR | (constants.O_DSYNC ?? 0);
  if (!(await exists(path))) {
    if (known) throw journalCorrupt("it is gone");
    await layOut(path);
  }
  const handle = await open(path, flags);
  try {
    const bytes = Buffer.alloc(fileBytes);
    const { bytesRead } = await handle.read(bytes, 0, fileBytes, 0);
    const { salt, records } = parseJournal(bytes.subarray(0, bytesRead));
    return { journal: new Journal(handle, salt), records };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** What is in a journal's file. @throws RaftError `RAFT_JOURNAL_CORRUPT`, `RAFT_LEVEL_UNREADABLE` */
export function parseJournal(bytes: Buffer): { readonly salt: number; readonly records: readonly JournalRecord[] } {
  const head = unseal(bytes.subarray(0, bytes.indexOf(0, 4))) as { level: number; salt: number } | undefined;
  if (head === undefined || bytes.length < fileBytes) throw journalCorrupt("its head is damaged");
  checkLevel(head.level, "the journal");
  return { salt: head.salt, records: readRecords(bytes, head.salt) };
}

/** Zeros are written, not only promised: a block's first write would be the file system's business again. */
async function layOut(path: string): Promise<void> {
  const bytes = Buffer.alloc(fileBytes);
  seal({ level: 1, salt: randomInt(2 ** 32) }).copy(bytes);
  await using file = await open(`${path}.new`, "w", 0o600);
  await file.writeFile(bytes);
  await file.sync();
  await rename(`${path}.new`, path);
  await syncDirectory(dirname(path));
}

function readRecords(bytes: Buffer, salt: number): JournalRecord[] {
  const records: JournalRecord[] = [];
  for (const start of [sectorBytes, sectorBytes + halfBytes]) {
    const half = bytes.subarray(start, start + halfBytes);
    // Sector by sector past a damaged record: the numbers of those that follow show whether it was the last.
    for (let at = 0; at < halfBytes;) {
      const length = half.readUInt32LE(at + 4);
      const record = half.subarray(at, at + length);
      if (length < headBytes || record.length < length || checksum(record, salt) !== record.readUInt32LE(0)) {
        at += sectorBytes;
      } else {
        records.push({ number: record.readDoubleLE(8), ops: decodeOps(record) });
        at += padded(length);
      }
    }
  }
  return records.sort((a, b) => a.number - b.number);
}

function decodeOps(record: Buffer): KeyValueOp[] {
  const ops: KeyValueOp[] = [];
  for (let at = headBytes; at < record.length;) {
    const keyEnd = at + opHeadBytes + record.readUInt16LE(at);
    const valueLength = record.readUInt32LE(at + 2);
    const key = record.subarray(at + opHeadBytes, keyEnd);
    at = valueLength === removed ? keyEnd : keyEnd + valueLength;
    ops.push(valueLength === removed ? { type: "del", key } : { type: "put", key, value: record.subarray(keyEnd, at) });
  }
  return ops;
}

function checksum(record: Buffer, salt: number): number {
  return crc32(record.subarray(4), salt);
}

function padded(bytes: number): number {
  return Math.ceil(bytes / sectorBytes) * sectorBytes;
}

export class Journal {
  private readonly handle: FileHandle;
  private readonly salt: number;
  /** Records are laid here: one is written at a time. */
  private readonly record = Buffer.alloc(largestRecordBytes);
  private half = 0;
  private at = 0;

  constructor(handle: FileHandle, salt: number) {
    this.handle = handle;
    this.salt = salt;
  }

  /** Whether a record of so many bytes has room in the half that is written. */
  fits(bytes: number): boolean {
    return this.at + padded(bytes) <= halfBytes;
  }

  /** Continues at the start of the other half, which is overwritten. */
  rotate(): void {
    this.half = 1 - this.half;
    this.at = 0;
  }

  /** Continues at the start of this half. */
  restart(): void {
    this.at = 0;
  }

  /** Appends a batch of which `recordBytes` are at most `largestRecordBytes` and fit; durable when it resolves. */
  async append(number: number, ops: readonly KeyValueOp[]): Promise<void> {
    const { record } = this;
    record.writeDoubleLE(number, 8);
    let at = headBytes;
    for (const op of ops) {
      record.writeUInt16LE(op.key.length, at);
      record.writeUInt32LE(op.type === "put" ? op.value.length : removed, at + 2);
      record.set(op.key, at + opHeadBytes);
      at += opHeadBytes + op.key.length;
      if (op.type !== "put") continue;
      record.set(op.value, at);
      at += op.value.length;
    }
    record.writeUInt32LE(at, 4);
    record.writeUInt32LE(checksum(record.subarray(0, at), this.salt), 0);
    const end = padded(at);
    await writeAt(this.handle, record.subarray(0, end), sectorBytes + this.half * halfBytes + this.at);
    // Where a file can't be opened so that its writes are durable.
    if (constants.O_DSYNC === undefined) await this.handle.datasync();
    this.at += end;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
