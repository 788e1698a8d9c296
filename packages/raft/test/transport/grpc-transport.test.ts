import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { credentials, makeGenericClientConstructor, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { FakeClock, until } from "@warren/std/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { message } from "../../src/core/index.ts";
import {
  grpcTransport,
  type GrpcTransport,
  type GrpcTransportOptions,
  type Member,
  type PeerRefusal,
  type Tags,
  type Transport,
} from "../../src/index.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import type { Message } from "../../src/core/index.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

let directory: string;
const open: Transport[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raft-transport-"));
  await makeAuthority(directory);
  await Promise.all(["member-1", "member-2", "manager-2"].map((name) => makeCertificate(directory, name)));
});
afterAll(() => rm(directory, { recursive: true }));

interface End {
  readonly transport: GrpcTransport;
  readonly received: Message[];
  /** Peers that could not be reached, in order. */
  readonly unreachable: number[];
  readonly refusals: PeerRefusal[];
  readonly admitted: number[];
  /** Of those that were admitted. */
  readonly tags: unknown[];
}

async function start(
  id: number,
  {
    name = `member-${id}`,
    tags,
    ...options
  }: Partial<GrpcTransportOptions> & { readonly name?: string; readonly tags?: Tags } = {},
): Promise<End> {
  const tls = await readCertificate(directory, name);
  const transport = grpcTransport({ listen: "127.0.0.1:0", tls, ...options });
  const end: End = { transport, received: [], unreachable: [], refusals: [], admitted: [], tags: [] };
  await transport.start({
    hello: { clusterId: "c", from: id, incarnation: "i", minLevel: 1, level: 1, activeLevel: 1, tags },
    refused: (refusal) => void end.refusals.push(refusal),
    encode: encodeMessages,
    decode: decodeMessages,
    admit: async ({ from, tags: theirs }) => {
      end.admitted.push(from);
      end.tags.push(theirs);
      return undefined;
    },
    receive: (messages) => void end.received.push(...messages),
    receiveSnapshot: async (m, source) => {
      for await (const chunk of source.from(0)) void chunk;
      end.received.push(m);
    },
    unreachable: (peer) => void end.unreachable.push(peer),
  });
  open.push(transport);
  return end;
}

/** Where a member is found. */
function at(id: number, { transport }: End): Member {
  return { id, address: transport.address! };
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
  const [one, two] = [await start(1), await start(2)];
  one.transport.setPeers([at(2, two)]);
  await sendUntil(one, 2, () => two.received.length > 0);
  expect(two.received[0]).toMatchObject({ type: "MsgHeartbeat", from: 1 });
  expect(two.admitted).toContain(1);
  await closeAll();
});

test("a caller whose certificate names another member is refused before it is asked anything", async () => {
  const [one, two] = [await start(1, { name: "member-2" }), await start(2)];
  one.transport.setPeers([at(2, two)]);
  // Connected and refused, over and over.
  await sendUntil(one, 2, () => one.unreachable.length > 3);
  expect(two.admitted).toEqual([]);
  expect(two.received).toEqual([]);
  await closeAll();
});

test("a peer that answers at a member's address with another's certificate is sent nothing", async () => {
  const [one, two] = [await start(1), await start(2, { name: "member-1" })];
  one.transport.setPeers([at(2, two)]);
  await sendUntil(one, 2, () => one.unreachable.length > 3);
  expect(two.admitted).toEqual([]);
  await closeAll();
});

test("how members are named in certificates can be chosen", async () => {
  const certificateName = (id: number): string => (id === 1 ? "member-1" : `manager-${id}`);
  const one = await start(1, { certificateName });
  const two = await start(2, { name: "manager-2", certificateName });
  one.transport.setPeers([at(2, two)]);
  await sendUntil(one, 2, () => two.received.length > 0);
  await closeAll();
});

test("what a member says of itself arrives with its connection; what is no short text does not, and bars nobody", async () => {
  const tags = { version: "1.2 β", zone: 'a, "b"\n' };
  const long = { version: "x".repeat(4_000) };
  for (const [said, arrives] of [
    [tags, tags],
    [undefined, undefined],
    [long, undefined],
    [["a"], undefined],
  ] as const) {
    const [one, two] = [await start(1, { tags: said as Tags }), await start(2)];
    one.transport.setPeers([at(2, two)]);
    await sendUntil(one, 2, () => two.received.length > 0);
    expect(two.tags).toEqual([arrives]);
    await closeAll();
  }
});

