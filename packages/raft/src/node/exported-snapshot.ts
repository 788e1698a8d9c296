/**
 * A snapshot as a file of its own, to keep or to carry elsewhere: two lines of text that say what it is, their checksum
 * as a third, and the snapshot's bytes as members store and send them.
 *
 *     snapshot of a group of @warren/raft
 *     {"level":1,"clusterId":"example","index":512,"term":3,"confState":{…},"takenMs":…,"bytes":20480,"checksum":…}
 *     1c291ca3
 *
 * A program reads it if `level` is within its range. `checksum` is the crc32 of the bytes that follow.
 */
import { crc32 } from "node:zlib";

import { None, type ConfState, type SnapshotMetadata } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { checkLevel } from "../levels.ts";
import type { RaftStorage, SnapshotReader } from "../storage/index.ts";
import type { Member } from "../transport/transport.ts";
import { aloneAmong, checkNewGroup } from "./new-group.ts";
import { splitHead, withHead } from "./snapshot-head.ts";

const title = "snapshot of a group of @warren/raft";
/** A head names members, not state; one that is longer is none. */
const maxHeadBytes = 16 * 1024 * 1024;

/** What an exported snapshot says of itself. */
export interface ExportedHead {
  /** The level that was active in the group; see `levels`. */
  readonly level: number;
  readonly clusterId: string;
  /** The log entry that the state is at. */
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  /** When it was exported, by the wall clock, ms since 1970. */
  readonly takenMs: number;
  /** Of what follows the head. */
  readonly bytes: number;
  /** crc32 of what follows the head. */
  readonly checksum: number;
}

export interface ExportedSnapshot {
  readonly head: ExportedHead;
  /** The whole file, head included. Throws `RAFT_SNAPSHOT_CORRUPT`, before its end, if the disk gives other bytes than were stored. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

export function exportedSnapshot(
  { metadata, bytes, checksum, chunks }: SnapshotReader,
  origin: Pick<ExportedHead, "level" | "clusterId" | "takenMs">,
): ExportedSnapshot {
  const head: ExportedHead = { ...origin, ...metadata, bytes, checksum };
  const lines = Buffer.from(`${title}\n${JSON.stringify(head)}\n`);
  async function* file(): AsyncGenerator<Uint8Array, void, void> {
    yield Buffer.concat([lines, Buffer.from(`${crc32(lines).toString(16).padStart(8, "0")}\n`)]);
    yield* chunks;
  }
  return { head, chunks: file() };
}

/**
 * Reads an exported snapshot's head, and the rest as it is read: `body` throws before its end if it is damaged.
 * @throws RaftError `RAFT_EXPORT_INVALID`, `RAFT_LEVEL_UNREADABLE`
 */
export async function readExported(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly head: ExportedHead; readonly body: AsyncIterable<Uint8Array> }> {
  const source = chunks[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  /** Where the line ends that begins at `from`. */
  const lineEnd = async (from: number): Promise<number> => {
    for (;;) {
      const end = start.indexOf("\n", from);
      if (end !== -1) return end;
      if (start.length > maxHeadBytes) throw invalid("its head is too long");
      const next = await source.next();
      if (next.done === true) throw invalid("it ends within its head");
      start = Buffer.concat([start, next.value]);
      if (!start.subarray(0, title.length).equals(Buffer.from(title).subarray(0, start.length))) throw notOne();
    }
  };
  const titleEnd = await lineEnd(0);
  if (titleEnd !== title.length) throw notOne();
  const headEnd = await lineEnd(titleEnd + 1);
  const sumEnd = await lineEnd(headEnd + 1);
  const sum = Number.parseInt(start.toString("utf8", headEnd + 1, sumEnd), 16);
  if (crc32(start.subarray(0, headEnd + 1)) !== sum) throw invalid("its head is damaged");
  const head = JSON.parse(start.toString("utf8", titleEnd + 1, headEnd)) as ExportedHead;
  checkLevel(head.level, "the exported snapshot");
  return { head, body: verified(head, start.subarray(sumEnd + 1), source) };
}

async function* verified(
  { bytes, checksum }: ExportedHead,
  start: Uint8Array,
  source: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  let read = 0;
  let sum = 0;
  // The last chunk is held back until the checksum is verified, so that a damaged snapshot is never read to its end.
  let held = start;
  for (let next = await source.next(); ; next = await source.next()) {
    read += held.length;
    sum = crc32(held, sum);
    if (next.done === true) break;
    if (held.length > 0) yield held;
    held = next.value;
  }
  if (read !== bytes) throw invalid(`it has ${read} bytes behind its head, which names ${bytes}`);
  if (sum !== checksum) throw invalid("its bytes are not those that were exported");
  if (held.length > 0) yield held;
}

/** Reads an exported snapshot to its end; its head, if all of it is sound. @throws as `importSnapshot` */
export async function verifySnapshot(chunks: AsyncIterable<Uint8Array>): Promise<ExportedHead> {
  const { head, body } = await readExported(chunks);
  const { body: state } = await splitHead(body);
  for await (const chunk of state) void chunk;
  return head;
}

export interface Import {
  /** The file, from its first byte. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** The members of the new group; the one whose storage it is leads, the others start empty, with `join`. */
  readonly members: readonly Member[];
  /** Read all of the file and report what would happen; change nothing. @default false */
  readonly dryRun?: boolean;
}

export interface ImportReport {
  readonly head: ExportedHead;
  /** The new group's first configuration. */
  readonly after: ConfState;
}

/**
 * Makes an exported snapshot the beginning of a new group, in an empty storage that no member runs on, and closes the
 * storage; then start a member on it. The storage's cluster id is another than the old group's, so that members of that
 * one can't come in. Sessions go on. All or nothing is changed.
 * @throws RaftError `RAFT_ARGUMENT_INVALID`, `RAFT_EXPORT_INVALID`, `RAFT_LEVEL_UNREADABLE`, `RAFT_STORAGE_FAILED`
 */
export async function importSnapshot(
  { storage }: { readonly storage: RaftStorage },
  { chunks, members, dryRun = false }: Import,
): Promise<ImportReport> {
  try {
    const { nodeId, clusterId } = storage.identity;
    if (storage.lastIndex() > 0 || storage.snapshots().length > 0) {
      const text = "the snapshot is not imported: the storage is not empty; give a new directory";
      throw new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "storage" }, text);
    }
    const { head, body } = await readExported(chunks);
    checkNewGroup({ members, clusterId, nodeId, old: head.clusterId });
    const { head: inside, body: state } = await splitHead(body);
    const after = aloneAmong(members, nodeId);
    if (dryRun) {
      for await (const chunk of state) void chunk;
    } else {
      const metadata: SnapshotMetadata = { index: head.index + 1, term: head.term + 1, confState: after };
      await storage.raiseLevel(head.level);
      await storage.saveSnapshot(metadata, withHead({ ...inside, members }, state));
      await storage.installSnapshot(metadata, { term: metadata.term, vote: None, commit: metadata.index });
    }
    return { head, after };
  } finally {
    await storage.close();
  }
}

function invalid(why: string): RaftError {
  const text = `the exported snapshot can't be used: ${why}; take another copy of it, or another export`;
  return new RaftError({ code: "RAFT_EXPORT_INVALID", why }, text);
}

function notOne(): RaftError {
  const why = "it does not begin as one does";
  const text = "the file is no exported snapshot: it does not begin as one does; give a file that exportSnapshot made";
  return new RaftError({ code: "RAFT_EXPORT_INVALID", why }, text);
}
