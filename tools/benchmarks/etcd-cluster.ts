/**
 * Three etcd members beside ours, as durable and with TLS between members as well, and a driver of their clients that
 * costs next to nothing: HTTP/2 frames laid by hand, the same header block for every call, several connections.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";

import { makeCertificate } from "@warren/raft/testing";
import { until } from "@warren/std/testing";

import { keyBytes, nextWrite, valueBytes, type Driver } from "./load.ts";

/** Debian's, installed if it is not there. */
export function installEtcd(): string {
  const version = (): string => execFileSync("etcd", ["--version"], { encoding: "utf8" }).split("\n")[0] ?? "etcd";
  try {
    return version();
  } catch {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    execFileSync("apt-get", ["update", "-qq"], { stdio: "ignore" });
    execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "etcd-server"], {
      stdio: "ignore",
      env,
    });
    return version();
  }
}

const ids = [1, 2, 3];
const peerPort = (id: number): number => 25_000 + id;
const clientPort = (id: number): number => 26_000 + id;

export interface EtcdCluster {
  readonly processes: readonly ChildProcess[];
  readonly leader: number;
  connect(clients: number, done: (slot: number) => void): Promise<Driver & Disposable>;
  /** Syncs of the leader's log so far. */
  leaderSyncs(): Promise<number>;
}

export async function startEtcd(directory: string, certificates: string): Promise<EtcdCluster> {
  const peer = (id: number): string => `https://127.0.0.1:${peerPort(id)}`;
  const client = (id: number): string => `http://127.0.0.1:${clientPort(id)}`;
  await Promise.all(ids.map((id) => makeCertificate(certificates, `etcd-${id}`, ["IP:127.0.0.1"])));
  const processes = ids.map((id) => {
    const flags = {
      name: `m${id}`,
      "data-dir": join(directory, `etcd-${id}`),
      "initial-cluster": ids.map((other) => `m${other}=${peer(other)}`).join(","),
      "listen-peer-urls": peer(id),
      "initial-advertise-peer-urls": peer(id),
      "listen-client-urls": client(id),
      "advertise-client-urls": client(id),
      "peer-cert-file": join(certificates, `etcd-${id}.pem`),
      "peer-key-file": join(certificates, `etcd-${id}.key`),
      "peer-trusted-ca-file": join(certificates, "ca.pem"),
      logger: "zap",
      "log-level": "error",
    };
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    return spawn("etcd", [...args, "--peer-client-cert-auth"], { stdio: "ignore" });
  });
  const leads = async (id: number): Promise<boolean> => {
    const answer = await fetch(`${client(id)}/v3/maintenance/status`, { method: "POST", body: "{}" });
    const { header, leader } = (await answer.json()) as { header?: { member_id: string }; leader?: string };
    return leader !== undefined && leader === header?.member_id;
  };
  const leader = await until(
    "etcd has a leader",
    async () => {
      for (const id of ids) if (await leads(id).catch(() => false)) return id;
      return undefined;
    },
    30_000,
  );
  return {
    processes,
    leader,
    connect: (clients, done) => connectAll(clientPort(leader), clients, done),
    async leaderSyncs() {
      const text = await (await fetch(`${client(leader)}/metrics`)).text();
      return Number(/^etcd_disk_wal_fsync_duration_seconds_count (\d+)$/mu.exec(text)?.[1]);
    },
  };
}

async function connectAll(port: number, clients: number, done: (slot: number) => void): Promise<Driver & Disposable> {
  const connections = await Promise.all(
    Array.from({ length: Math.min(clients, 16) }, async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      return new PutConnection(socket, port, done);
    }),
  );
  return {
    start: (slot) => connections[slot % connections.length]?.put(slot),
    [Symbol.dispose]: () => connections.forEach((connection) => connection.close()),
  };
}

/** Frame types and flags of HTTP/2 (RFC 9113 §6). */
const frames = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flags = { endStream: 1, ack: 1, endHeaders: 4 } as const;
const frameHeadBytes = 9;
/** Bytes received before the peer is given room for as many more. */
const windowStep = 16_384;