test("an address that is in use is reported", async () => {
  const { address } = at(1, await start(1));
  await expect(start(2, { listen: address })).rejects.toThrow(`EADDRINUSE: address already in use ${address}`);
  await closeAll();
});

test("a message in another member's name ends the call it came on, and what a follower hands on does not", async () => {
  const [one, two] = [await start(1), await start(2)];
  one.transport.setPeers([at(2, two)]);
  await sendUntil(one, 2, () => two.received.length > 0);
  one.transport.send([message("MsgHeartbeat", { from: 3, to: 2 })]);
  await until("the call ended", () => one.unreachable.length > 0);
  await sendUntil(one, 2, () => one.refusals.length > 0 || two.received.length > 2);
  expect(two.received.every(({ from }) => from === 1)).toBe(true);
  await until("a proposal that was handed on arrives", () => {
    one.transport.send([message("MsgProp", { from: 3, to: 2 })]);
    return two.received.some(({ type, from }) => type === "MsgProp" && from === 3);
  });
  await closeAll();
});

const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
const metadata = { index: 5, term: 1, confState };
const snapshot = { metadata, data: new Uint8Array(0) };
const announced = message("MsgSnap", { from: 1, to: 2, snapshot });

test("a snapshot that is announced in another member's name is refused", async () => {
  const [one, two] = [await start(1), await start(2)];
  one.transport.setPeers([at(2, two)]);
  const send = (from: number): Promise<void> => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("state");
    }
    return one.transport.sendSnapshot(message("MsgSnap", { from, to: 2, snapshot }), {
      metadata,
      bytes: 5,
      checksum: 0,
      chunks: chunks(),
    });
  };
  await sendUntil(one, 2, () => two.received.length > 0);
  await expect(send(3)).rejects.toMatchObject({ code: "RAFT_PEER_UNREACHABLE" });
  await send(1);
  expect(two.received.filter(({ type }) => type === "MsgSnap").map(({ from }) => from)).toEqual([1]);
  await closeAll();
});

test("a snapshot that is on its way ends when its sender closes", async () => {
  // Time stands still, so a wait for a reply has no time-out.
  const [one, two] = [await start(1, { clock: new FakeClock() }), await start(2)];
  one.transport.setPeers([at(2, two)]);
  await sendUntil(one, 2, () => two.received.length > 0);
  const read = Promise.withResolvers<void>();
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("sta");
    // The receiver waits for the rest, the sender for a reply.
    read.resolve();
  }
  const sent = one.transport.sendSnapshot(announced, { metadata, bytes: 5, checksum: 0, chunks: chunks() });
  const failure = expect(sent).rejects.toMatchObject({ code: "RAFT_PEER_UNREACHABLE" });
  await read.promise;
  await one.transport.close();
  await failure;
  await closeAll();
});

test("a member that waits to call another again calls at once when the other calls", async () => {
  let two: End | undefined;
  const dial = (): Socket => {
    if (two === undefined) throw new Error("nobody is there");
    return connect(Number(at(2, two).address.split(":")[1]), "127.0.0.1");
  };
  // Time stands still, so no wait times out.
  const one = await start(1, { dial, clock: new FakeClock() });
  one.transport.setPeers([{ id: 2, address: "not-yet" }]);
  await until("the first call failed", () => one.unreachable.length > 0);
  two = await start(2);
  two.transport.setPeers([at(1, one)]);
  await sendUntil(one, 2, () => two.received.length > 0);
  await closeAll();
});

