/** Damage to what a disk holds, each so that the storage must notice it. */
import { crc32 } from "node:zlib";

import type { Random } from "@warren/std";

import { sectorBytes } from "../../storage/journal.ts";
import type { SimulatedFiles } from "./files.ts";
import { entryKey, journalHeadBytes, LogImage, type JournalRecord, type LogState } from "./log-image.ts";
import type { SimulatedStore } from "./store.ts";

export type Damage =
  | "entry-flipped"
  | "entry-lost"
  | "state-flipped"
  | "tail-lost"
  | "snapshot-flipped"
  | "journal-head-flipped"
  | "journal-lost";

export const damages: readonly Damage[] = [
  "entry-flipped",
  "entry-lost",
  "state-flipped",
  "tail-lost",
  "snapshot-flipped",
  "journal-head-flipped",
  "journal-lost",
];

export interface DamagedParts {
  readonly store: SimulatedStore;
  readonly files: SimulatedFiles;
  readonly random: Random;
}

/** Damages what is read, not what is known as durable; false if there is nothing to damage so. */
export function damage(kind: Damage, parts: DamagedParts): boolean {
  const { store, files, random } = parts;
  const journal = files.find("journal");
  const image = new LogImage(store.pairs, journal?.data);
  const { compacted, last } = image.state();
  const index = compacted.index + 1 + random.int(Math.max(1, last - compacted.index));
  switch (kind) {
    case "entry-flipped":
      return index <= last && flipPair(entryKey(index), image, parts);
    case "entry-lost":
      // In the journal an entry is lost with its record.
      if (index > last) return false;
      return image.recordOf(entryKey(index)) === undefined
        ? store.pairs.delete(entryKey(index))
        : loseRecord(image.recordOf(entryKey(index)), image, parts);
    case "state-flipped":
      return flipPair("s", image, parts);
    case "tail-lost":
      return loseTail(image, parts);
    case "snapshot-flipped":
      return flipSnapshot(last, parts);
    case "journal-head-flipped":
      if (journal === undefined) return false;
      journal.data = flipped(journal.data, random.int(8 * journalHeadBytes(journal.data)));
      return true;
    case "journal-lost":
      // Before the store knows of it, it is laid out again.
      if (journal === undefined || !store.pairs.has("j")) return false;
      files.remove("journal");
      return true;
  }
}

function flipPair(key: string, image: LogImage, { store, files, random }: DamagedParts): boolean {
  const record = image.recordOf(key);
  if (record === undefined) {
    const value = store.pairs.get(key);
    if (value === undefined) return false;
    store.pairs.set(key, flipped(value, random.int(value.length * 8)));
    return true;
  }
  if (isLast(record, image)) return false;
  const journal = files.open("journal");
  journal.data = flipped(journal.data, 8 * record.position + random.int(8 * record.length));
  return true;
}

function loseRecord(record: JournalRecord | undefined, image: LogImage, { files }: DamagedParts): boolean {
  if (record === undefined || isLast(record, image)) return false;
  wipeRecord(record, files);
  return true;
}

/** The last record, damaged, looks the same as one whose write never finished. */
function isLast({ number }: JournalRecord, image: LogImage): boolean {
  return image.needed().at(-1)?.number === number;
}

/** The log's last entries vanish with the record that named them; the marker file still does. */
function loseTail(image: LogImage, { store, files }: DamagedParts): boolean {
  const marker = files.find("tail")?.data;
  const state = image.state();
  if (marker === undefined || marker.length < 4 || state.last <= state.compacted.index) return false;
  if (crc32(marker.subarray(4)) !== marker.readUInt32LE(0)) return false;
  const named = (JSON.parse(marker.toString("utf8", 4)) as { last: number }).last;
  if (image.recordOf("s") === undefined) {
    if (named < state.last) return false;
    store.pairs.delete(entryKey(state.last));
    store.pairs.set("s", sealed({ ...state, last: state.last - 1 }));
    return true;
  }
  const records = image.needed();
  const from = records.findLastIndex(({ pairs }) => pairs.some(([key]) => key.startsWith("e")));
  if (from < 0) return false;
  const journal = files.open("journal");
  const whole = journal.data;
  for (const record of records.slice(from)) wipeRecord(record, files);
  if (new LogImage(store.pairs, journal.data).state().last < named) return true;
  // The marker is older than the record, so the loss would go unnoticed.
  journal.data = whole;
  return false;
}

function wipeRecord({ position, length }: JournalRecord, files: SimulatedFiles): void {
  const journal = files.open("journal");
  const end = position + Math.ceil(length / sectorBytes) * sectorBytes;
  journal.data = Buffer.from(journal.data).fill(0, position, end);
}

function flipSnapshot(last: number, { files, random }: DamagedParts): boolean {
  const bodies = files.list().filter((name) => name.endsWith(".body"));
  const indexes = bodies.map((name) => Number(/\d+/u.exec(name)?.[0] ?? 0));
  // One beyond the log came and was never installed: it is dropped unread.
  const reached = Math.max(...indexes.filter((one) => one <= last), 0);
  const newest = files.find(`snapshot-${reached}.body`);
  if (newest === undefined || files.find(`snapshot-${reached}.head`) === undefined) return false;
  newest.data = flipped(newest.data, random.int(newest.data.length * 8));
  return true;
}

function sealed(state: LogState): Buffer {
  const body = Buffer.from(JSON.stringify(state));
  const record = Buffer.alloc(4 + body.length);
  record.writeUInt32LE(crc32(body), 0);
  body.copy(record, 4);
  return record;
}

function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}
