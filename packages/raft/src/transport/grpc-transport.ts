/**
 * gRPC with mutual TLS: a stream a peer for messages, a call a snapshot. Schema: `proto/warren/raft/v1/raft.proto`.
 *
 * Who speaks is in the call's metadata (levels, cluster, from, to, incarnation) and checked before anything is read:
 * T1: a call is from the member that its certificate names.
 */
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

import {
  Backoff,
  errorText,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Random,
  type Timer,
} from "@warren/std";

import type { Message, NodeId } from "../core/index.ts";
import { checkNumber } from "../option-checks.ts";
import { RaftError } from "../errors.ts";
import type { SnapshotReader } from "../storage/index.ts";
import { CallRefused, Connection, type Call } from "./grpc-connection.ts";
import { GrpcServer, type Caller, type Incoming, type Method } from "./grpc-server.ts";
import { maxMessageBytes } from "./grpc-frames.ts";
import { unreachable } from "./memory-transport.ts";
import { addressProblem, notNamed, secureConnection, type TlsSource } from "./tls.ts";
import { SnapshotSender, storedReply } from "./snapshot-sender.ts";
import { messageBytes } from "./wire.ts";
import {
  maxTagsBytes,
  tagsProblem,
  type Hello,
  type Member,
  type PeerRefusal,
  type Tags,
  type Transport,
  type TransportHandler,
} from "./transport.ts";

export interface GrpcTransportOptions {
  /** Where to listen, `HOST:PORT`. Left out: it serves the sockets that `accept` is given, and no other. */
  readonly listen?: string;
  /** Read at each dial and each handshake. */
  readonly tls: TlsSource;
  /**
   * Opens the way to a member; it may still be connecting when it returns. A `TLSSocket` is used as it is, once its
   * certificate is found to name the member; over anything else TLS is spoken. @default TCP to the member's address
   */
  readonly dial?: (member: Member) => Duplex;
  /**
   * The DNS name in the certificate (subjectAltName) of the member `id`, required of the member that is dialled and of
   * the peer that calls: the authority's signature alone is not enough. @default `member-ID`
   */
  readonly certificateName?: (id: NodeId) => string;
  /** Bytes that may wait for one peer; beyond them messages to it are dropped, and sent again by Raft. @default 32 MiB */
  readonly maxQueuedBytes?: number;
  /** A cap on what a snapshot to one member takes of a link, bytes a second. @default none */
  readonly snapshotBytesPerSecond?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

type ResolvedOptions = Required<Omit<GrpcTransportOptions, "listen" | "dial">> &
  Pick<GrpcTransportOptions, "listen" | "dial">;

/** Below what a frame may have, by what a level may put around its messages. */
const maxFrameBytes = maxMessageBytes - 1024 * 1024;
/** So that a message fits a frame with room for whatever a level adds to it. */
const largestMessageBytes = 48 * 1024 * 1024;

const paths = { messages: "/warren.raft.v1.Raft/Messages", snapshot: "/warren.raft.v1.Raft/Snapshot" };

export interface GrpcTransport extends Transport {
  /** Where it listens, `HOST:PORT` with the port that port 0 became; `undefined` unless it does. */
  readonly address: string | undefined;
  /**
   * Serves a connection that a listener of the caller's took, with TLS done and `raftProtocol` agreed on, asked for a
   * certificate; the caller's certificate is checked here. Closes it if this transport is not started, or closed.
   */
  accept(socket: TLSSocket): void;
}

export function grpcTransport(options: GrpcTransportOptions): GrpcTransport {
  const { maxQueuedBytes = 1, snapshotBytesPerSecond = Number.POSITIVE_INFINITY } = options;
  checkNumber("maxQueuedBytes", maxQueuedBytes, 1, false);
  if (snapshotBytesPerSecond !== Number.POSITIVE_INFINITY) {
    checkNumber("snapshotBytesPerSecond", snapshotBytesPerSecond, 1, false);
  }
  return new GrpcTransportOfMember({
    certificateName: (id) => `member-${id}`,
    maxQueuedBytes: 32 * 1024 * 1024,
    snapshotBytesPerSecond: Number.POSITIVE_INFINITY,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    ...options,
  });
}

class GrpcTransportOfMember implements GrpcTransport {
  private readonly options: ResolvedOptions;
  private readonly peers = new Map<number, Peer>();
  private handler: TransportHandler | undefined;
  private server: GrpcServer | undefined;
  private closed = false;