test("a connection that falls silent, or is never made, is given up", async () => {
  const two = await start(2);
  const port = Number(at(2, two).address.split(":")[1]);
  // Stands between the two; deaf, it takes what comes and passes nothing on.
  let deaf = false;
  const sockets: Socket[] = [];
  const between = createServer((from) => {
    const to = connect(port, "127.0.0.1");
    sockets.push(from, to);
    from.on("data", (chunk) => !deaf && to.write(chunk));
    to.on("data", (chunk) => !deaf && from.write(chunk));
    for (const socket of [from, to]) socket.on("error", () => socket.destroy());
    from.on("close", () => to.destroy());
  });
  between.listen(0, "127.0.0.1");
  await once(between, "listening");
  const clock = new FakeClock();
  const one = await start(1, { clock });
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${(between.address() as { port: number }).port}` }]);
  await sendUntil(one, 2, () => two.received.length > 0);
  const before = one.unreachable.length;
  deaf = true;
  clock.advance(5_000);
  expect(one.unreachable).toHaveLength(before);
  clock.advance(2_000);
  await until("the silent one is given up", () => one.unreachable.length > before);
  // It calls again, and nobody answers that either.
  const connections = sockets.length;
  await until("it called again", () => {
    clock.advance(1_000);
    return sockets.length > connections;
  });
  const silent = one.unreachable.length;
  clock.advance(5_000);
  await until("the call that is not answered is given up", () => one.unreachable.length > silent);
  for (const socket of sockets) socket.destroy();
  between.close();
  await closeAll();
});

describe("another's gRPC", () => {
  const frame = { serialize: (body: Uint8Array) => framed(body), deserialize: (bytes: Buffer) => bytes };
  const method = (name: string, responseStream = false): object => ({
    path: `/warren.raft.v1.Raft/${name}`,
    requestStream: true,
    responseStream,
    requestSerialize: frame.serialize,
    requestDeserialize: frame.deserialize,
    responseSerialize: frame.serialize,
    responseDeserialize: frame.deserialize,
  });
  /** `Frame { bytes body = 1 }`. */
  function framed(body: Uint8Array): Buffer {
    const { length } = body;
    const varint = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
    return Buffer.concat([Buffer.from([0x0a, ...varint]), body]);
  }
  const heartbeat = encodeMessages([message("MsgHeartbeat", { from: 1, to: 2 })]);

  test("can call", async () => {
    const two = await start(2);
    const { ca, cert, key } = await readCertificate(directory, "member-1");
    const Raft = makeGenericClientConstructor(
      { messages: method("Messages"), other: method("Other"), snapshot: method("Snapshot", true) } as never,
      "Raft",
    );
    const secure = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert));
    const client = new Raft(at(2, two).address, secure, { "grpc.ssl_target_name_override": "member-2" });
    const metadata = (from: string): Metadata => {
      const made = new Metadata();
      const said = { cluster: "c", from, to: "2", incarnation: "i" };
      for (const [name, value] of Object.entries(said)) made.set(`warren-raft-${name}`, value);
      return made;
    };
    const call = (name: string, from: string, ...bodies: readonly Uint8Array[]): Promise<string> =>
      new Promise((resolve) => {
        const done = (error: Error | null): void => resolve(error?.message ?? "answered");
        const stream = name === "snapshot" ? client[name]?.(metadata(from)) : client[name]?.(metadata(from), done);
        stream.on("error", done).on("data", () => undefined);
        for (const body of bodies) stream.write(body);
        stream.end();
      });
    expect(await call("messages", "1", heartbeat)).toBe("answered");
    expect(two.received).toMatchObject([{ type: "MsgHeartbeat", from: 1 }]);
    expect(await call("messages", "3", heartbeat)).toMatch(/^9 FAILED_PRECONDITION: .*does not name member-3/u);
    expect(await call("other", "1", heartbeat)).toMatch(/^12 UNIMPLEMENTED/u);
    // A snapshot without its last frame is none, and what came of it may be gone on with.
    const head = [encodeMessages([announced]), Buffer.from(JSON.stringify({ bytes: 5, checksum: 0 }))];
    expect(await call("snapshot", "1", ...head, Buffer.from("sta"))).toMatch(/a snapshot ended before its end$/u);
    expect(two.received.filter(({ type }) => type === "MsgSnap")).toEqual([]);
    client.close();
    await closeAll();
  });

  test("can be called", async () => {
    const { ca, cert, key } = await readCertificate(directory, "member-2");
    const server = new Server();
    const got = Promise.withResolvers<Buffer>();
    const service = { messages: method("Messages") } as never;
    server.addService(service, { messages: (stream: Socket) => void stream.on("data", got.resolve) } as never);
    const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
    const secure = ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", secure, (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
    const one = await start(1);
    one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
    one.transport.send([message("MsgHeartbeat", { from: 1, to: 2 })]);
    expect(await got.promise).toEqual(framed(heartbeat));
    await closeAll();
    server.forceShutdown();
  });
});
