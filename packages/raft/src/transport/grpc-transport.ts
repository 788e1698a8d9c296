/**
 * gRPC with mutual TLS: a stream a peer for messages, a call a snapshot. Schema: `proto/warren/raft/v1/raft.proto`; its
 * two messages hold one bytes field each and are laid by hand, so that entries are not encoded again.
 *
 * Who speaks is in the call's metadata (version, cluster, from, to, incarnation) and checked before anything is read:
 * T1: a call is from the member that its certificate names.
 */
import { checkServerIdentity } from "node:tls";

import {
  Client,
  Metadata,
  Server,
  ServerCredentials,
  credentials,
  status,
  type ClientWritableStream,
  type MethodDefinition,
  type ServerReadableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { Backoff, errorText, systemClock, systemRandom, type Clock, type Random, type Timer } from "@warren/std";

import type { Message, NodeId } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { SnapshotReader } from "../storage/index.ts";
import { unreachable } from "./memory-transport.ts";
import type { Hello, Member, Transport, TransportHandler } from "./transport.ts";
import { decodeMessages, encodeMessages, wireVersion } from "./wire.ts";

/** This member's certificate and key, and the authority that signed everyone's; PEM. */
export interface TlsFiles {
  readonly ca: Uint8Array;
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

export interface GrpcTransportOptions {
  /** Where to listen, `HOST:PORT`. */
  readonly listen: string;
  readonly tls: TlsFiles;
  /**
   * The DNS name in the certificate (subjectAltName) of the member `id`. Whoever is dialled must show it, and whoever
   * calls in a member's name too: the authority's signature alone makes nobody a member. @default `member-ID`
   */
  readonly certificateName?: (id: NodeId) => string;
  /** Bytes that may wait for one peer; beyond them messages to it are dropped, and sent again by Raft. @default 32 MiB */
  readonly maxQueuedBytes?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

const certificateName = ({ certificateName: named }: GrpcTransportOptions, id: NodeId): string =>
  named?.(id) ?? `member-${id}`;

const service = "/warren.raft.v1.Raft/";
/** Largest message taken: a batch of appends to one peer. */
const maxMessageBytes = 64 * 1024 * 1024;
const channelOptions = { "grpc.max_receive_message_length": maxMessageBytes, "grpc.max_send_message_length": -1 };

/** `{ bytes body = 1 }` as protobuf. */
function encodeFrame(body: Uint8Array): Buffer {
  const head = [0x0a];
  let rest = body.length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) + 128);
  head.push(rest);
  return Buffer.concat([Buffer.from(head), body]);
}

function decodeFrame(bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes;
  let at = 1;
  let length = 0;
  for (let scale = 1; at < bytes.length; scale *= 128) {
    const byte = bytes[at++] as number;
    length += (byte & 0x7f) * scale;
    if (byte < 128) break;
  }
  if (bytes[0] !== 0x0a || at + length !== bytes.length) {
    throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a frame is not one bytes field");
  }
  return bytes.subarray(at);
}

function method(name: string): MethodDefinition<Uint8Array, Uint8Array> {
  return {
    path: service + name,
    requestStream: true,
    responseStream: false,
    requestSerialize: encodeFrame,
    requestDeserialize: decodeFrame,
    responseSerialize: encodeFrame,
    responseDeserialize: decodeFrame,
  };
}

const methods = { messages: method("Messages"), snapshot: method("Snapshot") };
type Call = ServerReadableStream<Uint8Array, Uint8Array>;

export function grpcTransport(options: GrpcTransportOptions): Transport {
  return new GrpcTransport(options);
}

class GrpcTransport implements Transport {
  private readonly options: GrpcTransportOptions;
  private readonly server = new Server(channelOptions);
  private readonly peers = new Map<number, Peer>();
  private handler: TransportHandler | undefined;

  constructor(options: GrpcTransportOptions) {
    this.options = options;
  }

  async start(handler: TransportHandler): Promise<void> {
    this.handler = handler;
    for (const peer of this.peers.values()) peer.open(handler);
    this.server.addService(methods, {
      messages: (call: Call, done: sendUnaryData<Uint8Array>) =>
        this.serve(call, done, (from) => this.takeMessages(call, from)),
      snapshot: (call: Call, done: sendUnaryData<Uint8Array>) =>
        this.serve(call, done, (from) => takeSnapshot(call, from, handler)),
    });
    const { ca, cert, key } = this.options.tls;
    const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
    const secure = ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
    await new Promise<void>((resolve, reject) => {
      this.server.bindAsync(this.options.listen, secure, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  setPeers(members: readonly Member[]): void {
    for (const [id, peer] of this.peers) {
      if (members.some((member) => member.id === id && member.address === peer.address)) continue;
      peer.close();
      this.peers.delete(id);
    }
    for (const { id, address } of members) {
      if (this.peers.has(id)) continue;
      const peer = new Peer(id, address, this.options);
      this.peers.set(id, peer);
      if (this.handler !== undefined) peer.open(this.handler);
    }
  }

  send(messages: readonly Message[]): void {
    for (const [to, batch] of Map.groupBy(messages, (m) => m.to)) {
      if (this.peers.get(to)?.send(batch) !== true) this.handler?.unreachable(to);
    }
  }

  async sendSnapshot(message: Message, snapshot: SnapshotReader): Promise<void> {
    const peer = this.peers.get(message.to);
    if (peer === undefined) throw unreachable(message.to);
    await peer.sendSnapshot(message, snapshot);
  }

  async close(): Promise<void> {
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
    this.server.forceShutdown();
  }

  /** Runs a call: admits the caller, does the work, answers. */
  private serve(call: Call, done: sendUnaryData<Uint8Array>, work: (from: number) => Promise<void>): void {
    const answer = async (): Promise<void> => {
      try {
        const from = await this.admit(call);
        // It hears that it is welcome; and where it calls from, it can be called.
        call.sendMetadata(new Metadata());
        this.peers.get(from)?.hurry();
        await work(from);
      } catch (error) {
        done({ code: status.FAILED_PRECONDITION, details: errorText(error) });
        return;
      }
      done(null, new Uint8Array(0));
    };
    void answer();
  }

  private async admit(call: Call): Promise<number> {
    const { handler } = this;
    const text = (name: string): string => String(call.metadata.get(name)[0] ?? "");
    const refuse = (why: string): never => {
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `call refused: ${why}`);
    };
    if (handler === undefined) return refuse("this member is not ready");
    if (text("warren-raft-version") !== String(wireVersion))
      refuse(`wire version ${text("warren-raft-version")} is not known`);
    if (text("warren-raft-to") !== String(handler.hello.from)) refuse(`it is for member ${text("warren-raft-to")}`);
    const peer: Hello = {
      clusterId: text("warren-raft-cluster"),
      from: Number(text("warren-raft-from")),
      incarnation: text("warren-raft-incarnation"),
      address: text("warren-raft-address") || undefined,
    };
    const { sslPeerCertificate: certificate } = call.getAuthContext();
    const name = certificateName(this.options, peer.from);
    if (certificate === undefined || checkServerIdentity(name, certificate) !== undefined) {
      return refuse(`the caller's certificate does not name ${name}`); // T1
    }
    const why = await handler.admit(peer);
    return why === undefined ? peer.from : refuse(why);
  }

  /** By events: an iterator costs as much again a message. The node's inbox is bounded, so nothing is held back here. */
  private takeMessages(call: Call, from: number): Promise<void> {
    return new Promise((resolve, reject) => {
      call.on("data", (body: Uint8Array) => {
        try {
          const messages = decodeMessages(body);
          if (messages.some((m) => m.from !== from && !forwarded.has(m.type))) {
            throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `member ${from} speaks for another`);
          }
          this.handler?.receive(messages);
        } catch (error) {
          call.removeAllListeners("data");
          call.pause();
          reject(error);
        }
      });
      call.on("end", resolve);
      call.on("error", reject);
      call.on("cancelled", resolve);
    });
  }
}

/** A follower hands these on in their sender's name. */
const forwarded: ReadonlySet<Message["type"]> = new Set(["MsgProp", "MsgReadIndex", "MsgTransferLeader"]);

async function takeSnapshot(call: Call, from: NodeId, handler: TransportHandler): Promise<void> {
  const frames = (call as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const first = await frames.next();
  const message = first.done === true ? undefined : decodeMessages(first.value)[0];
  if (message?.snapshot === undefined || message.type !== "MsgSnap" || message.from !== from) {
    throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot call begins with the caller's own MsgSnap");
  }
  await handler.receiveSnapshot(message, whole(frames));
}

/** The chunks up to the empty one that says that it was all: a stream cut short is an error, not an end. */
async function* whole(frames: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  for (let next = await frames.next(); next.done !== true; next = await frames.next()) {
    if (next.value.length === 0) return;
    yield next.value;
  }
  throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot ended before its end");
}

class Peer {
  readonly address: string;
  private readonly id: number;
  private readonly options: GrpcTransportOptions;
  private readonly backoff: Backoff;
  private client: Client | undefined;
  private handler: TransportHandler | undefined;
  private stream: ClientWritableStream<Uint8Array> | undefined;
  private retry: Timer | undefined;
  private queuedBytes = 0;

  constructor(id: number, address: string, options: GrpcTransportOptions) {
    this.id = id;
    this.address = address;
    this.options = options;
    this.backoff = new Backoff(options.random ?? systemRandom, { baseMs: 50, maxMs: 1_000 });
  }

  open(handler: TransportHandler): void {
    this.handler = handler;
    this.client = this.dial();
    this.connect(handler);
  }

  /** Calls again at once, if it waits to: the peer is there, as it called. */
  hurry(): void {
    if (this.stream !== undefined || this.handler === undefined) return;
    this.retry?.cancel();
    this.backoff.reset();
    // A new one does not wait either.
    this.client?.close();
    this.client = this.dial();
    this.connect(this.handler);
  }

  private dial(): Client {
    const { ca, cert, key } = this.options.tls;
    const secure = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert));
    return new Client(this.address, secure, {
      ...channelOptions,
      "grpc.ssl_target_name_override": certificateName(this.options, this.id), // T1
      "grpc.use_local_subchannel_pool": 1,
      // Raft sends again itself, and a proposal must not come twice.
      "grpc.enable_retries": 0,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.min_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
      "grpc.keepalive_time_ms": 5_000,
      "grpc.keepalive_timeout_ms": 2_000,
    });
  }

  /** False if nothing can be sent now. */
  send(batch: readonly Message[]): boolean {
    if (this.stream === undefined || this.queuedBytes > (this.options.maxQueuedBytes ?? 32 * 1024 * 1024)) return false;
    const bytes = encodeMessages(batch);
    this.queuedBytes += bytes.length;
    this.stream.write(bytes, () => (this.queuedBytes -= bytes.length));
    return true;
  }

  async sendSnapshot(message: Message, snapshot: SnapshotReader): Promise<void> {
    const { client, handler } = this;
    if (client === undefined || handler === undefined) throw unreachable(this.id);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { path, requestSerialize, responseDeserialize } = methods.snapshot;
    const call = client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      this.metadata(handler),
      (error) => (error === null ? resolve() : reject(unreachable(this.id, error))),
    );
    // One chunk at a time: memory stays bounded however large the snapshot.
    const write = (chunk: Uint8Array): Promise<void> =>
      Promise.race([promise, new Promise<void>((written) => call.write(chunk, () => written()))]);
    try {
      await write(encodeMessages([message]));
      for await (const chunk of snapshot.chunks) if (chunk.length > 0) await write(chunk);
      await write(new Uint8Array(0));
      call.end();
    } catch (error) {
      call.cancel();
      await promise.catch(() => undefined);
      throw error;
    }
    await promise;
  }

  close(): void {
    this.handler = undefined;
    this.retry?.cancel();
    this.stream?.cancel();
    this.stream = undefined;
    this.client?.close();
    this.client = undefined;
  }

  private connect(handler: TransportHandler): void {
    if (this.client === undefined) return;
    const { path, requestSerialize, responseDeserialize } = methods.messages;
    const stream = this.client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      this.metadata(handler),
      () => {
        if (this.stream !== stream) return;
        this.stream = undefined;
        this.queuedBytes = 0;
        handler.unreachable(this.id);
        const clock = this.options.clock ?? systemClock;
        this.retry = clock.setTimeout(() => this.connect(handler), this.backoff.next());
      },
    );
    this.stream = stream;
    stream.on("error", () => handler.unreachable(this.id));
    stream.on("metadata", () => this.backoff.reset());
  }

  private metadata({ hello }: TransportHandler): Metadata {
    const metadata = new Metadata();
    metadata.set("warren-raft-version", String(wireVersion));
    metadata.set("warren-raft-cluster", hello.clusterId);
    metadata.set("warren-raft-from", String(hello.from));
    metadata.set("warren-raft-to", String(this.id));
    metadata.set("warren-raft-incarnation", hello.incarnation);
    if (hello.address !== undefined) metadata.set("warren-raft-address", hello.address);
    return metadata;
  }
}