  constructor(options: ResolvedOptions) {
    this.options = options;
  }

  async start(handler: TransportHandler): Promise<void> {
    this.handler = handler;
    for (const peer of this.peers.values()) peer.open(handler);
    const serve =
      (work: (incoming: Incoming, from: NodeId) => Promise<void>): Method =>
      async (caller, accept) => {
        const from = await this.admit(caller, handler);
        const incoming = accept();
        // Where it calls from, it can be called.
        this.peers.get(from)?.hurry();
        await work(incoming, from);
      };
    this.server = new GrpcServer(
      new Map([
        [paths.messages, serve((incoming, from) => takeMessages(incoming, from, handler))],
        [paths.snapshot, serve((incoming, from) => takeSnapshot(incoming, from, handler))],
      ]),
      this.options.clock,
    );
    const { listen, tls, log } = this.options;
    if (listen === undefined) return;
    await this.server.listen(listen, tls, (error) => {
      log.error("new certificate files can't be used; the old ones stay in use", { error: errorText(error) });
    });
  }

  get address(): string | undefined {
    return this.server?.address;
  }

  accept(socket: TLSSocket): void {
    if (this.server === undefined) socket.destroy();
    else this.server.accept(socket);
  }

  get maxMessageBytes(): number {
    return largestMessageBytes;
  }

  addressProblem(address: string): string | undefined {
    // What a dialler of the caller's understands, it knows.
    return this.options.dial === undefined ? addressProblem(address) : undefined;
  }

  setPeers(members: readonly Member[]): void {
    if (this.closed) return;
    for (const [id, peer] of this.peers) {
      if (members.some((member) => member.id === id && member.address === peer.address)) continue;
      peer.close();
      this.peers.delete(id);
    }
    for (const { id, address } of members) {
      if (this.peers.has(id)) continue;
      const peer = new Peer({ id, address }, this.options);
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
    this.closed = true;
    this.handler = undefined;
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
    this.server?.close();
  }

  private async admit({ metadata, socket }: Caller, handler: TransportHandler): Promise<number> {
    const from = Number(metadata("warren-raft-from"));
    const refuse = (why: string): never => {
      handler.refused({ peer: Number.isSafeInteger(from) ? from : undefined, by: "here", why });
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, why);
    };
    const to = metadata("warren-raft-to");
    if (to !== String(handler.hello.from))
      refuse(`the call is for member ${to}, and this is ${handler.hello.from}; look at its address`);
    const peer: Hello = {
      clusterId: metadata("warren-raft-cluster"),
      from,
      incarnation: metadata("warren-raft-incarnation"),
      minLevel: Number(metadata("warren-raft-min-level")),
      level: Number(metadata("warren-raft-level")),
      activeLevel: Number(metadata("warren-raft-active-level")),
      address: metadata("warren-raft-address") || undefined,
      tags: readTags(metadata("warren-raft-tags")),
    };
    const name = this.options.certificateName(peer.from);
    const unnamed = notNamed(socket, name);
    if (unnamed !== undefined) refuse(`the caller is not ${name}: ${unnamed}; look at its certificate`); // T1
    const why = await handler.admit(peer);
    return why === undefined ? peer.from : refuse(why);
  }
}

/** Characters of tags in a header, where each byte may take three. */
const maxTagsText = 3 * maxTagsBytes;

/** A follower hands these on in their sender's name. */
const forwarded: ReadonlySet<Message["type"]> = new Set(["MsgProp", "MsgReadIndex", "MsgTransferLeader"]);

/** The node's inbox is bounded, so nothing is held back here. */
function takeMessages(incoming: Incoming, from: NodeId, handler: TransportHandler): Promise<void> {
  return incoming.forEach((body) => {
    const messages = handler.decode(body);
    if (messages.some((m) => m.from !== from && !forwarded.has(m.type))) {
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `member ${from} speaks for another`);
    }
    handler.receive(messages);
  });
}

