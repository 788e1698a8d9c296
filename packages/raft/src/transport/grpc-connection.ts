/** The calling side of gRPC over HTTP/2: connections that notice when the other end is gone, and calls on them. */
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Session,
  type IncomingHttpHeaders,
} from "node:http2";
import type { TLSSocket } from "node:tls";

import type { Clock, Timer } from "@warren/std";

import { RaftError } from "../errors.ts";
import { encodeFrame, FrameReader } from "./grpc-frames.ts";
import { notNamed } from "./tls.ts";
import type { PeerRefusal } from "./transport.ts";

/** gRPC's numbers for how a call ended, as far as they are used. */
export const grpcStatus: Readonly<Record<"ok" | "failedPrecondition" | "unimplemented", number>> = {
  ok: 0,
  failedPrecondition: 9,
  unimplemented: 12,
};
export const contentType: string = "application/grpc";

/** A connection is asked so often whether it lives, and may take so long to answer, and to be made; ms. */
const keepaliveMs = 5_000;
const keepaliveTimeoutMs = 2_000;
const connectTimeoutMs = 5_000;
/** Bytes that may be on their way on a stream, and on a connection: 2 MiB in a round trip of 100 ms are 20 MiB/s. */
export const windowBytes: number = 2 * 1024 * 1024;

/**
 * For both sides: the other's silence ends a session. Any byte received is life, and so is progress through a queue of
 * what is to be sent: on a slow link a ping waits behind it for longer than a ping may take.
 */
export function keepAlive(session: Http2Session, socket: TLSSocket, clock: Clock): void {
  let timer: Timer | undefined;
  let [received, sent] = [0, 0];
  const wait = (): void => {
    timer = clock.setTimeout(ask, keepaliveMs);
  };
  const isAlive = (): boolean => {
    const moved = socket.bytesRead > received || (socket.writableLength > 0 && socket.bytesWritten > sent);
    [received, sent] = [socket.bytesRead, socket.bytesWritten];
    return moved;
  };
  const giveUp = (): void => {
    if (isAlive()) timer = clock.setTimeout(giveUp, keepaliveTimeoutMs);
    else session.destroy();
  };
  const ask = (): void => {
    if (session.destroyed) return;
    isAlive();
    timer = clock.setTimeout(giveUp, keepaliveTimeoutMs);
    session.ping((error) => {
      timer?.cancel();
      if (error === null) wait();
    });
  };
  session.once("close", () => timer?.cancel());
  wait();
}

/** To one member, whose certificate must bear `name`. */
export class Connection {
  /** Why who answered is not spoken to, if it is not. */
  refusal: Omit<PeerRefusal, "peer"> | undefined;
  private readonly session: ClientHttp2Session;
  private readonly authority: string;

  /** On a socket that may still be connecting. */
  constructor(address: string, name: string, socket: TLSSocket, clock: Clock) {
    this.authority = encodeURIComponent(name);
    // Whatever the address looks like: the socket leads there.
    this.session = connect("https://raft", {
      createConnection: () => socket,
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false },
    });
    const late = clock.setTimeout(() => this.session.destroy(), connectTimeoutMs);
    this.session.once("connect", () => {
      late.cancel();
      const why = notNamed(socket, name);
      if (why !== undefined) {
        this.refuse(`it is not ${name} that answers at ${address}: ${why}; look at its certificate and its address`);
        return;
      }
      keepAlive(this.session, socket, clock);
    });
    this.session.once("close", () => late.cancel());
    // Calls end with it; a certificate that does not hold is found in the handshake.
    this.session.on("error", (error: NodeJS.ErrnoException) => {
      if (isCertificateError(error)) this.refusal ??= { by: "here", why: `${name} at ${address}: ${error.message}` };
    });
  }

  private refuse(why: string): void {
    this.refusal = { by: "here", why };
    this.session.destroy(new RaftError({ code: "RAFT_WIRE_INVALID" }, why));
  }

  call(path: string, metadata: Readonly<Record<string, string>>): Call {
    const fixed = {
      ":method": "POST",
      ":path": path,
      ":scheme": "https",
      ":authority": this.authority,
      te: "trailers",
    };
    return new Call(this.session.request({ ...fixed, "content-type": contentType, ...metadata }, { endStream: false }));
  }

  close(): void {
    this.session.destroy();
  }
}

/** A call that streams frames and is answered once. */
export class Call {
  /** Resolves when it was answered; rejects with what the other side said, or `RAFT_WIRE_INVALID` if it said nothing. */
  readonly ended: Promise<void>;
  private readonly stream: ClientHttp2Stream;

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ended = promise;
    let cause: unknown;
    const settle = (headers: IncomingHttpHeaders): void => {
      const { "grpc-status": code, "grpc-message": why } = headers;
      if (code === undefined) return;
      if (Number(code) === grpcStatus.ok) resolve();
      else reject(refused(String(why ?? ""), Number(code)));
      stream.close();
    };
    stream.on("response", settle);
    stream.on("trailers", settle);
    stream.on("error", (error) => (cause = error));
    stream.on("close", () => reject(new RaftError({ code: "RAFT_WIRE_INVALID" }, "the call was cut", { cause })));
    stream.resume();
  }

  /** Calls back with each frame of the answer from now on. */
  onReply(take: (body: Buffer) => void): void {
    const reader = new FrameReader();
    this.stream.on("data", (chunk: Buffer) => {
      try {
        for (const body of reader.read(chunk)) take(body);
      } catch (error) {
        this.stream.destroy(error as Error);
      }
    });
  }

  /** Calls back when the other side lets it begin. */
  onWelcome(welcome: () => void): void {
    this.stream.once("response", (headers) => headers["grpc-status"] === undefined && welcome());
  }

  /** Sends a frame; `written` is called when it is on its way, and not if the call ends before. */
  write(body: Uint8Array, written: () => void): void {
    this.stream.write(encodeFrame(body), (error) => {
      if (error === null || error === undefined) written();
    });
  }

  /** No frame follows. */
  end(): void {
    this.stream.end();
  }
}

/** What the other side answered a call with instead of taking it. */
export class CallRefused extends RaftError {
  readonly why: string;

  constructor(why: string, status: number) {
    super({ code: "RAFT_WIRE_INVALID" }, `the call was refused with gRPC status ${status}: ${why}`);
    this.why = why;
  }
}

/** Node's codes for a certificate that does not hold, and for one that bears another name. */
function isCertificateError({ code = "" }: NodeJS.ErrnoException): boolean {
  return /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_PURPOSE|ERR_TLS_CERT_|ERR_SSL_TLSV1\d?_ALERT_)/u.test(
    code,
  );
}

function refused(message: string, code: number): RaftError {
  let text = message;
  try {
    text = decodeURIComponent(message);
  } catch {
    // Not as gRPC encodes it: as it came, then.
  }
  return new CallRefused(text, code);
}
