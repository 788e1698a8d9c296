/** The called side of gRPC over HTTP/2: admits a caller, hands on the frames it streams, answers once. */
import { once } from "node:events";
import {
  performServerHandshake,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Server, TLSSocket } from "node:tls";

import { errorText, type Clock } from "@warren/std";

import { contentType, grpcStatus, keepAlive, windowBytes } from "./grpc-connection.ts";
import { encodeFrame, FrameReader } from "./grpc-frames.ts";
import { hostAndPort, secureServer, type TlsSource } from "./tls.ts";

/** A call as it comes in. */
export interface Caller {
  /** A value of its metadata by name; empty if there is none. */
  readonly metadata: (name: string) => string;
  /** The connection that it came on; its peer may have no certificate, or one that does not hold. */
  readonly socket: TLSSocket;
}

/** Frames as events, which cost half as much a message as an iterator. */
export interface Incoming {
  /** Calls back with each frame's body until the stream ends; what `take` throws ends it too. */
  forEach(take: (body: Buffer) => void): Promise<void>;
  /** The frames' bodies, at the reader's pace. */
  bodies(): AsyncGenerator<Buffer, void, void>;
  /** Sends a frame back. */
  reply(body: Uint8Array): void;
}

/** Decides whether a caller may call, then does its work. What either throws is sent to the caller. */
export type Method = (caller: Caller, accept: () => Incoming) => Promise<void>;

export class GrpcServer {
  private readonly methods: ReadonlyMap<string, Method>;
  private readonly clock: Clock;
  private readonly sessions = new Set<ServerHttp2Session>();
  private server: Server | undefined;
  private closed = false;

  /** Methods by their paths. */
  constructor(methods: ReadonlyMap<string, Method>, clock: Clock) {
    this.methods = methods;
    this.clock = clock;
  }

  /** Resolves when it listens at `HOST:PORT`. `failed` is called with what is wrong with new files of `source`. */
  async listen(address: string, source: TlsSource, failed: (error: unknown) => void): Promise<void> {
    const server = secureServer(source, failed);
    this.server = server;
    server.on("secureConnection", (socket) => this.accept(socket));
    const listening = once(server, "listening");
    server.listen(hostAndPort(address));
    await listening;
    // A connection could not be taken, for want of descriptors say: who called calls again.
    server.on("error", () => undefined);
  }

  /** Where it listens, `HOST:PORT`; `undefined` if it does not. */
  get address(): string | undefined {
    const bound = this.server?.address();
    if (bound === undefined || bound === null || typeof bound === "string") return undefined;
    return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
  }

  /** Serves a socket that has shaken hands. */
  accept(socket: TLSSocket): void {
    // Its caller may be gone by now.
    if (this.closed || socket.destroyed) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const session = performServerHandshake(socket, {
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false, initialWindowSize: windowBytes },
    });
    this.sessions.add(session);
    session.once("close", () => this.sessions.delete(session));
    // Its calls end with it.
    session.on("error", () => undefined);
    if (session.destroyed) return;
    session.setLocalWindowSize(windowBytes);
    session.on("stream", (stream, headers) => void this.serve(stream, headers, socket));
    keepAlive(session, socket, this.clock);
  }

  /** Ends every call at once. */
  close(): void {
    this.closed = true;
    this.server?.close();
    for (const session of this.sessions) session.destroy();
  }

  private async serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, socket: TLSSocket): Promise<void> {
    // Its reader sees it too.
    stream.on("error", () => undefined);
    const method = this.methods.get(headers[":path"] ?? "");
    if (method === undefined) return refuse(stream, grpcStatus.unimplemented, `no method ${headers[":path"]}`);
    const caller: Caller = { metadata: (name) => String(headers[name] ?? ""), socket };
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

/** Accepts the call. */
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
    reply(body) {
      if (!stream.destroyed) stream.write(encodeFrame(body));
    },
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
