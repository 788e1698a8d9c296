/** What precedes the state machine's bytes in a snapshot: members and sessions, as `length u32 | JSON`. */
import { checkLevel } from "../levels.ts";
import type { Member } from "../transport/transport.ts";
import type { SessionsImage } from "./sessions.ts";

export interface SnapshotHead {
  readonly level: number;
  readonly members: readonly Member[];
  readonly sessions: SessionsImage;
  /** Made by bootstrap: there is no state yet, and the state machine is not asked to restore it. */
  readonly genesis: boolean;
}

export async function* withHead(
  head: SnapshotHead,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  yield Buffer.concat([length, json]);
  yield* body;
}

/** Reads the head off a snapshot; the rest is the state machine's. */
export async function splitHead(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ head: SnapshotHead; body: AsyncIterable<Uint8Array> }> {
  const source = chunks[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  const fill = async (size: number): Promise<void> => {
    while (start.length < size) {
      const next = await source.next();
      if (next.done === true) throw new Error("a snapshot ends within its head");
      start = Buffer.concat([start, next.value]);
    }
  };
  await fill(4);
  const end = 4 + start.readUInt32LE(0);
  await fill(end);
  const head = JSON.parse(start.toString("utf8", 4, end)) as SnapshotHead;
  checkLevel(head.level, "a snapshot");
  return { head, body: rest(start.subarray(end), source) };
}

async function* rest(start: Uint8Array, source: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  if (start.length > 0) yield start;
  for (let next = await source.next(); next.done !== true; next = await source.next()) yield next.value;
}

export async function* nothing(): AsyncGenerator<Uint8Array, void, void> {
  // A genesis snapshot has no body.
}
