/**
 * Messages as bytes, laid by hand: the entries in them are the very bytes that go to disk.
 *
 * Level 1: `level u8`, then per message: `type u8 | flags u8 | to from term logTerm index commit vote rejectHint f64 ×8 |
 * context? (u32 + bytes) | snapshot metadata? (u32 + JSON) | count u32 | per entry: u32 + record`. Little endian.
 */
import {
  message,
  type Entry,
  type Message,
  type MessageType,
  type Snapshot,
  type SnapshotMetadata,
} from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { checkLevel } from "../levels.ts";
import { asBuffer, decodeEntry, encodeEntry, entryHeaderBytes } from "../storage/record.ts";

/** A type's place is its number on the wire: add at the end only. */
const types: readonly MessageType[] = [
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
const numbers = new Map(types.map((type, at) => [type, at]));
const fixedBytes = 2 + 8 * 8 + 4;
const flags = { reject: 1, context: 2, snapshot: 4 } as const;

/** Bytes of a message at level 1, but for a snapshot's metadata. */
export function messageBytes(m: Message): number {
  let size = fixedBytes + (m.context === undefined ? 0 : 4 + m.context.length);
  for (const { data } of m.entries) size += 4 + entryHeaderBytes + data.length;
  return size;
}

/** A frame of level 1. */
export function encodeMessages(messages: readonly Message[]): Buffer {
  const metadata = messages.map(({ snapshot }) => snapshot && Buffer.from(JSON.stringify(snapshot.metadata)));
  let size = 1;
  messages.forEach((m, at) => {
    size += fixedBytes;
    if (m.context !== undefined) size += 4 + m.context.length;
    if (metadata[at] !== undefined) size += 4 + metadata[at].length;
    for (const entry of m.entries) size += 4 + encodeEntry(entry).length;
  });
  const bytes = Buffer.allocUnsafe(size);
  bytes[0] = 1;
  let at = 1;
  const block = (content: Uint8Array): void => {
    at = bytes.writeUInt32LE(content.length, at);
    bytes.set(content, at);
    at += content.length;
  };
  messages.forEach((m, i) => {
    const snapshot = metadata[i];
    bytes[at++] = numbers.get(m.type) ?? invalid(`${m.type} is not for others`);
    bytes[at++] =
      (m.reject ? flags.reject : 0) | (m.context ? flags.context : 0) | (snapshot === undefined ? 0 : flags.snapshot);
    for (const n of [m.to, m.from, m.term, m.logTerm, m.index, m.commit, m.vote, m.rejectHint]) {
      at = bytes.writeDoubleLE(n, at);
    }
    if (m.context !== undefined) block(m.context);
    if (snapshot !== undefined) block(snapshot);
    at = bytes.writeUInt32LE(m.entries.length, at);
    for (const entry of m.entries) block(encodeEntry(entry));
  });
  return bytes;
}

/** @throws RaftError `RAFT_WIRE_INVALID`, `RAFT_LEVEL_UNREADABLE` */
export function decodeMessages(from: Uint8Array): Message[] {
  const bytes = asBuffer(from);
  checkLevel(bytes[0], "a frame");
  const messages: Message[] = [];
  let at = 1;
  const need = (count: number): void => {
    if (at + count > bytes.length) invalid("it is cut short");
  };
  const block = (): Buffer => {
    need(4);
    const length = bytes.readUInt32LE(at);
    at += 4;
    need(length);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    need(fixedBytes);
    const type = types[bytes[at] as number] ?? invalid(`message type ${bytes[at]} is unknown`);
    const bits = bytes[at + 1] as number;
    at += 2;
    const n: number[] = [];
    for (let i = 0; i < 8; i++, at += 8) n.push(bytes.readDoubleLE(at));
    if (!n.every(Number.isSafeInteger)) invalid("a number is not whole");
    const [to, sender, term, logTerm, index, commit, vote, rejectHint] = n as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const context = bits & flags.context ? block() : undefined;
    const snapshot = bits & flags.snapshot ? readSnapshot(block()) : undefined;
    need(4);
    const count = bytes.readUInt32LE(at);
    at += 4;
    const entries: Entry[] = [];
    for (let i = 0; i < count; i++) entries.push(decodeEntry(block()) ?? invalid("an entry's checksum is wrong"));
    const reject = (bits & flags.reject) !== 0;
    messages.push(
      message(type, {
        to,
        from: sender,
        term,
        logTerm,
        index,
        commit,
        vote,
        rejectHint,
        context,
        snapshot,
        entries,
        reject,
      }),
    );
  }
  return messages;
}

function readSnapshot(bytes: Buffer): Snapshot {
  return { metadata: JSON.parse(bytes.toString()) as SnapshotMetadata, data: new Uint8Array(0) };
}

function invalid(why: string): never {
  throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `a batch of messages can't be read: ${why}`);
}
