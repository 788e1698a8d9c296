/** Snapshots over links that are slow and lose packets: they get through, go on after a cut, and hold up nothing else. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { seededRandom, until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

import { message } from "../../src/core/index.ts";
import {
  grpcTransport,
  memoryDisk,
  openLogStorage,
  type Disk,
  type GrpcTransport,
  type GrpcTransportOptions,
  type RaftStorage,
} from "../../src/index.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import { decodeMessages, encodeMessages } from "../../src/transport/wire.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raft-slow-"));
  await makeAuthority(directory);
  await Promise.all(["member-1", "member-2"].map((name) => makeCertificate(directory, name)));
});
afterAll(() => rm(directory, { recursive: true }));

/** A relay that carries so many bytes a second each way, all connections in one queue; a lost packet costs 200 ms. */
class SlowLink {
  readonly sockets = new Set<Socket>();
  readonly server = createServer((from) => this.carry(from));
  private readonly random = seededRandom(1);
  private readonly target: number;
  private readonly bytesPerSecond: number;
  private readonly lossShare: number;

  constructor(target: number, bytesPerSecond: number, lossShare: number) {
    this.target = target;
    this.bytesPerSecond = bytesPerSecond;
    this.lossShare = lossShare;
  }

  async listen(): Promise<number> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return (this.server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private carry(from: Socket): void {
    const to = connect(this.target, "127.0.0.1");
    this.pass(from, to, this.there);
    this.pass(to, from, this.back);
  }

  private readonly there = { last: Promise.resolve() };
  private readonly back = { last: Promise.resolve() };

  private pass(from: Socket, to: Socket, way: { last: Promise<void> }): void {
    this.sockets.add(from);
    from.on("error", () => from.destroy());
    from.on("close", () => {
      this.sockets.delete(from);
      to.destroy();
    });
    from.on("data", (chunk: Buffer) => {
      from.pause();
      way.last = way.last.then(async () => {
        for (let at = 0; at < chunk.length && !to.destroyed; at += 1_400) {
          const packet = chunk.subarray(at, at + 1_400);
          const lostMs = this.random.next() < this.lossShare ? 200 : 0;
          await new Promise((resolve) => setTimeout(resolve, (packet.length / this.bytesPerSecond) * 1_000 + lostMs));
          to.write(packet);
        }
        from.resume();
      });
    });
  }
}

interface Receiver {
  readonly transport: GrpcTransport;
  readonly storage: RaftStorage;
  readonly disk: Disk;
  /** Where each transfer went on. */
  readonly offsets: number[];
  readonly heartbeatsMs: number[];
  /** Bytes that came in all transfers. */
  readonly progress: { bytes: number };
}

async function* counted(chunks: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

async function receiver(): Promise<Receiver> {
  const disk = memoryDisk();
  const storage = await openLogStorage(disk, { clusterId: "c", nodeId: 2, newIncarnation: () => "i" });
  const transport = grpcTransport({ listen: "127.0.0.1:0", tls: await readCertificate(directory, "member-2") });
  const made: Receiver = { transport, storage, disk, offsets: [], heartbeatsMs: [], progress: { bytes: 0 } };
  await transport.start({
    hello: { clusterId: "c", from: 2, incarnation: "i", minLevel: 1, level: 1, activeLevel: 1 },
    encode: encodeMessages,
    decode: decodeMessages,
    admit: () => Promise.resolve(undefined),
    refused: () => undefined,
    receive: () => void made.heartbeatsMs.push(performance.now()),
    receiveSnapshot: (m, source) =>
      storage.receiveSnapshot(m.snapshot!.metadata, {
        ...source,
        from(offset) {
          made.offsets.push(offset);
          return counted(source.from(offset), (bytes) => (made.progress.bytes += bytes));
        },
      }),
    unreachable: () => undefined,
  });
  return made;
}

async function sender(port: number, options: Partial<GrpcTransportOptions> = {}): Promise<GrpcTransport> {
  const tls = await readCertificate(directory, "member-1");
  const transport = grpcTransport({ tls, ...options });
  await transport.start({
    hello: { clusterId: "c", from: 1, incarnation: "i", minLevel: 1, level: 1, activeLevel: 1 },
    encode: encodeMessages,
    decode: decodeMessages,
    admit: () => Promise.resolve(undefined),
    refused: () => undefined,
    receive: () => undefined,
    receiveSnapshot: () => Promise.resolve(),
    unreachable: () => undefined,
  });
  transport.setPeers([{ id: 2, address: `127.0.0.1:${port}` }]);
  return transport;
}

const confState = { voters: [1, 2], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
const metadata = { index: 9, term: 2, confState };

async function snapshotOf(bytes: number): Promise<{ image: Buffer; send: (by: GrpcTransport) => Promise<void> }> {
  const image = Buffer.from(seededRandom(bytes).bytes(bytes));
  const storage = await openLogStorage(memoryDisk(), { clusterId: "c", nodeId: 1, newIncarnation: () => "i" });
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield image;
  }
  await storage.saveSnapshot(metadata, chunks());
  const m = message("MsgSnap", { from: 1, to: 2, term: 2, snapshot: { metadata, data: new Uint8Array(0) } });
  return { image, send: (by) => by.sendSnapshot(m, storage.openSnapshot(9, { reuse: true })) };
}

async function stored({ storage }: Receiver): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of storage.openSnapshot(9).chunks) parts.push(Uint8Array.from(chunk));
  return Buffer.concat(parts);
}

