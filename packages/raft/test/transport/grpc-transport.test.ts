import { createServer } from "node:http2";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock, type Clock } from "@warren/std";
import { FakeClock, until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

import { message } from "../../src/core/index.ts";
import { grpcTransport, type Transport } from "../../src/index.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import type { Message } from "../../src/core/index.ts";

let directory: string;
const open: Transport[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raft-transport-"));
  await makeAuthority(directory);
  await Promise.all(["member-1", "member-2", "manager-2"].map((name) => makeCertificate(directory, name)));
});
afterAll(() => rm(directory, { recursive: true }));

interface End {
  readonly transport: Transport;
  readonly received: Message[];
  /** Peers that could not be reached, in order. */
  readonly unreachable: number[];
  readonly admitted: number[];
}

async function start(
  id: number,
  port: number,
  name: string = `member-${id}`,
  certificateName?: (id: number) => string,
  clock: Clock = systemClock,
): Promise<End> {
  const transport = grpcTransport({
    listen: `127.0.0.1:${port}`,
    clock,
    tls: await readCertificate(directory, name),
    ...(certificateName === undefined ? {} : { certificateName }),
  });
  const end: End = { transport, received: [], unreachable: [], admitted: [] };
  await transport.start({
    hello: { clusterId: "c", from: id, incarnation: "i" },
    admit: async ({ from }) => void end.admitted.push(from),
    receive: (messages) => void end.received.push(...messages),
    receiveSnapshot: async (m, chunks) => {
      for await (const chunk of chunks) void chunk;
      end.received.push(m);
    },
    unreachable: (peer) => void end.unreachable.push(peer),
  });
  open.push(transport);
  return end;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Sends again and again, as Raft does, until it is told otherwise or the condition holds. */
async function sendUntil(from: End, to: number, condition: () => boolean, type: Message["type"] = "MsgHeartbeat") {
  await until("the condition holds", () => {
    from.transport.send([message(type, { from: 1, to })]);
    return condition();
  });
}

async function closeAll(): Promise<void> {
  await Promise.all(open.splice(0).map((transport) => transport.close()));
}

test("messages pass between members whose certificates name them", async () => {
  const port = await freePort();
  const [one, two] = [await start(1, await freePort()), await start(2, port)];
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await sendUntil(one, 2, () => two.received.length > 0);
  expect(two.received[0]).toMatchObject({ type: "MsgHeartbeat", from: 1 });
  expect(two.admitted).toContain(1);
  await closeAll();
});

test("a caller whose certificate names another member is refused before it is asked anything", async () => {
  const port = await freePort();
  const [one, two] = [await start(1, await freePort(), "member-2"), await start(2, port)];
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  // Connected and refused, over and over.
  await sendUntil(one, 2, () => one.unreachable.length > 3);
  expect(two.admitted).toEqual([]);
  expect(two.received).toEqual([]);
  await closeAll();
});

test("whoever answers at a member's address with another's certificate is told nothing", async () => {
  const port = await freePort();
  const [one, two] = [await start(1, await freePort()), await start(2, port, "member-1")];
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await sendUntil(one, 2, () => one.unreachable.length > 3);
  expect(two.admitted).toEqual([]);
  await closeAll();
});

test("how members are named in certificates can be chosen", async () => {
  const port = await freePort();
  const named = (id: number): string => (id === 1 ? "member-1" : `manager-${id}`);
  const one = await start(1, await freePort(), "member-1", named);
  const two = await start(2, port, "manager-2", named);
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await sendUntil(one, 2, () => two.received.length > 0);
  await closeAll();
});

test("a snapshot that is announced in another member's name is refused", async () => {
  const port = await freePort();
  const [one, two] = [await start(1, await freePort()), await start(2, port)];
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const metadata = { index: 5, term: 1, confState };
  const snapshot = { metadata, data: new Uint8Array(0) };
  const send = (from: number): Promise<void> => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("state");
    }
    return one.transport.sendSnapshot(message("MsgSnap", { from, to: 2, snapshot }), {
      metadata,
      bytes: 5,
      chunks: chunks(),
    });
  };
  await sendUntil(one, 2, () => two.received.length > 0);
  await expect(send(3)).rejects.toMatchObject({ code: "RAFT_PEER_UNREACHABLE" });
  await send(1);
  expect(two.received.filter(({ type }) => type === "MsgSnap").map(({ from }) => from)).toEqual([1]);
  await closeAll();
});

test("a member that waits to call another again calls at once when the other calls", async () => {
  const [port, own] = [await freePort(), await freePort()];
  // Time stands still: whoever waits, waits for ever.
  const one = await start(1, own, "member-1", undefined, new FakeClock());
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await until("the first call failed", () => one.unreachable.length > 0);
  const two = await start(2, port);
  two.transport.setPeers([{ id: 1, address: `127.0.0.1:${own}` }]);
  await sendUntil(one, 2, () => two.received.length > 0);
  await closeAll();
});
