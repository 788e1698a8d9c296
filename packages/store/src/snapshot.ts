/** Snapshots: a header, then every object, each message after its length as a varint. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { StoreSnapshotChunk } from "@warren/api";

import { damaged } from "./errors.ts";
import { frozen } from "./frozen.ts";
import { checkProgramLevel, type Program } from "./level.ts";
import { writeStoreObject, type Schema } from "./schema.ts";
import { interned } from "./intern.ts";
import { State, type UnknownFields } from "./state.ts";
import type { StoredObject, TableDefinition } from "./tables.ts";

/** Bytes of one chunk: large enough to be written efficiently, small enough not to block the event loop. */
const chunkBytes = 64 * 1024;

/** Of `object` in StoreSnapshotChunk. */
const objectTag = (2 << 3) | WireType.LengthDelimited;

/** Objects between two checks of how much was written: few, since each may be as large as a command. */
const objectsPerPart = 8;

/** Far above any stored object: a greater length means that the snapshot is damaged. */
const maxMessageBytes = 64 * 1024 * 1024;

/** The state in chunks. The state is immutable, so later commands do not appear in it, however slowly it is read. */
// oxlint-disable-next-line typescript/require-await -- the shape that consensus takes
export async function* writeSnapshot(state: State): AsyncGenerator<Uint8Array, void, void> {
  // One writer for all objects: it keeps its buffer, and a fork writes a message after its length.
  const writer = new BinaryWriter();
  const objects = [...state.tables()].reduce((sum, { size }) => sum + size, 0);
  const { level, version, reigns, unknownFields: _unknownFields } = state;
  const header = { level, version, objects, reigns: [...reigns], ...(_unknownFields && { _unknownFields }) };
  StoreSnapshotChunk.encode({ part: { $case: "header", value: header } }, writer.fork()).join();
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let written = 0;
  for (const table of state.tables()) {
    for (const object of table.list()) {
      writeStoreObject(writer.fork().uint32(objectTag).fork(), table.definition, object);
      writer.join().join();
      written += 1;
      if (written % objectsPerPart !== 0) continue;
      const part = writer.finish();
      parts.push(part);
      bytes += part.length;
      if (bytes < chunkBytes) continue;
      yield Buffer.concat(parts);
      parts = [];
      bytes = 0;
    }
  }
  parts.push(writer.finish());
  yield Buffer.concat(parts);
}

/** @throws StoreError `STORE_LEVEL_REFUSED`, `STORE_DAMAGED`, and whatever `chunks` throws */
export async function readSnapshot(
  chunks: AsyncIterable<Uint8Array>,
  program: Program & { readonly schema: Schema },
): Promise<State> {
  const reading = new SnapshotReading(program);
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    rest = bytes.subarray(reading.takeMessages(bytes));
  }
  if (rest.length > 0) throw damaged("it ends within an object", undefined, "snapshot");
  return reading.end();
}

/** A snapshot that is being read. */
class SnapshotReading {
  readonly #program: Program & { readonly schema: Schema };
  #state: State | undefined;
  /** Objects of the header's count that were not read yet. */
  #left = 0;
  /** Consecutive objects of one table, to be put into it together. */
  #run: StoredObject[] = [];
  #table: TableDefinition | undefined;

  constructor(program: Program & { readonly schema: Schema }) {
    this.#program = program;
  }

  /** Takes the whole messages at the beginning of `bytes`; returns where they end. */
  takeMessages(bytes: Uint8Array): number {
    const reader = new BinaryReader(bytes);
    for (;;) {
      const from = reader.pos;
      const length = readLength(bytes, from);
      if (length === undefined || bytes.length < length.end + length.value) return from;
      reader.pos = length.end;
      const chunk = decode(reader, length.value);
      if (this.#state === undefined) this.#begin(chunk);
      else this.#take(this.#state, chunk);
    }
  }

  #begin({ part, _unknownFields }: StoreSnapshotChunk): void {
    if (part?.$case !== "header") throw damaged("it does not begin with a header", undefined, "snapshot");
    const { level, version, reigns, objects } = part.value;
    checkProgramLevel(this.#program, level);
    checkKnown(_unknownFields);
    this.#state = State.empty(this.#program.schema, version, frozen(reigns), frozen(part.value._unknownFields));
    this.#left = objects;
  }

  #take(state: State, { part, _unknownFields }: StoreSnapshotChunk): void {
    checkKnown(_unknownFields);
    if (part?.$case !== "object") throw damaged("it has a part that is not an object", undefined, "snapshot");
    const { table, object } = state.schema.read(part.value);
    if (table !== this.#table) {
      this.#store(state);
      this.#table = table;
    }
    this.#run.push(interned(object, state.like(table, object), state.pool));
    this.#left -= 1;
  }

  #store(state: State): void {
    if (this.#table !== undefined) state.own(this.#table).putAll(this.#run);
    this.#run = [];
  }

  end(): State {
    const state = this.#state;
    if (state === undefined) throw damaged("it is empty", undefined, "snapshot");
    if (this.#left !== 0)
      throw damaged(`objects are ${this.#left > 0 ? "missing" : "left over"}`, undefined, "snapshot");
    this.#store(state);
    return state;
  }
}

/** What is new stands in the header or in an object, which keep it; beside them it would be lost. */
function checkKnown(unknownFields: UnknownFields): void {
  if (unknownFields !== undefined) throw damaged("a part has a field that is not of its level", undefined, "snapshot");
}

function decode(reader: BinaryReader, length: number): StoreSnapshotChunk {
  const end = reader.pos + length;
  let chunk: StoreSnapshotChunk;
  try {
    chunk = StoreSnapshotChunk.decode(reader, length);
  } catch (cause) {
    throw damaged("a message can't be read", cause, "snapshot");
  }
  if (reader.pos !== end) throw damaged("a message does not end where its length says", undefined, "snapshot");
  return chunk;
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
