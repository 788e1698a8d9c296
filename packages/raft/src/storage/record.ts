/**
 * Bytes with a checksum: an entry as it lies on disk and travels on the wire, and small sealed blobs.
 *
 * Entry: `crc32 u32 | type u8 | term f64 | index f64 | data`, little endian; the checksum covers all after it.
 */
import { crc32 } from "node:zlib";

import type { Entry, EntryType } from "../core/index.ts";

const entryTypes: readonly EntryType[] = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"];
/** Bytes before an entry's data. */
export const entryHeaderBytes = 21;

/** An entry is encoded once; disk and every peer get the same bytes. */
const encoded = new WeakMap<Entry, Buffer>();

export function encodeEntry(entry: Entry): Buffer {
  const known = encoded.get(entry);
  if (known !== undefined) return known;
  const record = Buffer.allocUnsafe(entryHeaderBytes + entry.data.length);
  record[4] = entryTypes.indexOf(entry.type);
  record.writeDoubleLE(entry.term, 5);
  record.writeDoubleLE(entry.index, 13);
  record.set(entry.data, entryHeaderBytes);
  record.writeUInt32LE(crc32(record.subarray(4)), 0);
  encoded.set(entry, record);
  return record;
}

/** The entry in a record; `undefined` if the record is damaged. The entry's data is part of the record. */
export function decodeEntry(bytes: Uint8Array): Entry | undefined {
  const record = asBuffer(bytes);
  if (record.length < entryHeaderBytes || crc32(record.subarray(4)) !== record.readUInt32LE(0)) return undefined;
  const type = entryTypes[record[4] as number];
  if (type === undefined) return undefined;
  const data = record.subarray(entryHeaderBytes);
  const entry: Entry = { term: record.readDoubleLE(5), index: record.readDoubleLE(13), type, data };
  encoded.set(entry, record);
  return entry;
}

/** A value as JSON behind a checksum. */
export function seal(value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(value));
  const sealed = Buffer.allocUnsafe(4 + body.length);
  sealed.writeUInt32LE(crc32(body), 0);
  sealed.set(body, 4);
  return sealed;
}

/** What was sealed; `undefined` if the bytes are damaged. */
export function unseal(bytes: Uint8Array): unknown {
  const sealed = asBuffer(bytes);
  if (sealed.length < 4 || crc32(sealed.subarray(4)) !== sealed.readUInt32LE(0)) return undefined;
  return JSON.parse(sealed.toString("utf8", 4)) as unknown;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
