/** Sizes of entries, as the limits of `Config` count them: the length of their protobuf encoding, or of their payload. */
import { varintSize } from "@warren/std";
import type { Entry } from "./types.ts";

/** Encoded bytes of one entry. */
export function entrySize(entry: Entry): number {
  const length = entry.data.length;
  return (
    2 +
    varintSize(entry.term) +
    varintSize(entry.index) +
    (entry.type === "EntryNormal" ? 0 : 2) +
    (length === 0 ? 0 : 1 + varintSize(length) + length)
  );
}

/** Encoded bytes of all entries. */
export function entriesSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entrySize(entry);
  return size;
}

/** Payload bytes of all entries; an entry without data counts nothing. */
export function payloadsSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entry.data.length;
  return size;
}

/** How many of `entries` from `from` on, before `to`, fit in `maxSize` encoded bytes; at least one if there are any. */
export function countWithin(entries: readonly Entry[], from: number, to: number, maxSize: number): number {
  let size = 0;
  for (let at = from; at < to; at++) {
    size += entrySize(entries[at] as Entry);
    if (size > maxSize && at > from) return at - from;
  }
  return to - from;
}
