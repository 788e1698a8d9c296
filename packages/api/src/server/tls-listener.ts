/**
 * Connections from other machines: TLS 1.3, both sides with certificates, one port for every protocol.
 *
 * T1 Handshakes are limited in time and number, and connections in number by address, so that unknown clients cost little.
 * T2 The client proves that it has its certificate's key. Whether the certificate is accepted is decided at each call, so
 *    that a refusal has a reason; OpenSSL's own verdict is not used.
 * T3 There are no session tickets: a resumed session would skip the check of the certificate.
 * T4 Credentials are read for each connection. `setSecureContext` resets every option that is not passed again, so all
 *    are passed (otherwise TLS 1.2 and session tickets are allowed again).
 * T5 Every socket and server has a listener for `error`: a peer can break its own connection and nothing else.
 */
import { constants, type X509Certificate } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer, type TlsOptions, type TLSSocket } from "node:tls";
import { errorText, formatHostPort, parseHostPort, type Clock, type Logger, type Timer } from "@warren/std";
import type { Credentials, CredentialSource } from "../credentials.ts";
import { ServerError } from "./errors.ts";
import type { ListenerMetrics } from "./metrics.ts";

export interface TlsListenerOptions {
  /** `ADDRESS:PORT`; an IPv6 address in brackets. Port 0: any free one. */
  readonly address: string;
  /** How long a handshake may take, ms. @default 10000 */
  readonly handshakeMs?: number;
  /** Handshakes under way; further connections are closed. @default 128 */
  readonly maxHandshakes?: number;
  /** Connections altogether. @default 4096 */
  readonly maxConnections?: number;
  /** Connections from one address, behind which there may be a site of many nodes. @default 256 */
  readonly maxConnectionsPerAddress?: number;
}

const defaults = { handshakeMs: 10_000, maxHandshakes: 128, maxConnections: 4_096, maxConnectionsPerAddress: 256 };

/** A connection whose handshake is done. */
export interface SecureConnection {
  readonly socket: TLSSocket;
  /** `ADDRESS:PORT` of the client. */
  readonly address: string;
  /** The client's certificates, the leaf first; empty if it sent none. */
  readonly chain: readonly X509Certificate[];
}

export interface TlsListenerDependencies {
  readonly credentials: CredentialSource;
  /** Handlers of connections, by the negotiated ALPN protocol. */
  readonly protocols: Readonly<Record<string, (connection: SecureConnection) => void>>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ListenerMetrics;
}

export interface TlsListener {
  /** Where it listens, with the actual port. */
  readonly address: string;
  /** Accepts no more connections; open ones stay. */
  stop(): void;
  /** Closes every connection too. */
  close(): Promise<void>;
}

/** @throws ServerError `SERVER_OPTIONS_INVALID`, `SERVER_ADDRESS_UNUSABLE` */
export async function startTlsListener(
  dependencies: TlsListenerDependencies,
  options: TlsListenerOptions,
): Promise<TlsListener> {
  const listener = new Listener(dependencies, { ...defaults, ...options });
  await listener.listen();
  return listener;
}

class Listener implements TlsListener {
  readonly #dependencies: TlsListenerDependencies;
  readonly #options: Required<TlsListenerOptions>;
  readonly #server: Server;
  readonly #tls: TlsServer;
  readonly #open = new Set<Socket>();
  readonly #openByAddress = new Map<string, number>();
  /** Handshakes under way by connectionKey, each with its timeout. */
  readonly #handshakes = new Map<string, Timer>();
  #credentials: Credentials;
  /** The last ones that could not be used. */
  #unusable: Credentials | undefined;
  #address: string;

