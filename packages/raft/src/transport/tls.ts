/**
 * TLS of connections between members: 1.3 alone, both sides with a certificate, and no session is resumed, so that each
 * connection proves who is there now. Every secure context is made from the whole of these options: one that is made
 * from the files alone takes TLS 1.2 and resumes sessions.
 */
import { constants } from "node:crypto";
import { isIPv6 } from "node:net";
import type { Duplex } from "node:stream";
import {
  checkServerIdentity,
  connect,
  createServer,
  TLSSocket,
  type SecureContextOptions,
  type Server,
} from "node:tls";
import { parseHostPort, type HostPort } from "@warren/std";
import type { Member } from "./transport.ts";

/** This member's certificate and key, and the authority that signed everyone's; PEM. */
export interface TlsFiles {
  readonly ca: Uint8Array;
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

/** Files, or what returns them: called at each dial and at each handshake, so that they may change at any time. */
export type TlsSource = TlsFiles | (() => TlsFiles);

/** What a connection of Raft's says that it speaks (ALPN), so that one port can serve it beside others. */
export const raftProtocol = "warren-raft/1";

/** Other implementations of gRPC know the second alone. */
const protocols = [raftProtocol, "h2"];

function read(source: TlsSource): TlsFiles {
  return typeof source === "function" ? source() : source;
}

function optionsOf({ ca, cert, key }: TlsFiles): SecureContextOptions {
  return {
    ca: Buffer.from(ca),
    cert: Buffer.from(cert),
    key: Buffer.from(key),
    minVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** A listener whose sockets have shaken hands; `authorized` says whether a caller's certificate holds. */
export function secureServer(source: TlsSource, failed: (error: unknown) => void): Server {
  let current = read(source);
  const server = createServer({
    ...optionsOf(current),
    requestCert: true,
    // Who refuses says why, which a handshake that is cut does not.
    rejectUnauthorized: false,
    ALPNProtocols: protocols,
    noDelay: true,
  });
  // Ahead of the listener that begins the handshake.
  server.prependListener("connection", () => {
    try {
      const files = read(source);
      if (files === current) return;
      // Files that can't be used are reported once; those in use stay in use.
      current = files;
      server.setSecureContext(optionsOf(files));
    } catch (error) {
      failed(error);
    }
  });
  return server;
}

/** A connection to a member, whose certificate must bear `name`; over `through`, if that is given. */
export function secureConnection({ address }: Member, name: string, source: TlsSource, through?: Duplex): TLSSocket {
  if (through instanceof TLSSocket) return through;
  const target = through === undefined ? hostAndPort(address) : { socket: through };
  return connect({ ...optionsOf(read(source)), ...target, servername: name, ALPNProtocols: protocols });
}

/** Why the other end of a socket that has shaken hands is not `name`; `undefined` if it is. */
export function notNamed(socket: TLSSocket, name: string): string | undefined {
  const certificate = socket.getPeerCertificate();
  if (certificate === null || Object.keys(certificate).length === 0) return "it shows no certificate";
  if (!socket.authorized) return `its certificate does not hold: ${String(socket.authorizationError)}`;
  return checkServerIdentity(name, certificate) === undefined ? undefined : `its certificate does not name ${name}`;
}

/** Of an address that `addressProblem` accepts, or of a listener: `HOST:PORT` or `[HOST]:PORT`, port 0 for any. */
export function hostAndPort(address: string): HostPort {
  const parsed = parseHostPort(address);
  if (parsed === undefined) throw new Error(`${JSON.stringify(address)} is not HOST:PORT`);
  return parsed;
}

/** Why an address can't be dialled; undefined where it can. */
export function addressProblem(address: string): string | undefined {
  const { host, port } = parseHostPort(address) ?? {};
  if (host === undefined || host.length > 255 || (host.includes(":") && !isIPv6(host)))
    return `${JSON.stringify(address)} is not HOST:PORT`;
  return port === 0 ? `"${address}" has no port from 1 to 65535` : undefined;
}
