import * as fc from "fast-check";
import { expect, test } from "vitest";

import { message, type EntryType } from "../../src/core/index.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const bytes = fc.uint8Array({ maxLength: 50 });
const type = fc.constantFrom<EntryType[]>("EntryNormal", "EntryConfChange", "EntryConfChangeV2");
const entry = fc.record({ term: number, index: number, type, data: bytes });

test("any message reads back as it was written", () => {
  const fields = fc.record({
    to: number,
    from: number,
    term: number,
    index: number,
    commit: number,
    reject: fc.boolean(),
    entries: fc.array(entry),
    context: fc.option(bytes, { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(fields), (list) => {
      const sent = list.map((m) => message("MsgApp", m));
      const got = decodeMessages(encodeMessages(sent));
      const plain = (list: typeof sent): unknown =>
        list.map((m) => ({
          ...m,
          context: m.context && [...m.context],
          entries: m.entries.map((e) => ({ ...e, data: [...e.data] })),
        }));
      expect(plain(got)).toEqual(plain(sent));
    }),
  );
});

test("an unknown version, a cut and a flipped bit in an entry are refused", () => {
  const data = Buffer.from("payload");
  const good = encodeMessages([
    message("MsgApp", { to: 1, entries: [{ term: 1, index: 1, type: "EntryNormal", data }] }),
  ]);
  const version = Buffer.from(good);
  version[0] = 9;
  expect(() => decodeMessages(version)).toThrow(expect.objectContaining({ code: "RAFT_LEVEL_UNREADABLE" }));
  expect(() => decodeMessages(good.subarray(0, -1))).toThrow(expect.objectContaining({ code: "RAFT_WIRE_INVALID" }));
  const flipped = Buffer.from(good);
  flipped[good.length - 1]! ^= 1;
  expect(() => decodeMessages(flipped)).toThrow(expect.objectContaining({ code: "RAFT_WIRE_INVALID" }));
});
