/**
 * 64-bit integers and times as generated messages hold them, numbers and Dates, on the wire.
 *
 * ts-proto goes by way of a bigint, its digits, and a Timestamp, for each version, index and time of an object; that was a
 * quarter of what a message costs. The bytes are the same.
 */
import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

/** Below 2^32 an `int64`, a `uint64` and a `uint32` have the same bytes. */
const isShort = (value: number): boolean => value >= 0 && value < 2 ** 32;

/** @throws Error for what is no integer, or beyond 64 bits */
export function writeUint64(writer: BinaryWriter, value: number): BinaryWriter {
  return isShort(value) ? writer.uint32(value) : writer.uint64(value);
}

/** @throws Error for what is no integer, or beyond 64 bits */
export function writeInt64(writer: BinaryWriter, value: number): BinaryWriter {
  return isShort(value) ? writer.uint32(value) : writer.int64(value);
}

/** @throws Error for an integer that a number does not hold exactly */
export function readUint64(reader: BinaryReader): number {
  return readVarint(reader) ?? exactly(reader.uint64());
}

/** @throws Error for an integer that a number does not hold exactly */
export function readInt64(reader: BinaryReader): number {
  return readVarint(reader) ?? exactly(reader.int64());
}

/** A varint of at most eight bytes, which is none that is negative; undefined, and nothing is read, if it has more. */
function readVarint(reader: BinaryReader): number | undefined {
  const from = reader.pos;
  // Reads all its bytes, and gives the low 32 bits.
  const low = reader.uint32();
  const bytes = reader.pos - from;
  if (bytes <= 4) return low;
  reader.pos = from + (bytes <= 8 ? 4 : 0);
  // From the fifth byte on it is a varint as well.
  return bytes <= 8 ? exactly((low & 0xfff_ffff) + reader.uint32() * 2 ** 28) : undefined;
}

function exactly(value: number | bigint | string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new Error(`${value} is beyond the integers that a number holds`);
}

/** Of `google.protobuf.Timestamp`. */
const [secondsTag, nanosTag] = [8, 16];

/** As a `google.protobuf.Timestamp`. @throws Error for an invalid date */
export function writeDate(writer: BinaryWriter, date: Date): BinaryWriter {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1_000);
  const nanos = (ms - seconds * 1_000) * 1_000_000;
  writer.fork();
  if (seconds !== 0) writeInt64(writer.uint32(secondsTag), seconds);
  if (nanos !== 0) writer.uint32(nanosTag).uint32(nanos);
  return writer.join();
}

/** Of a `google.protobuf.Timestamp`, to the ms. @throws Error for what is none */
export function readDate(reader: BinaryReader): Date {
  const length = reader.uint32();
  const end = reader.pos + length;
  let [seconds, nanos] = [0, 0];
  while (reader.pos < end) {
    const from = reader.pos;
    const tag = reader.uint32();
    if (tag === secondsTag) {
      seconds = readInt64(reader);
    } else if (tag === nanosTag) {
      nanos = reader.int32();
    } else {
      reader.pos = from;
      const [field, type] = reader.tag();
      reader.skip(type, field);
    }
  }
  return new Date(seconds * 1_000 + nanos / 1_000_000);
}
