/** The called side of gRPC over HTTP/2: admits a caller, hands on the frames it streams, answers once. */
import { once } from "node:events";
import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { PeerCertificate, TLSSocket } from "node:tls";

import { errorText, type Clock } from "@warren/std";

import { contentType, grpcStatus, keepAlive, windowBytes, type TlsFiles } from "./grpc-connection.ts";
import { encodeFrame, FrameReader } from "./grpc-frames.ts";

/** A call as it comes in. */
export interface Caller {
  /** A value of its metadata by name; empty if there is none. */
  readonly metadata: (name: string) => string;
  readonly certificate: PeerCertificate;
}

/** Frames as events, which cost half as much a message as an iterator. */
export interface Incoming {
  /** Calls back with each frame's body until the stream ends; what `take` throws ends it too. */
  forEach(take: (body: Buffer) => void): Promise<void>;
  /** The frames' bodies, at the reader's pace. */
  bodies(): AsyncGenerator<Buffer, void, void>;
}

/** Decides whether a caller may call, then does its work. What either throws is told to the caller. */
export type Method = (caller: Caller, accept: () => Incoming) => Promise<void>;

export class GrpcServer {
  private readonly methods: ReadonlyMap<string, Method>;
  private readonly sessions = new Set<ServerHttp2Session>();
  private server: Http2SecureServer | undefined;

  /** Methods by their paths. */
  constructor(methods: ReadonlyMap<string, Method>) {
    this.methods = methods;
  }

  /** Resolves when it listens at `HOST:PORT`. */
  async listen(address: string, { ca, cert, key }: TlsFiles, clock: Clock): Promise<void> {
    const server = createSecureServer({
      ca: Buffer.from(ca),
      cert: Buffer.from(cert),
      key: Buffer.from(key),
      requestCert: true,
      rejectUnauthorized: true,
      noDelay: true,
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false, initialWindowSize: windowBytes },
    });
    this.server = server;
    server.on("session", (session) => {
      this.sessions.add(session);
      session.once("close", () => this.sessions.delete(session));
      // Its calls tell it.
      session.on("error", () => undefined);
      session.setLocalWindowSize(windowBytes);
      keepAlive(session, clock);
    });
    server.on("stream", (stream, headers) => void this.serve(stream as ServerHttp2Stream, headers));
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[|\]$/gu, "");
    const listening = once(server, "listening");
    server.listen({ host, port: Number(address.slice(colon + 1)) });
    await listening;
    // A connection could not be taken, for want of descriptors say: who called calls again.
    server.on("error", () => undefined);
  }

  /** Ends every call at once. */
  close(): void {
    this.server?.close();
    for (const session of this.sessions) session.destroy();
  }

  private async serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    // Its reader sees it too.
    stream.on("error", () => undefined);
    const method = this.methods.get(headers[":path"] ?? "");
    if (method === undefined) return refuse(stream, grpcStatus.unimplemented, `no method ${headers[":path"]}`);
    const socket = stream.session?.socket as TLSSocket;
    const caller: Caller = {
      metadata: (name) => String(headers[name] ?? ""),
      certificate: socket.getPeerCertificate(),
    };
    try {
      await method(caller, () => accept(stream));
    } catch (error) {
      return refuse(stream, grpcStatus.failedPrecondition, errorText(error));
    }
    if (!stream.headersSent) accept(stream);
    if (stream.destroyed) return;
    stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(grpcStatus.ok) }));
    stream.end(encodeFrame(new Uint8Array(0)));
  }
}

/** The caller hears that it is welcome. */
function accept(stream: ServerHttp2Stream): Incoming {
  if (!stream.destroyed) stream.respond({ ":status": 200, "content-type": contentType }, { waitForTrailers: true });
  const reader = new FrameReader();
  return {
    forEach: (take) =>
      new Promise((resolve, reject) => {
        stream.on("data", (chunk: Buffer) => {
          try {
            for (const body of reader.read(chunk)) take(body);
          } catch (error) {
            stream.removeAllListeners("data");
            stream.pause();
            reject(error);
          }
        });
        stream.once("end", resolve);
        stream.once("close", resolve);
      }),
    async *bodies() {
      for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield* reader.read(chunk as Buffer);
    },
  };
}

function refuse(stream: ServerHttp2Stream, code: number, why: string): void {
  if (stream.destroyed) return;
  const trailers = { "grpc-status": String(code), "grpc-message": encodeURIComponent(why) };
  if (stream.headersSent) {
    stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end();
  } else {
    stream.respond({ ":status": 200, "content-type": contentType, ...trailers }, { endStream: true });
  }
}
