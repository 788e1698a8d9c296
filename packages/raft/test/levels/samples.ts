/** Something of each format at the present level, and what reading it gives: the fixtures are made of both. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { message, type Entry, type MessageType } from "../../src/core/index.ts";
import { decodeProposal, encodeProposal, type Proposal } from "../../src/node/envelope.ts";
import { splitHead, withHead } from "../../src/node/snapshot-head.ts";
import { openFileDisk, openLogStorage, type RaftStorage } from "../../src/index.ts";
import { decodeEntry, encodeEntry } from "../../src/storage/record.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

export interface Sample {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const data = Buffer.from("some bytes");
const confState = { voters: [1, 2], learners: [3], votersOutgoing: [1], learnersNext: [], autoLeave: true };
const metadata = { index: 7, term: 2, confState };
const entries: Entry[] = [
  { term: 3, index: 8, type: "EntryNormal", data },
  { term: 3, index: 9, type: "EntryConfChange", data: Buffer.alloc(0) },
  { term: 2 ** 40, index: 2 ** 41, type: "EntryConfChangeV2", data: Buffer.alloc(1) },
];
const messageTypes: readonly MessageType[] = [
  "MsgProp",
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
];
const proposals: readonly Proposal[] = [
  { kind: "command", data },
  { kind: "register", ttlMs: 1_000 },
  { kind: "session", session: 5, number: 2, acknowledged: 1, data },
  { kind: "clock", elapsedMs: 250 },
];
const snapshotHead = {
  level: 1,
  members: [{ id: 1, address: "a:1" }],
  sessions: {
    nowMs: 5,
    sessions: [{ id: 4, ttlMs: 10, usedMs: 1, acknowledged: 1, results: [[2, "AAE="] as const, [3, null] as const] }],
  },
  genesis: false,
};

async function* chunksOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  yield* chunks;
}

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

const identity = { clusterId: "fixture", nodeId: 1, newIncarnation: () => "the first" };

/** A member that works in a directory: some of what it wrote is in the journal alone. */
async function openDirectory(directory: string): Promise<RaftStorage> {
  const storage = await openLogStorage(await openFileDisk(directory), identity);
  await storage.saveSnapshot(metadata, withHead(snapshotHead, chunksOf(data)));
  await storage.installSnapshot(metadata, { term: 2, vote: 1, commit: 7 });
  await storage.write({ hardState: { term: 3, vote: 2, commit: 7 }, entries: entries.slice(0, 2) });
  await storage.rememberPeer(2, "another");
  return storage;
}

/** The present samples. Files of a directory have names that begin with `directory/`, LevelDB's `directory/log/`. */
export async function makeSamples(): Promise<Sample[]> {
  const messages = messageTypes.map((type, at) => {
    const numbers = { to: 1, from: 2, term: 3 + at, logTerm: 4, index: 5, commit: 6, vote: 7, rejectHint: 8 };
    return message(type, {
      ...numbers,
      reject: at % 2 === 1,
      context: at % 3 === 0 ? data : undefined,
      snapshot: type === "MsgSnap" ? { metadata, data: new Uint8Array(0) } : undefined,
      entries: type === "MsgApp" || type === "MsgProp" ? entries : [],
    });
  });
  const samples: Sample[] = [
    { name: "frame", bytes: encodeMessages(messages) },
    ...entries.map((entry) => ({ name: `entry-${entry.type}`, bytes: encodeEntry(entry) })),
    ...proposals.map((proposal) => ({
      name: `proposal-${proposal.kind}`,
      bytes: encodeProposal({ origin: 1, boot: 2, sequence: 3 }, proposal),
    })),
    { name: "snapshot", bytes: await gather(withHead(snapshotHead, chunksOf(data))) },
  ];
  const directory = await mkdtemp(join(tmpdir(), "raft-samples-"));
  try {
    const storage = await openDirectory(directory);
    // As a kill leaves it.
    for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
      if (!file.isFile() || file.name === "LOCK" || file.name.startsWith("LOG")) continue;
      const path = join(file.parentPath, file.name);
      const bytes = await readFile(path);
      if (bytes.length > 0) samples.push({ name: `directory${path.slice(directory.length)}`, bytes });
    }
    await storage.close();
  } finally {
    await rm(directory, { recursive: true });
  }
  return samples;
}

/** What a sample says, as data. */
export async function readSample({ name, bytes }: Sample): Promise<unknown> {
  if (name === "frame") return decodeMessages(bytes);
  if (name.startsWith("entry-")) return decodeEntry(bytes);
  if (name.startsWith("proposal-")) return decodeProposal(bytes);
  const { head, body } = await splitHead(chunksOf(bytes));
  return { head, body: (await gather(body)).toString() };
}

/** What a member finds in a directory. */
export async function readDirectory(directory: string): Promise<unknown> {
  const storage = await openLogStorage(await openFileDisk(directory), identity);
  const snapshot = storage.openSnapshot(7);
  const { head, body } = await splitHead(snapshot.chunks);
  const found = {
    identity: storage.identity,
    state: storage.initialState(),
    entries: storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Number.POSITIVE_INFINITY),
    snapshots: storage.snapshots(),
    snapshot: { head, body: (await gather(body)).toString() },
    knowsPeer: await storage.rememberPeer(2, "another"),
    takesAnotherForIt: await storage.rememberPeer(2, "an impostor"),
  };
  await storage.close();
  return found;
}

/** Data as text that can be compared: bytes are base64. */
export function asJson(value: unknown): string {
  // A Buffer has a form of its own in JSON, taken before a replacer sees it.
  const plain = (its: unknown): unknown => {
    if (ArrayBuffer.isView(its)) return Buffer.from(its.buffer, its.byteOffset, its.byteLength).toString("base64");
    if (Array.isArray(its)) return its.map(plain);
    if (its === null || typeof its !== "object") return its;
    return Object.fromEntries(Object.entries(its).map(([key, one]) => [key, plain(one)]));
  };
  return `${JSON.stringify(plain(value), undefined, 1)}\n`;
}