function frame(type: number, flag: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flag;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Header fields as HPACK literals that touch no table, so that the block is the same for every call. */
function headerBlock(authority: string): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]), // :method POST, :scheme http, :path
    text("/etcdserverpb.KV/Put"),
    Buffer.from([0x01]), // :authority
    text(authority),
    Buffer.from([0x0f, 0x10]), // content-type
    text("application/grpc"),
    Buffer.from([0x00]),
    text("te"),
    text("trailers"),
  ]);
}

class PutConnection {
  private readonly socket: Socket;
  private readonly done: (slot: number) => void;
  private readonly template: Buffer;
  private readonly bodyAt: number;
  private readonly headersAt: number;
  private readonly slots = new Map<number, number>();
  private readonly answered = new Set<number>();
  private stream = 1;
  private rest: Buffer = Buffer.alloc(0);
  private unacknowledged = 0;

  constructor(socket: Socket, port: number, done: (slot: number) => void) {
    this.socket = socket;
    this.done = done;
    const headers = frame(frames.headers, flags.endHeaders, 0, headerBlock(`127.0.0.1:${port}`));
    // PutRequest: key (1) and value (2), behind gRPC's prefix of a flag and a length.
    const fields = [Buffer.from([0x0a, keyBytes]), Buffer.alloc(keyBytes), Buffer.from([0x12, 0x80, 0x02])];
    const request = Buffer.concat([...fields, Buffer.alloc(valueBytes)]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(request.length, 1);
    const data = frame(frames.data, flags.endStream, 0, Buffer.concat([prefix, request]));
    this.template = Buffer.concat([headers, data]);
    this.headersAt = headers.length;
    this.bodyAt = headers.length + frameHeadBytes + prefix.length + 2;
    socket.setNoDelay();
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(frame(frames.settings, 0, 0, Buffer.alloc(0)));
    socket.on("data", (chunk: Buffer) => this.take(chunk));
  }

  put(slot: number): void {
    const call = Buffer.from(this.template);
    call.writeUInt32BE(this.stream, 5);
    call.writeUInt32BE(this.stream, this.headersAt + 5);
    const write = nextWrite();
    write.copy(call, this.bodyAt, 0, keyBytes);
    write.copy(call, this.bodyAt + keyBytes + 3, keyBytes);
    this.slots.set(this.stream, slot);
    this.stream += 2;
    if (this.socket.writableCorked === 0) {
      this.socket.cork();
      process.nextTick(() => this.socket.uncork());
    }
    this.socket.write(call);
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    while (bytes.length - at >= frameHeadBytes) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < frameHeadBytes + length) break;
      const payload = bytes.subarray(at + frameHeadBytes, at + frameHeadBytes + length);
      this.frame(bytes.readUInt8(at + 3), bytes.readUInt8(at + 4), bytes.readUInt32BE(at + 5), payload);
      at += frameHeadBytes + length;
    }
    this.rest = bytes.subarray(at);
  }

  private frame(type: number, flag: number, stream: number, payload: Buffer): void {
    switch (type) {
      case frames.data:
        if (payload.length > 0) this.answered.add(stream);
        this.giveRoom(payload.length);
        return;
      case frames.headers: {
        if ((flag & flags.endStream) === 0) return;
        const slot = this.slots.get(stream);
        // gRPC ends a call that failed without a message.
        if (slot === undefined || !this.answered.delete(stream)) throw new Error("etcd refused a write");
        this.slots.delete(stream);
        this.done(slot);
        return;
      }
      case frames.settings:
        if ((flag & flags.ack) === 0) this.socket.write(frame(frames.settings, flags.ack, 0, Buffer.alloc(0)));
        return;
      case frames.ping:
        if ((flag & flags.ack) === 0) this.socket.write(frame(frames.ping, flags.ack, 0, payload));
        return;
      case frames.reset:
      case frames.goAway:
        throw new Error(`etcd ended a stream or a connection: frame ${type}`);
    }
  }

  private giveRoom(bytes: number): void {
    this.unacknowledged += bytes;
    if (this.unacknowledged < windowStep) return;
    const room = Buffer.alloc(4);
    room.writeUInt32BE(this.unacknowledged);
    this.unacknowledged = 0;
    this.socket.write(frame(frames.windowUpdate, 0, 0, room));
  }
}
