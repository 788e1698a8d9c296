import { createServer, type Server, type Socket } from "node:net";
import type { Clock, Logger, Timer } from "@warren/std";
import { frame } from "./exchange.ts";
import { headerBytes, uint16 } from "./message.ts";
import type { DnsMetrics } from "./metrics.ts";
import type { Endpoint, ResolvedOptions } from "./options.ts";
import type { Responder } from "./responder.ts";

/** Unread replies, bytes, past which a client's connection is closed. */
const unreadLimit = 256 * 2 ** 10;

/** A client's connection: questions one after the other, answered in the order in which answers are found (RFC 7766). */
class Connection {
  readonly #socket: Socket;
  readonly #address: string;
  readonly #responder: Responder;
  readonly #clock: Clock;
  readonly #options: ResolvedOptions["tcp"];
  #chunks: Buffer = Buffer.alloc(0);
  #pending = 0;
  #ended = false;
  #idle: Timer | undefined;

  constructor(socket: Socket, address: string, responder: Responder, clock: Clock, options: ResolvedOptions["tcp"]) {
    this.#socket = socket;
    this.#address = address;
    this.#responder = responder;
    this.#clock = clock;
    this.#options = options;
  }

  begin(): void {
    const socket = this.#socket;
    socket.on("data", (chunk: Buffer) => {
      this.#chunks = this.#chunks.length === 0 ? chunk : Buffer.concat([this.#chunks, chunk]);
      this.#read();
    });
    socket.on("end", () => {
      this.#ended = true;
      this.#settle();
    });
    socket.on("close", () => this.#idle?.cancel());
    this.#settle();
  }

  #read(): void {
    let read = false;
    while (this.#chunks.length >= 2 && this.#pending < this.#options.pipelined && !this.#socket.destroyed) {
      const length = uint16(this.#chunks, 0);
      if (length < headerBytes) {
        this.#socket.destroy();
        return;
      }
      if (this.#chunks.length < 2 + length) break;
      const message = this.#chunks.subarray(2, 2 + length);
      this.#chunks = this.#chunks.subarray(2 + length);
      this.#answer(message);
      read = true;
    }
    if (this.#pending >= this.#options.pipelined) this.#socket.pause();
    if (read) this.#settle();
  }

  #answer(message: Buffer): void {
    const reply = this.#responder.reply(message, { address: this.#address }, "tcp");
    if (reply === undefined) return;
    if (!(reply instanceof Promise)) {
      this.#send(reply);
      return;
    }
    this.#pending += 1;
    void reply.then((bytes) => {
      this.#pending -= 1;
      this.#send(bytes);
      this.#socket.resume();
      this.#read();
      this.#settle();
    });
  }

  #send(reply: Buffer): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(frame(reply));
    if (this.#socket.writableLength > unreadLimit) this.#socket.destroy();
  }

  /** After each whole question and each answer: closes once the client has ended its side and all is answered, else restarts the idle timer. */
  #settle(): void {
    this.#idle?.cancel();
    if (this.#pending > 0 || this.#socket.destroyed) return;
    if (this.#ended) this.#socket.end();
    this.#idle = this.#clock.setTimeout(() => this.#socket.destroy(), this.#options.idleMs);
  }
}

/** Listens on one address, and bounds the number of connections. */
export class TcpListener {
  readonly endpoint: Endpoint;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #perClient = new Map<string, number>();
  readonly #metrics: DnsMetrics;
  readonly #options: ResolvedOptions["tcp"];

  private constructor(
    server: Server,
    endpoint: Endpoint,
    responder: Responder,
    clock: Clock,
    metrics: DnsMetrics,
    log: Logger,
    options: ResolvedOptions["tcp"],
  ) {
    this.endpoint = endpoint;
    this.#server = server;
    this.#metrics = metrics;
    this.#options = options;
    server.on("connection", (socket) => {
      const address = socket.remoteAddress;
      // The client closed before its connection was handled.
      if (address === undefined) socket.destroy();
      else if (this.#admit(socket, address)) new Connection(socket, address, responder, clock, options).begin();
    });
    server.on("error", (error) => log.warn("a connection could not be accepted", { error }));
  }

  /** Rejects with the system's error. */
  static async open(
    endpoint: Endpoint,
    responder: Responder,
    clock: Clock,
    metrics: DnsMetrics,
    log: Logger,
    options: ResolvedOptions["tcp"],
  ): Promise<TcpListener> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: endpoint.address, port: endpoint.port, exclusive: true }, () => {
        server.removeListener("error", reject);
        resolve();
      });
    });
    return new TcpListener(server, endpoint, responder, clock, metrics, log, options);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #admit(socket: Socket, address: string): boolean {
    const ofClient = this.#perClient.get(address) ?? 0;
    socket.on("error", () => socket.destroy());
    if (this.#sockets.size >= this.#options.connections || ofClient >= this.#options.connectionsPerClient) {
      this.#metrics.dropped.add(1, { reason: "too many connections" });
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    this.#perClient.set(address, ofClient + 1);
    this.#metrics.connections.set(this.#sockets.size);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#metrics.connections.set(this.#sockets.size);
      const left = (this.#perClient.get(address) ?? 1) - 1;
      if (left === 0) this.#perClient.delete(address);
      else this.#perClient.set(address, left);
    });
    return true;
  }
}
