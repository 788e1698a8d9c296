/**
 * gRPC as an adapter of the pipeline: grpc-js carries bytes, and every decision is the pipeline's.
 */
import type { EventEmitter } from "node:events";
import {
  Metadata,
  Server,
  ServerInterceptingCall,
  type MethodDefinition as GrpcMethod,
  type ServerDuplexStream,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition as GrpcService,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
  type sendUnaryData,
} from "@grpc/grpc-js";
import type { WarrenError } from "@warren/std";
import { ApiError } from "../errors.ts";
import type { MethodDefinition } from "../rpc.ts";
import { clip, detailsTrailer, encodeDetails, grpcStatus, statusOf } from "../status.ts";
import { pump, until } from "../stream.ts";
import type { ConnectionEnds } from "./tls-listener.ts";
import type { Peer } from "./peer.ts";
import { callerGone, deadlinePassed, type IncomingCall, type Pipeline } from "./pipeline.ts";

/**
 * The peer of a call's connection, found by both ends of the connection; undefined if it is unknown, and the call is then
 * refused: no call has a peer by default.
 */
export type PeerOf = (connection: ConnectionEnds) => Peer | undefined;

export interface GrpcOptions {
  readonly maxRequestBytes: number;
  readonly maxConcurrentCalls: number;
  /** Idle time after which the peer is pinged, ms; absent: never. */
  readonly keepAliveMs?: number;
}

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Streaming = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

interface Refusal {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

/**
 * A gRPC server for all services of the pipeline; it does not listen.
 *
 * @param peer the peer of all its connections, or a function that finds each connection's
 */
export function grpcServer(pipeline: Pipeline, peer: Peer | PeerOf, options: GrpcOptions): Server {
  const peers = new WeakMap<Metadata, Peer>();
  const server = new Server({
    "grpc.max_receive_message_length": options.maxRequestBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": options.maxConcurrentCalls,
    ...(options.keepAliveMs === undefined ? {} : { "grpc.keepalive_time_ms": options.keepAliveMs }),
    interceptors: typeof peer === "function" ? [noticePeer(peers, peer)] : [],
  });
  const adapter = new GrpcAdapter(
    pipeline,
    typeof peer === "function" ? ({ metadata }) => peers.get(metadata) : () => peer,
  );
  for (const [serviceName, methods] of byService(pipeline.methods)) {
    const definition: Record<string, GrpcService[string]> = {};
    const handlers: UntypedServiceImplementation = {};
    for (const [path, method] of methods) {
      const key = `${serviceName}/${method.name}`;
      definition[key] = adapter.definition(path, method) as GrpcService[string];
      handlers[key] = adapter.handler(path, method);
    }
    server.addService(definition, handlers);
  }
  return server;
}

/**
 * Keeps the peer of each call by its metadata, which is the same object in the handler. grpc-js gives handlers neither the
 * connection nor a certificate that OpenSSL does not accept.
 */
function noticePeer(peers: WeakMap<Metadata, Peer>, peerOf: PeerOf): ServerInterceptor {
  return (_, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, nextMetadata) {
            const peer = peerOf(call.getConnectionInfo());
            if (peer !== undefined) peers.set(metadata, peer);
            nextMetadata(metadata);
          },
        }),
    });
}

function byService(methods: ReadonlyMap<string, MethodDefinition>): ReadonlyMap<string, [string, MethodDefinition][]> {
  const services = new Map<string, [string, MethodDefinition][]>();
  for (const [path, method] of methods) {
    const name = path.slice(1, path.lastIndexOf("/"));
    const known = services.get(name);
    if (known === undefined) services.set(name, [[path, method]]);
    else known.push([path, method]);
  }
  return services;
}

const asIs = (bytes: Buffer): Buffer => bytes;

class GrpcAdapter {
  readonly #pipeline: Pipeline;
  readonly #peerOf: (call: Unary | Streaming) => Peer | undefined;

  constructor(pipeline: Pipeline, peerOf: (call: Unary | Streaming) => Peer | undefined) {
    this.#pipeline = pipeline;
    this.#peerOf = peerOf;
  }

