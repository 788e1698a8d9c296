import { expect, test } from "vitest";

import { message, type Message } from "../../src/core/index.ts";
import { MemoryNetwork, type Transport } from "../../src/index.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

async function start(network: MemoryNetwork, from: number, receive: (m: Message) => Promise<void>): Promise<Transport> {
  const transport = network.transport();
  await transport.start({
    hello: { clusterId: "c", from, incarnation: "i", minLevel: 1, level: 1, activeLevel: 1 },
    refused: () => undefined,
    encode: encodeMessages,
    decode: decodeMessages,
    admit: async () => undefined,
    receive: () => undefined,
    receiveSnapshot: receive,
    unreachable: () => undefined,
  });
  return transport;
}

test("a snapshot was sent when its receiver has stored it, and was not if the receiver could not", async () => {
  const network = new MemoryNetwork();
  const storing = Promise.withResolvers<void>();
  const one = await start(network, 1, () => Promise.resolve());
  await start(network, 2, () => storing.promise);
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const metadata = { index: 5, term: 1, confState };
  const m = message("MsgSnap", { from: 1, to: 2, snapshot: { metadata, data: new Uint8Array(0) } });
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("state");
  }
  const sent = one.sendSnapshot(m, { metadata, bytes: 5, checksum: 0, chunks: chunks() });
  const failure = expect(sent).rejects.toThrow("its disk is full");
  storing.reject(new Error("its disk is full"));
  await failure;
});