async function takeSnapshot(incoming: Incoming, from: NodeId, handler: TransportHandler): Promise<void> {
  const frames = incoming.bodies();
  const first = await frames.next();
  const message = first.done === true ? undefined : handler.decode(first.value)[0];
  if (message?.snapshot === undefined || message.type !== "MsgSnap" || message.from !== from) {
    throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot call begins with the caller's own MsgSnap");
  }
  const { bytes, checksum } = readAnnouncement((await frames.next()).value ?? Buffer.alloc(0));
  await handler.receiveSnapshot(message, { bytes, checksum, from: (offset) => rest(incoming, frames, offset, bytes) });
}

function announcement({ bytes, checksum }: SnapshotReader): Buffer {
  return Buffer.from(JSON.stringify({ bytes, checksum }));
}

function readAnnouncement(body: Buffer): { readonly bytes: number; readonly checksum: number } {
  const invalid = new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot is announced with its length and checksum");
  let found: { bytes?: unknown; checksum?: unknown } | null;
  try {
    found = JSON.parse(body.toString()) as typeof found;
  } catch {
    throw invalid;
  }
  const { bytes, checksum } = found ?? {};
  if (!Number.isSafeInteger(bytes) || !Number.isSafeInteger(checksum)) throw invalid;
  return { bytes: bytes as number, checksum: checksum as number };
}

/** A snapshot's bytes from `offset` on. Each reply follows when more is asked for: what came before is stored then. */
async function* rest(
  incoming: Incoming,
  frames: AsyncIterator<Uint8Array>,
  offset: number,
  bytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  incoming.reply(storedReply(offset));
  for (let at = offset; at < bytes;) {
    const next = await frames.next();
    if (next.done === true) throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot ended before its end");
    at += next.value.length;
    if (at > bytes) throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a snapshot is longer than announced");
    yield next.value;
    incoming.reply(storedReply(at));
  }
}

/** Why the other side refused a call; nothing if the call was cut. */
function refusalOf(error: unknown): Omit<PeerRefusal, "peer"> | undefined {
  return error instanceof CallRefused ? { by: "there", why: error.why } : undefined;
}

/** A turn's messages in as few frames as the receiver takes. */
function inFrames(batch: readonly Message[]): readonly (readonly Message[])[] {
  const frames: Message[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const m of batch) {
    const bytes = messageBytes(m);
    if (size + bytes > maxFrameBytes) {
      frames.push([]);
      size = 0;
    }
    frames.at(-1)?.push(m);
    size += bytes;
  }
  return frames;
}

class Peer {
  private readonly member: Member;
  private readonly options: ResolvedOptions;
  private readonly backoff: Backoff;
  private handler: TransportHandler | undefined;
  private connection: Connection | undefined;
  private call: Call | undefined;
  /** Those that carry a snapshot. */
  private readonly snapshots = new Set<Connection>();
  private retry: Timer | undefined;
  private queuedBytes = 0;

  constructor(member: Member, options: ResolvedOptions) {
    this.member = member;
    this.options = options;
    this.backoff = new Backoff(options.random, { baseMs: 50, maxMs: 1_000 });
  }

  private get id(): NodeId {
    return this.member.id;
  }

  get address(): string {
    return this.member.address;
  }

  open(handler: TransportHandler): void {
    this.handler = handler;
    this.connect(handler);
  }

  /** Calls again at once, if it waits to: the peer is there, as it called. */
  hurry(): void {
    if (this.call !== undefined || this.handler === undefined) return;
    this.retry?.cancel();
    this.backoff.reset();
    this.connect(this.handler);
  }

