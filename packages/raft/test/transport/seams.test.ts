/** The transport on sockets of others: a listener that serves more than Raft, a dialler, and files that change. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTcp, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { connect as connectTls, createServer, type TLSSocket } from "node:tls";

import { RecordingLogger, until } from "@warren/std/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { message, type Message } from "../../src/core/index.ts";
import {
  grpcTransport,
  raftProtocol,
  type GrpcTransport,
  type GrpcTransportOptions,
  type PeerRefusal,
  type TlsFiles,
} from "../../src/index.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

let directory: string;
let other: string;
const files: Record<string, TlsFiles> = {};
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raft-seams-"));
  other = await mkdtemp(join(tmpdir(), "raft-seams-other-"));
  await Promise.all([makeAuthority(directory), makeAuthority(other)]);
  for (const name of ["member-1", "member-2"]) {
    await makeCertificate(directory, name);
    await makeCertificate(other, name);
    files[name] = await readCertificate(directory, name);
    files[`other-${name}`] = await readCertificate(other, name);
  }
});
afterAll(async () => {
  await rm(directory, { recursive: true });
  await rm(other, { recursive: true });
});

interface End {
  readonly transport: GrpcTransport;
  readonly received: Message[];
  readonly unreachable: number[];
  readonly refusals: PeerRefusal[];
}

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

async function start(id: number, options: Partial<GrpcTransportOptions> = {}): Promise<End> {
  const transport = grpcTransport({ tls: files[`member-${id}`]!, ...options });
  const end: End = { transport, received: [], unreachable: [], refusals: [] };
  await transport.start({
    hello: { clusterId: "c", from: id, incarnation: "i", minLevel: 1, level: 1, activeLevel: 1 },
    refused: (refusal) => void end.refusals.push(refusal),
    encode: encodeMessages,
    decode: decodeMessages,
    admit: () => Promise.resolve(undefined),
    receive: (messages) => void end.received.push(...messages),
    receiveSnapshot: () => Promise.resolve(),
    unreachable: (peer) => void end.unreachable.push(peer),
  });
  endings.push(() => transport.close());
  return end;
}

/** One port for Raft and for something else, as a daemon has it; its port. */
async function sharedListener(served: (socket: TLSSocket) => void): Promise<{ port: number; others: TLSSocket[] }> {
  const { ca, cert, key } = files["member-2"]!;
  const others: TLSSocket[] = [];
  const server = createServer(
    {
      ca: Buffer.from(ca),
      cert: Buffer.from(cert),
      key: Buffer.from(key),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [raftProtocol, "other"],
    },
    (socket) => {
      if (socket.alpnProtocol === raftProtocol) served(socket);
      else others.push(socket);
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endings.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, others };
}

async function reaches(from: End, to: End): Promise<void> {
  await until("a message arrives", () => {
    from.transport.send([message("MsgHeartbeat", { from: 1, to: 2 })]);
    return to.received.length > 0;
  });
}

test("a listener of the caller's hands over the sockets that speak Raft, and keeps the others", async () => {
  const two = await start(2);
  expect(two.transport.address).toBeUndefined();
  const { port, others } = await sharedListener((socket) => two.transport.accept(socket));
  const one = await start(1);
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await reaches(one, two);
  const { ca } = files["member-1"]!;
  const visitor = connectTls({ port, ca: Buffer.from(ca), servername: "member-2", ALPNProtocols: ["other"] });
  visitor.on("error", () => undefined);
  await until("the other protocol is served elsewhere", () => others.length > 0);
  visitor.destroy();
});

test("a socket that is handed over is checked: no certificate, or a foreign one, speaks for no member", async () => {
  const two = await start(2);
  const { port } = await sharedListener((socket) => two.transport.accept(socket));
  const foreign = await start(1, { tls: { ...files["other-member-1"]!, ca: files["member-1"]!.ca } });
  foreign.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await until("it was refused again and again", () => {
    foreign.transport.send([message("MsgHeartbeat", { from: 1, to: 2 })]);
    return foreign.unreachable.length > 3;
  });
  expect(two.received).toEqual([]);
});

test("a transport that is not started, or is closed, keeps no socket", async () => {
  const idle = grpcTransport({ tls: files["member-2"]! });
  const taken: TLSSocket[] = [];
  const { port } = await sharedListener((socket) => {
    taken.push(socket);
    idle.accept(socket);
  });
  const one = await start(1);
  one.transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  await until("a socket was handed over and closed", () => taken.some(({ destroyed }) => destroyed));
});

test.each([
  ["a socket without TLS, over which TLS is spoken", (port: number): Duplex => connectTcp(port, "127.0.0.1")],
  [
    "a socket with TLS",
    (port: number): Duplex => {
      const { ca, cert, key } = files["member-1"]!;
      const tls = { ca: Buffer.from(ca), cert: Buffer.from(cert), key: Buffer.from(key) };
      return connectTls({ port, ...tls, servername: "member-2", ALPNProtocols: [raftProtocol] });
    },
  ],
])("a dialler of the caller's gives %s", async (_, open) => {
  const two = await start(2, { listen: "127.0.0.1:0" });
  const port = Number(two.transport.address!.split(":")[1]);
  const dialled: number[] = [];
  const one = await start(1, {
    dial({ id, address }) {
      expect(address).toBe("by-another-way");
      dialled.push(id);
      return open(port);
    },
  });
  one.transport.setPeers([{ id: 2, address: "by-another-way" }]);
  await reaches(one, two);
  expect(dialled).toContain(2);
});

test("a dialler's socket with TLS that leads to another member is not used", async () => {
  const three = await start(2, { listen: "127.0.0.1:0" });
  const port = Number(three.transport.address!.split(":")[1]);
  const one = await start(1, {
    certificateName: (id) => (id === 2 ? "member-9" : `member-${id}`),
    dial() {
      const { ca, cert, key } = files["member-1"]!;
      const tls = { ca: Buffer.from(ca), cert: Buffer.from(cert), key: Buffer.from(key) };
      return connectTls({ port, ...tls, servername: "member-2", ALPNProtocols: [raftProtocol] });
    },
  });
  one.transport.setPeers([{ id: 2, address: "x" }]);
  await until("it was given up again and again", () => {
    one.transport.send([message("MsgHeartbeat", { from: 1, to: 2 })]);
    return one.unreachable.length > 3;
  });
  expect(three.received).toEqual([]);
});

/** What a client without any wish of ours sees of a listener. */
async function handshake(
  port: number,
  options: object = {},
): Promise<{ version: string | null; session: Buffer | undefined; reused: boolean }> {
  const { ca, cert, key } = { ...files["member-1"]!, ...options } as TlsFiles;
  const tls = { ca: Buffer.from(ca), cert: Buffer.from(cert), key: Buffer.from(key) };
  const socket = connectTls({ port, servername: "member-2", ALPNProtocols: ["h2"], ...options, ...tls });
  let session: Buffer | undefined;
  socket.on("session", (its: Buffer) => (session = its));
  await Promise.race([
    once(socket, "secureConnect"),
    once(socket, "error").then(([error]) => Promise.reject(error as Error)),
  ]);
  // A ticket follows the handshake, if one does.
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
  await once(socket, "data");
  const seen = { version: socket.getProtocol(), session, reused: socket.isSessionReused() };
  socket.destroy();
  return seen;
}

test("files that change are used from the next handshake and dial on, and TLS stays 1.3 without tickets", async () => {
  let now = files["member-2"]!;
  const log = new RecordingLogger();
  const two = await start(2, { listen: "127.0.0.1:0", tls: () => now, log });
  const port = Number(two.transport.address!.split(":")[1]);
  const strict = async (ca: TlsFiles["ca"]): Promise<void> => {
    const first = await handshake(port, { ca });
    expect(first.version).toBe("TLSv1.3");
    expect((await handshake(port, { ca, session: first.session })).reused).toBe(false);
    await expect(handshake(port, { ca, maxVersion: "TLSv1.2" })).rejects.toThrow();
  };
  await strict(files["member-1"]!.ca);
  now = files["other-member-2"]!;
  await strict(files["other-member-1"]!.ca);
  await expect(handshake(port)).rejects.toThrow(/self-signed|unable to verify|certificate/u);

  // The dialling side reads them too.
  let mine = files["member-1"]!;
  const one = await start(1, { tls: () => mine });
  one.transport.setPeers([{ id: 2, address: two.transport.address! }]);
  await until("the old files reach nobody", () => one.unreachable.length > 2);
  mine = files["other-member-1"]!;
  await reaches(one, two);

  // Files that can't be used are reported, and those before them stay in use.
  now = { ...now, key: Buffer.from("no key") };
  await strict(files["other-member-1"]!.ca);
  expect(log.records).toMatchObject([{ level: "error" }]);
});
