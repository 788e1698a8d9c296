/** What generated messages use in place of bigints and Timestamps: the same bytes, the same values. */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Meta } from "../src/index.ts";
import { Timestamp } from "../src/generated/google/protobuf/timestamp.ts";
import { readDate, readInt64, readUint64, writeDate, writeInt64, writeUint64 } from "../src/wire.ts";

const edges = Array.from({ length: 54 }, (_, bits) => 2 ** bits).flatMap((power) => [power - 1, power, power + 1]);
const whole = fc.oneof(fc.maxSafeNat(), fc.constantFrom(...edges.filter(Number.isSafeInteger)));
const signed = fc.oneof(
  fc.maxSafeInteger(),
  whole.map((value) => -value),
);

/** Something behind it, which must be left where it is. */
const behind = 77;

describe("a 64-bit integer", () => {
  test("has the bytes that the library gives it, and is read again with nothing behind it", () => {
    const same = (
      write: (writer: BinaryWriter, value: number) => BinaryWriter,
      read: (reader: BinaryReader) => number,
      type: "int64" | "uint64",
      value: number,
    ): void => {
      const bytes = write(new BinaryWriter(), value).uint32(behind).finish();
      expect(bytes).toEqual(new BinaryWriter()[type](BigInt(value)).uint32(behind).finish());
      const reader = new BinaryReader(bytes);
      expect(read(reader)).toBe(value + 0);
      expect(reader.uint32()).toBe(behind);
    };
    fc.assert(fc.property(whole, (value) => same(writeUint64, readUint64, "uint64", value)));
    fc.assert(fc.property(signed, (value) => same(writeInt64, readInt64, "int64", value)));
  });

  test("that a number does not hold is refused, however many bytes it has", () => {
    for (const value of [2n ** 53n, 2n ** 55n, 2n ** 56n, 2n ** 64n - 1n])
      expect(() => readUint64(new BinaryReader(new BinaryWriter().uint64(value).finish()))).toThrow(/beyond/);
    for (const value of [2n ** 53n, -(2n ** 53n)])
      expect(() => readInt64(new BinaryReader(new BinaryWriter().int64(value).finish()))).toThrow(/beyond/);
  });

  test("is written only if it is one", () => {
    for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => writeUint64(new BinaryWriter(), value)).toThrow();
      expect(() => writeInt64(new BinaryWriter(), value)).toThrow();
    }
    expect(() => writeUint64(new BinaryWriter(), -1)).toThrow();
  });
});

describe("a time", () => {
  test("is a Timestamp on the wire, to the ms, before 1970 too", () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), (date) => {
        const bytes = writeDate(new BinaryWriter(), date).uint32(behind).finish();
        const reader = new BinaryReader(bytes);
        const { seconds, nanos } = Timestamp.decode(reader, reader.uint32());
        expect(nanos).toBeGreaterThanOrEqual(0);
        expect(seconds * 1_000 + nanos / 1_000_000).toBe(date.getTime());
        const again = new BinaryReader(bytes);
        expect(readDate(again)).toEqual(date);
        expect(again.uint32()).toBe(behind);
      }),
    );
  });

  test("is read past fields that are not known", () => {
    const inner = new BinaryWriter().uint32(8).int64(5).uint32(26).string("later").uint32(16).int32(7_000_000).finish();
    expect(readDate(new BinaryReader(new BinaryWriter().bytes(inner).finish()))).toEqual(new Date(5_007));
  });

  test("that is none is refused", () => {
    const updatedAt = new Date(Number.NaN);
    expect(() => Meta.encode(Meta.fromPartial({ updatedAt })).finish()).toThrow();
    // A field 0, and bytes that end within a field.
    for (const bytes of [
      [2, 0, 0],
      [3, 8, 5, 16],
    ])
      expect(() => readDate(new BinaryReader(Uint8Array.from(bytes)))).toThrow();
  });
});
