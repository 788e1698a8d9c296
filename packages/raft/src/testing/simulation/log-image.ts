/**
 * What a log's disk holds: the pairs of its store under the records of its journal. Decoded apart from the storage, whose
 * word for it is compared with this.
 */
import { crc32 } from "node:zlib";

import type { HardState } from "../../core/index.ts";
import { sectorBytes } from "../../storage/journal.ts";

/** A record of the journal that its store does not hold yet. */
export interface JournalRecord {
  readonly number: number;
  /** Where it begins, and how long it is, bytes. */
  readonly position: number;
  readonly length: number;
  /** By key; `undefined`: it is removed. */
  readonly pairs: readonly (readonly [key: string, value: Uint8Array | undefined])[];
}

/** The state record of a log. */
export interface LogState extends HardState {
  readonly compacted: { readonly index: number; readonly term: number };
  readonly last: number;
}

const emptyState: LogState = { term: 0, vote: 0, commit: 0, compacted: { index: 0, term: 0 }, last: 0 };
const headBytes = 16;
const removed = 2 ** 32 - 1;
/** The store's pair with the number of the last record that it holds. */
const heldKey = "j";
const stateKey = "s";

export class LogImage {
  private readonly pairs: ReadonlyMap<string, Uint8Array>;
  /** By the position of each. */
  private readonly records = new Map<number, JournalRecord>();
  /** By key: the last of the records that hold it. */
  private readonly newest = new Map<
    string,
    { readonly record: JournalRecord; readonly value: Uint8Array | undefined }
  >();
  private held = 0;
  private decoded: { readonly bytes: Uint8Array; readonly state: LogState } | undefined;

  /** Follows `pairs` if it is called of their changes, and the journal if it is called of writes. */
  constructor(pairs: ReadonlyMap<string, Uint8Array>, journal?: Buffer) {
    this.pairs = pairs;
    if (journal !== undefined) for (const record of recordsOf(journal)) this.records.set(record.position, record);
    this.held = this.readHeld();
    this.rebuild();
  }

  get(key: string): Uint8Array | undefined {
    const found = this.newest.get(key);
    return found === undefined ? this.pairs.get(key) : found.value;
  }

  /** The record that `get` reads; `undefined` if that is the store. */
  recordOf(key: string): JournalRecord | undefined {
    return this.newest.get(key)?.record;
  }

  /** Those that the store does not hold, in order. */
  needed(): JournalRecord[] {
    return [...this.records.values()].filter(({ number }) => number > this.held).sort((a, b) => a.number - b.number);
  }

  state(): LogState {
    const bytes = this.get(stateKey);
    if (bytes === undefined) return emptyState;
    if (this.decoded?.bytes !== bytes) {
      this.decoded = { bytes, state: JSON.parse(Buffer.from(bytes).toString("utf8", 4)) as LogState };
    }
    return this.decoded.state;
  }

  /** The term of an entry, if it is within the log; what was compacted counts as held. */
  term(index: number): number | "compacted" | undefined {
    const { compacted, last } = this.state();
    if (index <= compacted.index) return "compacted";
    const record = index > last ? undefined : this.get(entryKey(index));
    return record === undefined
      ? undefined
      : new DataView(record.buffer, record.byteOffset, record.byteLength).getFloat64(5, true);
  }

  /** A record was written to the journal. */
  wrote(bytes: Uint8Array, position: number): void {
    let lost = false;
    for (let at = position; at < position + bytes.length; at += sectorBytes) {
      lost ||= (this.records.get(at)?.number ?? 0) > this.held;
      this.records.delete(at);
    }
    const record = decode(Buffer.from(bytes), position);
    this.records.set(position, record);
    if (lost) this.rebuild();
    else this.add(record);
  }

  /** The store's pairs changed. */
  storeChanged(): void {
    const held = this.readHeld();
    if (held === this.held) return;
    this.held = held;
    for (const [key, { record }] of this.newest) if (record.number <= held) this.newest.delete(key);
  }

  private rebuild(): void {
    this.newest.clear();
    for (const record of this.needed()) this.add(record);
  }

  private add(record: JournalRecord): void {
    for (const [key, value] of record.pairs) this.newest.set(key, { record, value });
  }

  private readHeld(): number {
    const held = this.pairs.get(heldKey);
    return held === undefined ? 0 : Buffer.from(held).readDoubleLE();
  }
}

/** The whole records of a journal. */
function recordsOf(journal: Buffer): JournalRecord[] {
  const salt = saltOf(journal);
  if (salt === undefined) return [];
  const half = (journal.length - sectorBytes) / 2;
  const found: JournalRecord[] = [];
  for (let at = sectorBytes; at < journal.length;) {
    const end = at < sectorBytes + half ? sectorBytes + half : journal.length;
    const length = journal.readUInt32LE(at + 4);
    const whole = length >= headBytes && at + length <= end;
    if (whole && crc32(journal.subarray(at + 4, at + length), salt) === journal.readUInt32LE(at)) {
      found.push(decode(Buffer.from(journal.subarray(at, at + length)), at));
      at += Math.ceil(length / sectorBytes) * sectorBytes;
    } else {
      at += sectorBytes;
    }
  }
  return found;
}

function saltOf(journal: Buffer): number | undefined {
  const head = journal.subarray(4, journal.indexOf(0, 4));
  if (journal.length < sectorBytes || crc32(head) !== journal.readUInt32LE(0)) return undefined;
  return (JSON.parse(head.toString()) as { salt: number }).salt;
}

/** How much of the journal its head takes, bytes. */
export function journalHeadBytes(journal: Buffer): number {
  return journal.indexOf(0, 4);
}

function decode(bytes: Buffer, position: number): JournalRecord {
  const length = bytes.readUInt32LE(4);
  const pairs: [string, Uint8Array | undefined][] = [];
  for (let at = headBytes; at < length;) {
    const valueAt = at + 6 + bytes.readUInt16LE(at);
    const valueLength = bytes.readUInt32LE(at + 2);
    const key = bytes.toString("latin1", at + 6, valueAt);
    at = valueLength === removed ? valueAt : valueAt + valueLength;
    pairs.push([key, valueLength === removed ? undefined : bytes.subarray(valueAt, at)]);
  }
  return { number: bytes.readDoubleLE(8), position, length, pairs };
}

/** The key of a log entry. */
export function entryKey(index: number): string {
  return String.fromCharCode(
    0x65,
    0,
    0,
    0,
    0,
    (index >>> 24) & 255,
    (index >>> 16) & 255,
    (index >>> 8) & 255,
    index & 255,
  );
}