test.each([
  ["64 kbit/s", 8_000, 32 * 1024],
  ["1 Mbit/s", 125_000, 400 * 1024],
  ["10 Mbit/s", 1_250_000, 3 * 1024 * 1024],
] as const)(
  "over %s with losses a snapshot goes on where it was cut, and heartbeats arrive meanwhile",
  { timeout: 120_000 },
  async (_, bytesPerSecond, bytes) => {
    const two = await receiver();
    const link = new SlowLink(Number(two.transport.address!.split(":")[1]), bytesPerSecond, 0.01);
    const one = await sender(await link.listen());
    const { image, send } = await snapshotOf(bytes);
    await until("they are connected", () => {
      one.send([message("MsgHeartbeat", { from: 1, to: 2 })]);
      return two.heartbeatsMs.length > 0;
    });
    const beat = setInterval(() => one.send([message("MsgHeartbeat", { from: 1, to: 2 })]), 100);
    const first = send(one);
    await until("half of it came", () => two.progress.bytes >= bytes / 2, 60_000);
    const gaps = two.heartbeatsMs.slice(1).map((at, before) => at - two.heartbeatsMs[before]!);
    expect(Math.max(...gaps)).toBeLessThan(1_500);
    link.cut();
    await expect(first).rejects.toMatchObject({ code: "RAFT_PEER_UNREACHABLE" });
    await until(
      "it goes through",
      () =>
        send(one).then(
          () => true,
          () => false,
        ),
      60_000,
    );
    clearInterval(beat);
    expect(two.offsets[0]).toBe(0);
    expect(two.offsets.at(-1)).toBeGreaterThan(bytes / 3);
    expect((await stored(two)).equals(image)).toBe(true);
    expect((await two.disk.list()).filter((name) => name.startsWith("snapshot.tmp"))).toEqual([]);
    await Promise.all([one.close(), two.transport.close()]);
    await two.storage.close();
    link.cut();
    link.server.close();
  },
);

test("a snapshot takes no more of a link than it is allowed to", async () => {
  const two = await receiver();
  const one = await sender(Number(two.transport.address!.split(":")[1]), { snapshotBytesPerSecond: 100_000 });
  const { send } = await snapshotOf(100_000);
  const begin = performance.now();
  await send(one);
  expect(performance.now() - begin).toBeGreaterThan(700);
  await Promise.all([one.close(), two.transport.close()]);
});

test("what came of a snapshot is removed when another comes, when it can't be written, and at the end", async () => {
  const disk = memoryDisk();
  let full = false;
  const faulty: Disk = {
    ...disk,
    create: async (name) => {
      const file = await disk.create(name);
      const write = (chunk: Uint8Array): Promise<void> =>
        full ? Promise.reject(new Error("ENOSPC")) : file.write(chunk);
      return { ...file, write };
    },
  };
  const open = (): Promise<RaftStorage> =>
    openLogStorage(faulty, { clusterId: "c", nodeId: 2, newIncarnation: () => "i" });
  const storage = await open();
  const left = async (): Promise<number> => (await disk.list()).filter((name) => name.startsWith("snapshot")).length;
  const cut = (index: number, fill = false): Promise<void> => {
    async function* from(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("half");
      full = fill;
      yield Buffer.from("more");
      throw new Error("cut");
    }
    return storage.receiveSnapshot({ ...metadata, index }, { bytes: 100, checksum: index, from });
  };
  await expect(cut(5)).rejects.toThrow("cut");
  await expect(cut(5)).rejects.toThrow("cut");
  expect(await left()).toBe(1);
  await expect(cut(6)).rejects.toThrow("cut");
  expect(await left()).toBe(1);
  await expect(cut(7, true)).rejects.toThrow("ENOSPC");
  expect(await left()).toBe(0);
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(300_000);
    throw new Error("the state machine failed");
  }
  full = false;
  await expect(storage.saveSnapshot({ ...metadata, index: 8 }, failing())).rejects.toThrow("the state machine failed");
  expect(await left()).toBe(0);
  async function* wrong(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(100);
  }
  const damaged = storage.receiveSnapshot({ ...metadata, index: 9 }, { bytes: 100, checksum: 1, from: wrong });
  await expect(damaged).rejects.toMatchObject({ code: "RAFT_WIRE_INVALID" });
  expect(await left()).toBe(0);
  await expect(cut(10)).rejects.toThrow("cut");
  await storage.close();
  expect(await left()).toBe(0);
});