  /** False if nothing can be sent now. */
  send(batch: readonly Message[]): boolean {
    const { handler } = this;
    if (handler === undefined || this.call === undefined) return false;
    if (this.queuedBytes > this.options.maxQueuedBytes) return false;
    for (const part of inFrames(batch)) this.write(this.call, handler.encode(part));
    return true;
  }

  private write(call: Call, bytes: Buffer): void {
    this.queuedBytes += bytes.length;
    call.write(bytes, () => {
      if (this.call === call) this.queuedBytes -= bytes.length;
    });
  }

  /** On a connection of its own, so that no heartbeat waits behind it. */
  async sendSnapshot(message: Message, snapshot: SnapshotReader): Promise<void> {
    const { handler } = this;
    if (handler === undefined) throw unreachable(this.id);
    const { clock, snapshotBytesPerSecond: bytesPerSecond } = this.options;
    let connection: Connection | undefined;
    try {
      connection = this.dial();
      this.snapshots.add(connection);
      const call = connection.call(paths.snapshot, this.metadata(handler));
      const sender = new SnapshotSender(call, { clock, bytesPerSecond });
      for (const head of [handler.encode([message]), announcement(snapshot)]) call.write(head, () => undefined);
      await sender.send(snapshot.chunks, snapshot.bytes);
      call.end();
      await call.ended;
    } catch (error) {
      throw unreachable(this.id, error);
    } finally {
      if (connection !== undefined) this.snapshots.delete(connection);
      connection?.close();
    }
  }

  close(): void {
    this.handler = undefined;
    for (const connection of this.snapshots) connection.close();
    this.retry?.cancel();
    this.call = undefined;
    this.connection?.close();
    this.connection = undefined;
  }

  private dial(): Connection {
    const { certificateName, tls, clock, dial } = this.options;
    const name = certificateName(this.id);
    const socket = secureConnection(this.member, name, tls, dial?.(this.member));
    return new Connection(this.address, name, socket, clock); // T1
  }

  private connect(handler: TransportHandler): void {
    let connection: Connection;
    let call: Call;
    try {
      connection = this.dial();
      call = connection.call(paths.messages, this.metadata(handler));
    } catch (error) {
      this.options.log.error("a member can't be dialled", { peer: this.id, error: errorText(error) });
      this.again(handler);
      return;
    }
    this.connection = connection;
    this.call = call;
    this.queuedBytes = 0;
    call.onWelcome(() => this.backoff.reset());
    const ended = (error?: unknown): void => {
      connection.close();
      if (this.call !== call) return;
      const why = refusalOf(error) ?? connection.refusal;
      if (why !== undefined) handler.refused({ peer: this.id, ...why });
      this.call = undefined;
      this.connection = undefined;
      this.again(handler);
    };
    call.ended.then(() => ended(), ended);
  }

  private again(handler: TransportHandler): void {
    handler.unreachable(this.id);
    this.retry = this.options.clock.setTimeout(() => this.connect(handler), this.backoff.next());
  }

  private metadata({ hello }: TransportHandler): Record<string, string> {
    return {
      "warren-raft-min-level": String(hello.minLevel),
      "warren-raft-level": String(hello.level),
      "warren-raft-active-level": String(hello.activeLevel),
      "warren-raft-cluster": hello.clusterId,
      "warren-raft-from": String(hello.from),
      "warren-raft-to": String(this.id),
      "warren-raft-incarnation": hello.incarnation,
      ...(hello.address === undefined ? {} : { "warren-raft-address": hello.address }),
      ...(hello.tags === undefined ? {} : { "warren-raft-tags": encodeURIComponent(JSON.stringify(hello.tags)) }),
    };
  }
}

/** A peer's tags; none where they are no texts: they are the program's, and no reason to refuse a member. */
function readTags(text: string): Tags | undefined {
  if (text === "" || text.length > maxTagsText) return undefined;
  try {
    const value: unknown = JSON.parse(decodeURIComponent(text));
    return tagsProblem(value) === undefined ? (value as Tags) : undefined;
  } catch {
    return undefined;
  }
}
