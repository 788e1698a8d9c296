/** Fields of a later level, in messages of this one; and maps, whose keys are anything. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, test } from "vitest";

import { Network, Service, Slot, StoreCommand, Task, Version, type MessageType } from "../src/index.ts";
import { filledMessages } from "../src/testing/index.ts";

const tag = (700 << 3) | WireType.LengthDelimited;

/** The message with a field 700, here and in its first inner message. */
function withLater<T>(type: MessageType<T>, message: T): Uint8Array {
  const later = new BinaryWriter().string("later").finish();
  return type.encode({ ...message, _unknownFields: { [tag]: [later] } }).finish();
}

describe.each([Network, Service, Slot, StoreCommand, Task, Version] as readonly MessageType[])("$$type", (type) => {
  const messages = filledMessages(type);

  test("in which every field is set is read as it was written, and has no property for others", () => {
    for (const message of messages) {
      expect(type.decode(type.encode(message).finish())).toEqual(message);
      expect(type.fromPartial(message as never)).toEqual(message);
      expect(JSON.stringify(message)).not.toContain("_unknownFields");
      expect(JSON.stringify(type.fromPartial({} as never))).not.toContain("_unknownFields");
      for (const value of Object.values(message as object)) expect(value).toBeDefined();
    }
  });

  test("keeps a field that it does not know through decode, create and encode", () => {
    for (const message of messages) {
      const bytes = withLater(type, message);
      const read = type.decode(bytes);
      expect((read as { _unknownFields?: unknown })._unknownFields).toBeDefined();
      expect(Buffer.from(type.encode(type.fromPartial(read as never)).finish())).toEqual(Buffer.from(bytes));
    }
  });
});

test("an unknown field is a copy, so that it does not hold the bytes that it was read from", () => {
  const bytes = withLater(Network, Network.create({ spec: { name: "a" } }));
  const [value] = Network.decode(bytes)._unknownFields?.[tag] ?? [];
  expect(value?.buffer.byteLength).toBe(6);
});

test("a message in a message keeps its own", () => {
  const spec = { name: "a", labels: {}, _unknownFields: { [tag]: [Uint8Array.of(1, 7)] } };
  const read = Network.decode(Network.encode({ meta: undefined, spec }).finish());
  expect(Network.create(read).spec?._unknownFields).toEqual({ [tag]: [Uint8Array.of(1, 7)] });
});

test("an entry of a map is kept whatever its key, through encode, decode and create", () => {
  const keys = ["__proto__", "constructor", "toString", "", "a.b"];
  const labels: Record<string, string> = Object.fromEntries(keys.map((key) => [key, `of ${key}`]));
  const network = { meta: undefined, spec: { name: "a", labels } };
  for (const read of [Network.decode(Network.encode(network).finish()), Network.create(network)])
    expect(Object.entries(read.spec?.labels ?? {})).toEqual(Object.entries(labels));
});
