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
import { crc32 } from "node:zlib";

import { assert } from "@warren/std";

import { checkLevel } from "../levels.ts";
import type { InPlaceFile, JournalDisk, KeyValueOp } from "./disk.ts";
import { asBuffer, seal, unseal } from "./record.ts";
import { journalCorrupt } from "./refusals.ts";

/** What a disk writes whole, bytes; some write more. */
export const sectorBytes = 512;
const name = "journal";
const headBytes = 16;
const opHeadBytes = 6;
const removed = 2 ** 32 - 1;

export interface JournalShape {
  /** Bytes of each of its halves. */
  readonly halfBytes: number;
  /** Bytes of the largest record: a larger batch gains nothing here. */
  readonly largestRecordBytes: number;
}

const usualShape: JournalShape = { halfBytes: 128 * 1024, largestRecordBytes: 16 * 1024 };

export interface JournalOptions {
  /** Whether there was a journal before, so that it must be there. */
  readonly known: boolean;
  /** @default halves of 128 KiB, records of at most 16 KiB */
  readonly shape?: JournalShape | undefined;
  /** 32 bits. @default random */
  readonly newSalt?: () => number;
}

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

/** Whether a disk has a journal. */
export async function journalExists(disk: JournalDisk): Promise<boolean> {
  return (await disk.list()).includes(name);
}

/** Opens a journal, or lays it out if none is `known`. @throws RaftError `RAFT_JOURNAL_CORRUPT`, `RAFT_LEVEL_UNREADABLE` */
export async function openJournal(disk: JournalDisk, options: JournalOptions): Promise<OpenedJournal> {
  const { known, shape = usualShape, newSalt = () => randomInt(2 ** 32) } = options;
  checkShape(shape);
  if (!(await journalExists(disk))) {
    if (known) throw journalCorrupt("it is gone");
    await layOut(disk, shape, newSalt());
  }
  const file = await disk.openInPlace(name);
  try {
    const { salt, records } = parseJournal(asBuffer(await file.read()), shape);
    return { journal: new Journal(file, shape, salt), records };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What is in a journal's file. @throws RaftError `RAFT_JOURNAL_CORRUPT`, `RAFT_LEVEL_UNREADABLE` */
export function parseJournal(
  bytes: Buffer,
  shape: JournalShape = usualShape,
): { readonly salt: number; readonly records: readonly JournalRecord[] } {
  const head = unseal(bytes.subarray(0, bytes.indexOf(0, 4))) as { level: number; salt: number } | undefined;
  if (head === undefined || bytes.length < fileBytes(shape)) throw journalCorrupt("its head is damaged");
  checkLevel(head.level, "the journal");
  return { salt: head.salt, records: readRecords(bytes, shape, head.salt) };
}

/** A record begins a sector and ends within its half; a head fits a sector; lengths fit their fields. */
function checkShape({ halfBytes, largestRecordBytes }: JournalShape): void {
  assert(halfBytes % sectorBytes === 0, "a half of the journal is whole sectors");
  assert(padded(largestRecordBytes) <= halfBytes, "the largest record fits half of the journal");
  assert(headBytes + opHeadBytes <= sectorBytes, "a record's head and an operation's fit a sector");
  assert(largestRecordBytes < removed, "no value is as long as the mark of a removed key");
}

function fileBytes({ halfBytes }: JournalShape): number {
  return sectorBytes + 2 * halfBytes;
}

/** Zeros are written, not only promised: a block's first write would be the file system's business again. */
async function layOut(disk: JournalDisk, shape: JournalShape, salt: number): Promise<void> {
  const bytes = Buffer.alloc(fileBytes(shape));
  seal({ level: 1, salt }).copy(bytes);
  const file = await disk.create(`${name}.new`);
  try {
    await file.write(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(`${name}.new`, name);
  await disk.syncDirectory();
}

function readRecords(bytes: Buffer, { halfBytes }: JournalShape, salt: number): JournalRecord[] {
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
  readonly largestRecordBytes: number;
  private readonly file: InPlaceFile;
  private readonly halfBytes: number;
  private readonly salt: number;
  /** Records are laid here: one is written at a time. */
  private readonly record: Buffer;
  private half = 0;
  private at = 0;

  constructor(file: InPlaceFile, { halfBytes, largestRecordBytes }: JournalShape, salt: number) {
    this.file = file;
    this.halfBytes = halfBytes;
    this.largestRecordBytes = largestRecordBytes;
    this.salt = salt;
    this.record = Buffer.alloc(padded(largestRecordBytes));
  }

  /** Whether a record of so many bytes has room in the half that is written. */
  fits(bytes: number): boolean {
    return this.at + padded(bytes) <= this.halfBytes;
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
    await this.file.write(record.subarray(0, end), sectorBytes + this.half * this.halfBytes + this.at);
    this.at += end;
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
