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
  const { host, port } = hostAndPort(address);
  const target = through === undefined ? { host, port } : { socket: through };
  return connect({ ...optionsOf(read(source)), ...target, servername: name, ALPNProtocols: protocols });
}

/** Why the other end of a socket that has shaken hands is not `name`; `undefined` if it is. */
export function notNamed(socket: TLSSocket, name: string): string | undefined {
  const certificate = socket.getPeerCertificate();
  if (certificate === null || Object.keys(certificate).length === 0) return "it shows no certificate";
  if (!socket.authorized) return `its certificate does not hold: ${String(socket.authorizationError)}`;
  return checkServerIdentity(name, certificate) === undefined ? undefined : `its certificate does not name ${name}`;
}

/** `HOST:PORT` or `[HOST]:PORT`. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/gu, ""), port: Number(address.slice(colon + 1)) };
}

const addressForm = /^(?:\[(?<bare>[0-9a-f:.]+)\]|(?<named>[^\s:/?#@[\]]{1,255})):(?<port>\d{1,5})$/iu;

/** Why an address is none that can be dialled. */
export function addressProblem(address: string): string | undefined {
  const { bare, port } = addressForm.exec(address)?.groups ?? {};
  if (port === undefined || (bare !== undefined && !isIPv6(bare))) return `${JSON.stringify(address)} is not HOST:PORT`;
  return Number(port) > 0 && Number(port) < 65_536 ? undefined : `"${address}" has no port from 1 to 65535`;
}
