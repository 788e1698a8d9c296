import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Logger } from "@warren/std";
import type { DnsMetrics } from "./metrics.ts";
import type { Endpoint } from "./options.ts";
import type { Responder } from "./responder.ts";

/** Receive buffer for questions that come while another is answered, bytes; the kernel may allow less. */
const receiveBytes = 2 ** 20;

/** A socket bound to one address, so that its replies come from it. */
export class UdpListener {
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #responder: Responder;
  readonly #metrics: DnsMetrics;
  #open = true;

  private constructor(socket: Socket, responder: Responder, metrics: DnsMetrics, log: Logger) {
    const { address, port } = socket.address();
    this.endpoint = { address, port };
    this.#socket = socket;
    this.#responder = responder;
    this.#metrics = metrics;
    socket.on("message", (message, from) => this.#answer(message, from));
    // A reply that the kernel does not take (no route, a firewall) is lost, as any datagram may be.
    socket.on("error", (error) => {
      metrics.dropped.add(1, { reason: "not sent" });
      log.debug("a reply was not sent", { error });
    });
  }

  /** Rejects with the system's error. */
  static async open(
    { address, port }: Endpoint,
    responder: Responder,
    metrics: DnsMetrics,
    log: Logger,
  ): Promise<UdpListener> {
    const type = isIPv6(address) ? "udp6" : "udp4";
    // The destinations are addresses already. Without this, Node looks each up, and sends in a later turn of the event loop.
    const lookup = (host: string, _: unknown, done: (error: null, address: string, family: number) => void): void =>
      done(null, host, type === "udp6" ? 6 : 4);
    const socket = createSocket({ type, lookup, recvBufferSize: receiveBytes });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeAllListeners("error");
        resolve();
      });
    });
    return new UdpListener(socket, responder, metrics, log);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }

  #answer(message: Buffer, { address, port }: RemoteInfo): void {
    const reply = this.#responder.reply(message, { address }, "udp");
    if (reply instanceof Promise) void reply.then((bytes) => this.#send(bytes, port, address));
    else if (reply !== undefined) this.#send(reply, port, address);
  }

  #send(reply: Buffer, port: number, address: string): void {
    // A sender that forged port 0 can't be answered.
    if (this.#open && port !== 0) this.#socket.send(reply, 0, reply.length, port, address);
    else this.#metrics.dropped.add(1, { reason: "not sent" });
  }
}
