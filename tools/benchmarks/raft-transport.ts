/** A message there and back between two ends of one process, over TLS on loopback: our transport, and grpc-js. */
import type { Socket } from "node:net";

import { Client, credentials, Server, ServerCredentials, type ServerReadableStream } from "@grpc/grpc-js";
import { grpcTransport, type TlsFiles, type TransportHandler } from "@warren/raft";
import { message, type Message } from "@warren/raft/core";
import { makeCertificate, readCertificate } from "@warren/raft/testing";

import { percentile, printTable, setting } from "./report.ts";

const address = (id: number): string => `127.0.0.1:${24_100 + id}`;
const data = Buffer.alloc(300, 1);
const append = (from: number, to: number): Message =>
  message("MsgApp", { from, to, term: 1, entries: [{ term: 1, index: 1, type: "EntryNormal", data }] });

/** Both ends; `send` goes there and back, and `got` is called when it is. */
interface Pair {
  readonly name: string;
  send(): void;
  got: () => void;
  close(): Promise<void>;
}

async function ours(tls: ReadonlyMap<number, TlsFiles>): Promise<Pair> {
  const up = Promise.withResolvers<void>();
  const ends = [1, 2].map((id) => grpcTransport({ listen: address(id), tls: tls.get(id) as TlsFiles }));
  const [one, two] = ends as [(typeof ends)[0], (typeof ends)[0]];
  const pair: Pair = {
    name: "@warren/raft",
    send: () => one.send([append(1, 2)]),
    got: up.resolve,
    close: async () => void (await Promise.all(ends.map((end) => end.close()))),
  };
  const handler = (id: number, receive: TransportHandler["receive"]): TransportHandler => ({
    hello: { clusterId: "bench", from: id, incarnation: "i" },
    admit: async () => undefined,
    receive,
    receiveSnapshot: async () => undefined,
    unreachable: () => undefined,
  });
  await two.start(handler(2, () => two.send([append(2, 1)])));
  await one.start(handler(1, () => pair.got()));
  two.setPeers([{ id: 1, address: address(1) }]);
  one.setPeers([{ id: 2, address: address(2) }]);
  const knocking = setInterval(pair.send, 50);
  await up.promise;
  clearInterval(knocking);
  return pair;
}

async function grpcJs(tls: ReadonlyMap<number, TlsFiles>): Promise<Pair> {
  const bytes = { serialize: (body: Buffer) => body, deserialize: (body: Buffer) => body };
  const method = { path: "/bench/Stream", requestStream: true, responseStream: false };
  const { serialize: requestSerialize, deserialize: requestDeserialize } = bytes;
  const definition = { ...method, requestSerialize, requestDeserialize };
  const stream = { ...definition, responseSerialize: requestSerialize, responseDeserialize: requestDeserialize };
  const frame = Buffer.alloc(420, 1);
  const ends = await Promise.all(
    [3, 4].map(async (at, own) => {
      const { ca, cert, key } = tls.get(own + 1) as TlsFiles;
      const server = new Server();
      let take = (): void => undefined;
      server.addService(
        { stream },
        { stream: (call: ServerReadableStream<Buffer, Buffer>) => void call.on("data", () => take()) },
      );
      const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
      const secure = ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
      await new Promise((resolve) => void server.bindAsync(address(at), secure, resolve));
      const channel = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert));
      const name = `member-${2 - own}`;
      const options = { "grpc.ssl_target_name_override": name, "grpc.enable_retries": 0 };
      const client = new Client(address(7 - at), channel, options);
      return { server, client, onMessage: (taken: () => void) => void (take = taken) };
    }),
  );
  const calls = ends.map(({ client }) => {
    const call = client.makeClientStreamRequest(stream.path, requestSerialize, requestDeserialize, () => undefined);
    call.on("error", () => undefined);
    return call as unknown as Socket;
  });
  const pair: Pair = {
    name: "grpc-js",
    send: () => void calls[0]?.write(frame),
    got: () => undefined,
    async close() {
      for (const { server, client } of ends) {
        client.close();
        server.forceShutdown();
      }
    },
  };
  ends[1]?.onMessage(() => void calls[1]?.write(frame));
  ends[0]?.onMessage(() => pair.got());
  return pair;
}

async function rounds(pair: Pair, count: number): Promise<{ readonly took: number[]; readonly cpu: number }> {
  const took: number[] = [];
  const before = process.cpuUsage();
  for (let n = 0; n < count; n++) {
    const began = performance.now();
    await new Promise<void>((resolve) => {
      pair.got = resolve;
      pair.send();
    });
    took.push((performance.now() - began) * 1_000);
  }
  const { user, system } = process.cpuUsage(before);
  return { took, cpu: (user + system) / count };
}

export async function transport(_directory: string, certificates: string): Promise<void> {
  await Promise.all([1, 2].map((id) => makeCertificate(certificates, `member-${id}`)));
  const tls = new Map<number, TlsFiles>();
  for (const id of [1, 2]) tls.set(id, await readCertificate(certificates, `member-${id}`));
  const count = setting("BENCH_ROUND_TRIPS", 20_000);
  const pairs = [await ours(tls), await grpcJs(tls)];
  for (const pair of pairs) await rounds(pair, count);
  const rows: string[][] = [];
  const medians: number[] = [];
  for (const pair of [...pairs, ...pairs]) {
    const { took, cpu } = await rounds(pair, count);
    medians.push(percentile(took, 0.5));
    rows.push([pair.name, ...[0.5, 0.95, 0.99].map((share) => percentile(took, share).toFixed(0)), cpu.toFixed(0)]);
  }
  printTable(["an append of 300 bytes, there and back", "p50 µs", "p95 µs", "p99 µs", "CPU µs"], rows);
  const [a, b, c, d] = medians as [number, number, number, number];
  console.log(`${(a / b).toFixed(2)} and ${(c / d).toFixed(2)} × grpc-js's p50`);
  for (const pair of pairs) await pair.close();
}