  /** Messages are passed as bytes, so that the pipeline refuses one that can't be decoded, with a reason. */
  definition(path: string, { requestStream, responseStream }: MethodDefinition): GrpcMethod<Buffer, Buffer> {
    return {
      path,
      requestStream,
      responseStream,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
  }

  handler(path: string, { requestStream, responseStream }: MethodDefinition): UntypedHandleCall {
    return responseStream
      ? (call: Streaming) => void this.#stream(path, call, requestStream)
      : (call: Unary, done: sendUnaryData<Buffer>) => void this.#unary(path, call, done);
  }

  /** Never rejects. */
  async #unary(path: string, call: Unary, done: sendUnaryData<Buffer>): Promise<void> {
    const gone = goneSignal(path, call);
    try {
      const { messages } = this.#pipeline.call(this.#incoming(path, call, gone, one(call.request)));
      let response: Uint8Array | undefined;
      for await (const message of messages) response = message;
      if (response === undefined) throw new ApiError({ code: "API_OUTCOME_UNKNOWN" }, `${path} returned no response`);
      done(null, bufferOf(response));
    } catch (error) {
      done(refusalOf(error));
    }
  }

  /** Never rejects. */
  async #stream(path: string, call: Streaming, requestStream: boolean): Promise<void> {
    const gone = goneSignal(path, call);
    call.on("error", () => undefined); // Reported by `cancelled` as well.
    try {
      const requests = requestStream
        ? requestsOf(call as ServerDuplexStream<Buffer, Buffer>, gone)
        : one((call as ServerWritableStream<Buffer, Buffer>).request);
      const answer = this.#pipeline.call(this.#incoming(path, call, gone, requests));
      await pump(buffers(answer.messages), call, answer.cut);
      answer.cut.throwIfAborted();
      call.end();
    } catch (error) {
      call.emit("error", refusalOf(error));
    }
  }

  /** @throws ApiError `API_UNAUTHENTICATED` */
  #incoming(
    path: string,
    call: Unary | Streaming,
    signal: AbortSignal,
    requests: AsyncIterable<Uint8Array>,
  ): IncomingCall {
    const peer = this.#peerOf(call);
    if (peer === undefined)
      throw new ApiError({ code: "API_UNAUTHENTICATED" }, "the connection of this call is unknown");
    return {
      path,
      peer,
      signal,
      requests,
      metadata(key) {
        const [value] = call.metadata.get(key);
        return typeof value === "string" ? value : undefined;
      },
      deadlineMs: remainingMs(call),
    };
  }
}

/** grpc-js returns Infinity where the caller set no deadline. */
function remainingMs(call: Unary | Streaming): number | undefined {
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(at) ? Math.max(0, at - Date.now()) : undefined;
}

/** Aborted when the call was cancelled or its deadline has passed, with an error for each. */
function goneSignal(path: string, call: Unary | Streaming): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => gone.abort(remainingMs(call) === 0 ? deadlinePassed(path) : callerGone(path));
  (call as EventEmitter).on("cancelled", abort);
  if (call.cancelled) abort();
  return gone.signal;
}

/** Errors of the pipeline have a status; any other is a fault of this adapter. */
function refusalOf(error: unknown): Refusal {
  const code = statusOf(error);
  if (code === undefined) return { code: grpcStatus.INTERNAL, details: clip(String(error)), metadata: new Metadata() };
  const metadata = new Metadata();
  metadata.set(detailsTrailer, bufferOf(encodeDetails(error as WarrenError)));
  return { code, details: clip((error as WarrenError).message), metadata };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function* buffers(messages: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, void> {
  for await (const message of messages) yield bufferOf(message);
}

// oxlint-disable-next-line typescript/require-await -- the shape of every call's requests
async function* one(request: Buffer): AsyncGenerator<Uint8Array, void, void> {
  yield request;
}

/** Throws the signal's reason when the call ends before the caller's half has. */
async function* requestsOf(
  call: ServerDuplexStream<Buffer, Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  // The iterator must not destroy the stream: responses are still to be written.
  for await (const bytes of until(call.iterator({ destroyOnReturn: false }), signal)) yield bytes as Buffer;
  // grpc-js emits the end of a stream that was reset as if the caller had ended its half, and the reset just after, in
  // the same turn of the event loop. So an end counts once a turn has passed without a reset.
  await new Promise((resolve) => setImmediate(resolve));
  signal.throwIfAborted();
}