  constructor(dependencies: TlsListenerDependencies, options: Required<TlsListenerOptions>) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#address = options.address;
    this.#credentials = dependencies.credentials.current();
    this.#tls = createTlsServer(this.#tlsOptions());
    this.#tls.on("tlsClientError", (error, socket) => {
      dependencies.log.debug("handshake failed", { error });
      this.#refuse(socket, "handshake");
    });
    this.#tls.on("secureConnection", (socket) => this.#secured(socket));
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }, (socket) =>
      this.#accept(socket),
    );
  }

  get address(): string {
    return this.#address;
  }

  async listen(): Promise<void> {
    const { log } = this.#dependencies;
    const address = parseHostPort(this.#options.address);
    if (address === undefined) {
      const text = `address: '${this.#options.address}' is not ADDRESS:PORT, for example 0.0.0.0:2377`;
      throw new ServerError({ code: "SERVER_OPTIONS_INVALID", option: "address" }, text);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) => {
        const { address: failed } = this.#options;
        const text = `can't listen on ${failed}: ${errorText(cause)}; end what uses it, or choose another address`;
        reject(new ServerError({ code: "SERVER_ADDRESS_UNUSABLE", address: failed }, text, { cause }));
      });
      this.#server.listen(address, () => {
        this.#server.removeAllListeners("error");
        resolve();
      });
    });
    // T5: a connection could not be accepted, without file descriptors left for example; its client tries again.
    this.#server.on("error", (error) => log.warn("a connection could not be accepted", { error }));
    const bound = this.#server.address();
    if (typeof bound === "object" && bound !== null)
      this.#address = formatHostPort({ host: address.host, port: bound.port });
  }

  stop(): void {
    this.#server.close();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #tlsOptions(): TlsOptions {
    const { cert, key, ca } = this.#credentials;
    return {
      cert,
      key,
      ca,
      minVersion: "TLSv1.3",
      secureOptions: constants.SSL_OP_NO_TICKET, // T3
      requestCert: true,
      rejectUnauthorized: false, // T2
      ALPNProtocols: Object.keys(this.#dependencies.protocols),
      // Not before `#accept` does, which counts it.
      handshakeTimeout: 2 * this.#options.handshakeMs,
    };
  }

  #accept(raw: Socket): void {
    const { clock } = this.#dependencies;
    const host = raw.remoteAddress;
    raw.on("error", () => undefined); // T5: its `close` follows.
    if (host === undefined) return this.#refuse(raw, "gone");
    const excess = this.#excess(host);
    if (excess !== undefined) return this.#refuse(raw, excess);
    this.#open.add(raw);
    this.#openByAddress.set(host, (this.#openByAddress.get(host) ?? 0) + 1);
    const key = connectionKey(raw);
    const timer = clock.setTimeout(() => this.#refuse(raw, "handshake_slow"), this.#options.handshakeMs);
    this.#handshakes.set(key, timer);
    raw.once("close", () => {
      this.#handshakeOver(key, timer);
      this.#open.delete(raw);
      const left = (this.#openByAddress.get(host) ?? 1) - 1;
      if (left === 0) this.#openByAddress.delete(host);
      else this.#openByAddress.set(host, left);
    });
    this.#renew();
    this.#tls.emit("connection", raw);
  }

  /** T4. Credentials that can't be used, as a file that is only half written, leave those before in use. */
  #renew(): void {
    const { credentials, log } = this.#dependencies;
    const before = this.#credentials;
    let current = before;
    try {
      current = credentials.current();
      if (current === before || current === this.#unusable) return;
      this.#credentials = current;
      this.#tls.setSecureContext(this.#tlsOptions());
    } catch (error) {
      this.#credentials = before;
      this.#unusable = current;
      log.error("renewed credentials can't be used, and those before are used on", { error });
    }
  }

  /** T1: the limit that a further connection would exceed; undefined if none. */
  #excess(host: string): string | undefined {
    const { maxHandshakes, maxConnections, maxConnectionsPerAddress } = this.#options;
    if (this.#open.size >= maxConnections) return "connections";
    if ((this.#openByAddress.get(host) ?? 0) >= maxConnectionsPerAddress) return "connections_of_address";
    return this.#handshakes.size >= maxHandshakes ? "handshakes" : undefined;
  }

  #handshakeOver(key: string, timer: Timer | undefined): void {
    timer?.cancel();
    if (this.#handshakes.get(key) === timer) this.#handshakes.delete(key);
  }

  #secured(socket: TLSSocket): void {
    const { protocols, log } = this.#dependencies;
    const key = connectionKey(socket);
    this.#handshakeOver(key, this.#handshakes.get(key));
    socket.on("error", (error) => log.debug("connection broke", { error })); // T5
    const take = socket.alpnProtocol === false ? undefined : protocols[socket.alpnProtocol ?? ""];
    if (take === undefined) return this.#refuse(socket, "protocol");
    const address = formatHostPort({ host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 });
    take({ socket, address, chain: chainOf(socket) });
  }

  #refuse(socket: Socket, reason: string): void {
    const { metrics, log } = this.#dependencies;
    metrics.refused.add(1, { reason });
    log.debug("connection refused", { from: socket.remoteAddress, reason });
    socket.destroy();
  }
}

/** A key made of both ends of a connection, unique among open connections. */
export function connectionKey(ends: ConnectionEnds): string {
  return `${ends.localAddress} ${ends.localPort} ${ends.remoteAddress} ${ends.remotePort}`;
}

export interface ConnectionEnds {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** Certificates that are kept of a client's chain, at most. */
const longestChain = 8;

/** The client's certificates, the leaf first, independent of OpenSSL's order and verdict. */
function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (
    let each = socket.getPeerX509Certificate();
    each !== undefined && chain.length < longestChain;
    each = each.issuerCertificate
  ) {
    const known = each.fingerprint256;
    if (chain.some(({ fingerprint256 }) => fingerprint256 === known)) break;
    chain.push(each);
  }
  return chain;
}
