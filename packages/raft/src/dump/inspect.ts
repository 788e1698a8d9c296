/**
 * Reads a member's directory, or an exported snapshot, and changes nothing of it. A member may run on it; it may be
 * damaged: what can be read is reported all the same, and what is damaged by name.
 */
import { createReadStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { errorText } from "@warren/std";
import { ClassicLevel } from "classic-level";

import { asV2, type Entry } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { readChange } from "../node/change-context.ts";
import { decodeProposal } from "../node/envelope.ts";
import { readExported } from "../node/exported-snapshot.ts";
import { splitHead } from "../node/snapshot-head.ts";
import type { KeyValue, KeyValueOp } from "../storage/disk.ts";
import { exists } from "../storage/files.ts";
import { parseJournal, type JournalRecord } from "../storage/journal.ts";
import { recordHeld } from "../storage/journaled-key-value.ts";
import { entryKey, identityKey, markerName, peerKeys, peerOf, stateKey } from "../storage/keys.ts";
import { openLevel } from "../storage/level.ts";
import type { IdentityRecord, State } from "../storage/log-storage.ts";
import { decodeEntry, unseal } from "../storage/record.ts";
import { headOf, readHead, verified } from "../storage/snapshot-files.ts";
import { copyLog } from "./copy.ts";
import type { EntryContent, Finding } from "./findings.ts";

export interface InspectOptions {
  /** Entries to report, by their index. @default all */
  readonly from?: number;
  readonly to?: number;
}

type Findings = AsyncGenerator<Finding, void, void>;

const writeBufferBytes = 4 * 1024 * 1024;

/** @throws Error if there is nothing to read at `path` */
export async function* inspect(path: string, options: InspectOptions = {}): Findings {
  if (!(await stat(path)).isDirectory()) {
    yield* inspectExported(path);
    return;
  }
  const names = await readdir(path);
  if (!["log", "journal", markerName].some((name) => names.includes(name))) {
    throw new Error(`${path} is no member's directory: it has no log; give the one that openFileDisk was given`);
  }
  const copy = await mkdtemp(join(tmpdir(), "warren-raft-dump-"));
  try {
    await copyLog(path, copy);
    yield* inspectCopy(path, copy, options);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function* inspectExported(path: string): Findings {
  try {
    const { head, body } = await readExported(createReadStream(path));
    yield { kind: "export", ...head };
    for await (const chunk of body) void chunk;
  } catch (error) {
    yield damage(error);
  }
}

async function* inspectCopy(path: string, copy: string, options: InspectOptions): Findings {
  const store = yield* openStore(join(copy, "log"));
  const newest: { index: number } = { index: 0 };
  if (store === undefined) {
    yield* inspectSnapshots(path, newest);
    return;
  }
  try {
    yield* replay(store, join(copy, "journal"));
    yield* inspectIdentity(store);
    const state = yield* inspectState(store, path);
    for await (const [key, value] of store.iterate(...peerKeys)) {
      const incarnation = unseal(value);
      if (typeof incarnation === "string") yield { kind: "peer", id: peerOf(key), incarnation };
      else yield { kind: "damage", what: `what is remembered of peer ${peerOf(key)} is damaged` };
    }
    yield* inspectSnapshots(path, newest);
    const compacted = state?.compacted.index ?? 0;
    if (newest.index < compacted) {
      yield { kind: "damage", what: `entries up to ${compacted} were compacted, and no snapshot holds them` };
    }
    yield* inspectEntries(store, state, options);
  } finally {
    await store.close();
  }
}

/** LevelDB as it is, or what its own repair can save of it. */
async function* openStore(location: string): AsyncGenerator<Finding, KeyValue | undefined, void> {
  try {
    if (!(await exists(join(location, "CURRENT")))) throw new Error("it has no CURRENT file");
    return await openLevel(location, writeBufferBytes);
  } catch (error) {
    yield {
      kind: "damage",
      what: `LevelDB does not open: ${errorText(error)}; what follows is what a repair saves of a copy`,
    };
  }
  try {
    await ClassicLevel.repair(location);
    return await openLevel(location, writeBufferBytes);
  } catch (error) {
    yield { kind: "damage", what: `LevelDB can't be repaired: ${errorText(error)}; no entry can be read` };
    return undefined;
  }
}

/** Brings the copy up to its journal. */
async function* replay(store: KeyValue, file: string): Findings {
  const known = recordHeld(store);
  const held = known ?? 0;
  if (!(await exists(file))) {
    if (known !== undefined)
      yield { kind: "damage", what: "the journal is gone: what was written last may be missing" };
    return;
  }
  let records: readonly JournalRecord[];
  try {
    ({ records } = parseJournal(await readFile(file)));
  } catch (error) {
    yield damage(error);
    return;
  }
  const [first] = records;
  const last = records.at(-1);
  const ahead = records.filter(({ number }) => number > held);
  const range =
    first === undefined || last === undefined
      ? undefined
      : { first: first.number, last: last.number, count: records.length };
  yield { kind: "journal", records: range, ahead: ahead.length };
  let next = held + 1;
  for (const { number } of ahead) {
    if (number > next) {
      const what = number === next + 1 ? `record ${next}` : `records ${next} to ${number - 1}`;
      yield {
        kind: "damage",
        what: `${what} of the journal can't be read, though later ones can; what they wrote is missing here`,
      };
    }
    next = number + 1;
  }
  const ops: KeyValueOp[] = ahead.flatMap((record) => record.ops);
  await store.batch(ops, { sync: false });
}

async function* inspectIdentity(store: KeyValue): Findings {
  const stored = store.get(identityKey);
  const found = stored === undefined ? undefined : (unseal(stored) as IdentityRecord | undefined);
  if (found !== undefined) {
    const { clusterId, nodeId, incarnation, level } = found;
    yield { kind: "identity", clusterId, nodeId, incarnation, level };
  } else {
    yield { kind: "damage", what: `the identity is ${stored === undefined ? "missing" : "damaged"}` };
  }
}

async function* inspectState(store: KeyValue, path: string): AsyncGenerator<Finding, State | undefined, void> {
  const stored = store.get(stateKey);
  const state = stored === undefined ? undefined : (unseal(stored) as State | undefined);
  if (state !== undefined) {
    const { term, vote, commit, compacted, last } = state;
    yield { kind: "state", term, vote, commit, compacted, last };
  } else if (stored !== undefined) {
    yield { kind: "damage", what: "the record of term, vote and commit is damaged" };
  }
  if (!(await exists(join(path, markerName)))) return state;
  // One that is torn says nothing, which is no damage: it is written without a sync.
  const marker = unseal(await readFile(join(path, markerName))) as { last: number } | undefined;
  if (marker !== undefined) yield { kind: "marker", last: marker.last };
  return state;
}

async function* inspectSnapshots(path: string, newest: { index: number }): Findings {
  const names = (await readdir(path)).sort();
  for (const name of names) {
    const index = headOf(name);
    if (index === undefined) {
      const listed = names.includes(name.replace(/\.body$/u, ".head"));
      if (name.startsWith("snapshot") && !(name.endsWith(".body") && listed)) yield { kind: "leftover", file: name };
      continue;
    }
    try {
      yield await readSnapshot(path, index);
      newest.index = Math.max(newest.index, index);
    } catch (error) {
      // A member that runs has removed it meanwhile, head first.
      if (await exists(join(path, name))) yield damage(error);
    }
  }
}

async function readSnapshot(path: string, index: number): Promise<Finding> {
  const stream = (name: string, chunkBytes: number): AsyncIterable<Uint8Array> =>
    createReadStream(join(path, name), { highWaterMark: chunkBytes });
  const file = readHead(index, await readFile(join(path, `snapshot-${index}.head`)));
  const { head, body } = await splitHead(verified({ stream }, file, {}));
  for await (const chunk of body) void chunk;
  const { members, sessions } = head;
  return { kind: "snapshot", ...file.metadata, bytes: file.bytes, members, sessions: sessions.sessions.length };
}

async function* inspectEntries(store: KeyValue, state: State | undefined, { from = 0, to }: InspectOptions): Findings {
  const first = (state?.compacted.index ?? 0) + 1;
  const last = state?.last ?? Number.MAX_SAFE_INTEGER - 1;
  let expected = state === undefined ? undefined : first;
  // Those below were compacted, and are not removed yet.
  for await (const [key, value] of store.iterate(entryKey(first), entryKey(Number.MAX_SAFE_INTEGER))) {
    const index = Buffer.from(key).readUInt32BE(1) * 2 ** 32 + Buffer.from(key).readUInt32BE(5);
    if (expected !== undefined && index > expected) yield missing(expected, index - 1);
    expected = index + 1;
    if (index > last) {
      yield { kind: "damage", what: `entry ${index} is behind the log's end, ${last}` };
      continue;
    }
    const entry = decodeEntry(value);
    if (entry?.index !== index) {
      yield { kind: "damage", what: `entry ${index} is damaged` };
      continue;
    }
    if (index < from || index > (to ?? index)) continue;
    const { term, type } = entry;
    yield { kind: "entry", index, term, type, committed: index <= (state?.commit ?? 0), content: contentOf(entry) };
  }
  if (state !== undefined && (expected ?? first) <= last) yield missing(expected ?? first, last);
}

function missing(first: number, last: number): Finding {
  return {
    kind: "damage",
    what: first === last ? `entry ${first} is missing` : `entries ${first} to ${last} are missing`,
  };
}

function contentOf(entry: Entry): EntryContent {
  // A copy: the iterator's buffer is shared by many records.
  const copied = { ...entry, data: Uint8Array.from(entry.data) };
  const { data } = copied;
  if (entry.type !== "EntryNormal") {
    const read = readChange(copied);
    if (read === undefined) return { kind: "unreadable", why: "no change that can be read", data };
    const { changes } = asV2(read.change);
    return { kind: "membership", changes, members: read.context?.members ?? [] };
  }
  if (data.length === 0) return { kind: "empty" };
  let decoded: ReturnType<typeof decodeProposal>;
  try {
    decoded = decodeProposal(data);
  } catch (error) {
    return { kind: "unreadable", why: errorText(error), data };
  }
  if (decoded === undefined) return { kind: "unreadable", why: "no proposal that can be read", data };
  const { ticket, proposal } = decoded;
  const proposer = ticket.origin;
  switch (proposal.kind) {
    case "command":
      return { kind: "command", proposer, data: proposal.data };
    case "register":
      return { kind: "open session", proposer, ttlMs: proposal.ttlMs };
    case "clock":
      return { kind: "clock", elapsedMs: proposal.elapsedMs };
    case "session": {
      const { session, number } = proposal;
      return { kind: "command in session", proposer, session, number, data: proposal.data };
    }
  }
}

function damage(error: unknown): Finding {
  // What to do about a member stands in these errors; here it is what is wrong that counts.
  const text = RaftError.is(error) ? error.message.split("; ")[0] : errorText(error);
  return { kind: "damage", what: text ?? errorText(error) };
}
