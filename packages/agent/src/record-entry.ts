/**
 * One entry of the local record as it is on disk: `level (1 byte) | CRC-32 (4 bytes) | body`.
 *
 * The checksum covers key, level and body, so that an entry that is damaged, cut short or under another key is
 * detected. Pure.
 */
import { crc32 } from "node:zlib";

const headBytes = 5;

export type OpenedEntry =
  | { readonly kind: "entry"; readonly level: number; readonly body: Uint8Array; readonly sum: number }
  | { readonly kind: "damaged" };

export function sealEntry(
  key: string,
  level: number,
  body: Uint8Array,
): { readonly bytes: Buffer; readonly sum: number } {
  const sum = checksum(key, level, body);
  const bytes = Buffer.alloc(headBytes + body.length);
  bytes.writeUInt8(level, 0);
  bytes.writeUInt32BE(sum, 1);
  bytes.set(body, headBytes);
  return { bytes, sum };
}

export function openEntry(key: string, bytes: Uint8Array): OpenedEntry {
  if (bytes.length < headBytes) return { kind: "damaged" };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const level = view.readUInt8(0);
  const sum = view.readUInt32BE(1);
  const body = view.subarray(headBytes);
  return checksum(key, level, body) === sum ? { kind: "entry", level, body, sum } : { kind: "damaged" };
}

function checksum(key: string, level: number, body: Uint8Array): number {
  return crc32(body, crc32(Buffer.from([level]), crc32(`${key}\0`)));
}

/** A sum over all entries, in any order: it differs if an entry is missing or older than the rest. */
export class EntrySum {
  count: number = 0;
  sum: number = 0;

  add(sum: number): void {
    this.count += 1;
    this.sum = (this.sum + sum) % 2 ** 32;
  }

  remove(sum: number): void {
    this.count -= 1;
    this.sum = (this.sum - sum + 2 ** 32) % 2 ** 32;
  }
}
