/** Snapshots: a header, then every object, each message after its length as a varint. */
import { StoreSnapshotChunk } from "@warren/api";

import { damaged } from "./errors.ts";
import { frozen } from "./frozen.ts";
import { checkProgramLevel, type Program } from "./level.ts";
import { storeObject, type Schema } from "./schema.ts";
import { interned } from "./intern.ts";
import { State } from "./state.ts";

/** Bytes of one chunk: large enough to be written efficiently, small enough not to block the event loop. */
const chunkBytes = 64 * 1024;

/** Far above any stored object: a greater length means that the snapshot is damaged. */
const maxMessageBytes = 64 * 1024 * 1024;

/** The state in chunks. The state is immutable, so later commands do not appear in it, however slowly it is read. */
// oxlint-disable-next-line typescript/require-await -- the shape that consensus takes
export async function* writeSnapshot(state: State): AsyncGenerator<Uint8Array, void, void> {
  const objects = [...state.tables()].reduce((sum, { size }) => sum + size, 0);
  const header = { level: state.level, version: state.version, objects, reigns: [...state.reigns] };
  let parts: Uint8Array[] = [framed({ part: { $case: "header", value: header } })];
  let bytes = 0;
  for (const table of state.tables()) {
    for (const object of table.values()) {
      const part = framed({ part: { $case: "object", value: storeObject(table.definition, object) } });
      parts.push(part);
      bytes += part.length;
      if (bytes < chunkBytes) continue;
      yield Buffer.concat(parts);
      parts = [];
      bytes = 0;
    }
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}

/** @throws StoreError `STORE_LEVEL_REFUSED`, `STORE_DAMAGED`, and whatever `chunks` throws */
export async function readSnapshot(
  chunks: AsyncIterable<Uint8Array>,
  program: Program & { readonly schema: Schema },
): Promise<State> {
  const { schema } = program;
  let state: State | undefined;
  let left = 0;
  for await (const bytes of messages(chunks)) {
    const { part } = decode(bytes);
    if (state === undefined) {
      if (part?.$case !== "header") throw damaged("it does not begin with a header", undefined, "snapshot");
      checkProgramLevel(program, part.value.level);
      state = State.empty(schema, part.value.version, frozen(part.value.reigns));
      left = part.value.objects;
      continue;
    }
    if (part?.$case !== "object") throw damaged("it has a part that is not an object", undefined, "snapshot");
    const { table, object } = schema.read(part.value);
    state.own(table).put(interned(object, state.like(table, object), state.pool));
    left -= 1;
  }
  if (state === undefined) throw damaged("it is empty", undefined, "snapshot");
  if (left !== 0) throw damaged(`objects are ${left > 0 ? "missing" : "left over"}`, undefined, "snapshot");
  return state;
}

function framed(chunk: StoreSnapshotChunk): Uint8Array {
  const body = StoreSnapshotChunk.encode(chunk).finish();
  const head: number[] = [];
  for (let rest = body.length; ; rest >>>= 7) {
    if (rest < 0x80) {
      head.push(rest);
      break;
    }
    head.push((rest & 0x7f) | 0x80);
  }
  return Buffer.concat([Uint8Array.from(head), body]);
}

function decode(bytes: Uint8Array): StoreSnapshotChunk {
  try {
    return StoreSnapshotChunk.decode(bytes);
  } catch (cause) {
    throw damaged("a message can't be read", cause, "snapshot");
  }
}

/** The messages of a stream, whose chunks may begin and end anywhere. */
async function* messages(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let at = 0;
    for (;;) {
      const length = readLength(rest, at);
      if (length === undefined || rest.length < length.end + length.value) break;
      yield rest.subarray(length.end, length.end + length.value);
      at = length.end + length.value;
    }
    rest = rest.subarray(at);
  }
  if (rest.length > 0) throw damaged("it ends within an object", undefined, "snapshot");
}

function readLength(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let at = start, scale = 1; at < bytes.length; at++, scale *= 0x80) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (value > maxMessageBytes) throw damaged("a length is beyond any object's", undefined, "snapshot");
    if (byte < 0x80) return { value, end: at + 1 };
  }
  return undefined;
}
