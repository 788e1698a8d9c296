import * as fc from "fast-check";
import { expect, test } from "vitest";

import { encodeFrame, FrameReader, maxMessageBytes } from "../../src/transport/grpc-frames.ts";

test("frames read back however the stream is cut", () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 6 });
  fc.assert(
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 300 })), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodeFrame));
      const reader = new FrameReader();
      const got: number[][] = [];
      let at = 0;
      for (const length of [...cuts, stream.length]) {
        for (const body of reader.read(stream.subarray(at, at + length))) got.push([...body]);
        at = Math.min(stream.length, at + length);
      }
      expect(got).toEqual(sent.map((body) => [...body]));
    }),
  );
});

test("a frame is laid as protobuf and gRPC say", () => {
  expect(encodeFrame(Buffer.alloc(300, 7)).subarray(0, 9)).toEqual(Buffer.from([0, 0, 0, 1, 47, 0x0a, 0xac, 0x02, 7]));
  // The field may be left out when it is empty.
  expect(new FrameReader().read(Buffer.from([0, 0, 0, 0, 0]))).toEqual([Buffer.alloc(0)]);
});

test("a frame of the largest size is waited for, a larger one is not", () => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(maxMessageBytes, 1);
  expect(new FrameReader().read(head)).toEqual([]);
  head.writeUInt32BE(maxMessageBytes + 1, 1);
  expect(() => new FrameReader().read(head)).toThrow("are the most");
});

test.each([
  ["compressed", [1, 0, 0, 0, 0]],
  ["larger than is taken", [0, 0x04, 0, 0, 1]],
  ["another field", [0, 0, 0, 0, 2, 0x12, 0]],
  ["longer than its field", [0, 0, 0, 0, 3, 0x0a, 0, 0]],
  ["shorter than its field", [0, 0, 0, 0, 2, 0x0a, 1]],
])("a frame that is %s is refused", (_, bytes) => {
  expect(() => new FrameReader().read(Buffer.from(bytes))).toThrow(
    expect.objectContaining({ code: "RAFT_WIRE_INVALID" }),
  );
});
