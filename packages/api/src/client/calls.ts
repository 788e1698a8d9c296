import { networkFault } from "@warren/std";
import {
  Metadata,
  type CallOptions as GrpcCallOptions,
  type ClientDuplexStream,
  type Client as GrpcClient,
  type ClientReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { ApiError } from "../errors.ts";
import { forwardedMetadata, readKey, type ForwardedCall } from "../forwarding.ts";
import type { MessageType, MethodDefinition, PartialRequestOf, ResponseOf } from "../rpc.ts";
import { detailsTrailer, errorFromStatus, grpcStatus } from "../status.ts";
import { pump } from "../stream.ts";
import type { CallOptions, ResolvedConnectOptions } from "./options.ts";

export interface UnaryCall<M extends MethodDefinition> {
  (request: PartialRequestOf<M>, options?: CallOptions): Promise<ResponseOf<M>>;
}
export interface StreamCall<M extends MethodDefinition> {
  /** Starts when it is iterated, which is possible once. Leaving the loop ends the call. The server sends no faster than it is read. */
  (request: PartialRequestOf<M>, options?: CallOptions): AsyncIterable<ResponseOf<M>>;
}
export interface DuplexCall<M extends MethodDefinition> {
  /**
   * Starts when the responses are iterated, which is possible once. `requests` is read only as fast as the server takes
   * them; its end is sent to the server, its failure cancels the call, and `return()` is called when the responses end.
   */
  (requests: AsyncIterable<PartialRequestOf<M>>, options?: CallOptions): AsyncIterable<ResponseOf<M>>;
}

type AnyMessage = MessageType & { fromPartial(object: unknown): unknown };

/** The connection of a call. */
export interface Channel {
  /** Read at each call: it is a new client once the credentials have changed. */
  readonly grpc: GrpcClient;
  readonly options: ResolvedConnectOptions;
}

function metadataOf({ stale }: CallOptions): Metadata {
  const metadata = new Metadata();
  if (stale === true) metadata.set(readKey, "stale");
  return metadata;
}

function serialize(type: MessageType): (request: unknown) => Buffer {
  return (request) => Buffer.from(type.encode((type as AnyMessage).fromPartial(request)).finish());
}

function grpcOptions(deadlineMs: number): GrpcCallOptions {
  return deadlineMs > 0 ? { deadline: Date.now() + deadlineMs } : {};
}

export function unaryCall(channel: Channel, path: string, method: MethodDefinition): UnaryCall<MethodDefinition> {
  const encode = serialize(method.requestType);
  const decode = (bytes: Buffer): unknown => method.responseType.decode(bytes);
  return (request, options = {}) =>
    new Promise((resolve, reject) => {
      const { signal, deadlineMs = channel.options.deadlineMs } = options;
      if (signal?.aborted) {
        reject(cancelled(path, signal));
        return;
      }
      const cancel = (): void => call.cancel();
      const call = channel.grpc.makeUnaryRequest(
        path,
        encode,
        decode,
        request,
        metadataOf(options),
        grpcOptions(deadlineMs),
        (error, response) => {
          signal?.removeEventListener("abort", cancel);
          if (error === null) resolve(response);
          else reject(signal?.aborted ? cancelled(path, signal) : fromServiceError(error, channel.options, "unary"));
        },
      );
      signal?.addEventListener("abort", cancel, { once: true });
    });
}

export function streamCall(channel: Channel, path: string, method: MethodDefinition): StreamCall<MethodDefinition> {
  const encode = serialize(method.requestType);
  const decode = (bytes: Buffer): unknown => method.responseType.decode(bytes);
  return (request, options = {}) =>
    once(path, async function* () {
      if (options.signal?.aborted) throw cancelled(path, options.signal);
      const call = channel.grpc.makeServerStreamRequest(
        path,
        encode,
        decode,
        request,
        metadataOf(options),
        grpcOptions(options.deadlineMs ?? 0),
      );
      yield* responses(channel, path, call, options.signal);
    });
}

export function duplexCall(channel: Channel, path: string, method: MethodDefinition): DuplexCall<MethodDefinition> {
  const encode = serialize(method.requestType);
  const decode = (bytes: Buffer): unknown => method.responseType.decode(bytes);
  return (requests, options = {}) =>
    once(path, () => {
      const metadata = metadataOf(options);
      const { signal, deadlineMs = 0 } = options;
      return duplex(channel, { path, kind: "stream", encode, decode, metadata, signal, deadlineMs }, requests);
    });
}

/** A call of any kind as bytes: on HTTP/2, a call with a single message equals a stream of one. */
export async function* rawCall(channel: Channel, call: ForwardedCall): AsyncGenerator<Uint8Array, void, void> {
  const { path, unary, requests, signal, deadlineMs = 0 } = call;
  const metadata = new Metadata();
  for (const [key, value] of forwardedMetadata(call)) metadata.set(key, value);
  const encode = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decode = (bytes: Buffer): Buffer => bytes;
  const kind = unary ? "unary" : "stream";
  yield* duplex(channel, { path, kind, encode, decode, metadata, signal, deadlineMs }, requests);
}

type Kind = "unary" | "stream";

interface DuplexOptions<Request, Response> {
  readonly path: string;
  readonly kind: Kind;
  readonly encode: (request: Request) => Buffer;
  readonly decode: (bytes: Buffer) => Response;
  readonly metadata: Metadata;
  readonly signal: AbortSignal | undefined;
  readonly deadlineMs: number;
}

async function* duplex<Request, Response>(
  channel: Channel,
  { path, kind, encode, decode, metadata, signal, deadlineMs }: DuplexOptions<Request, Response>,
  requests: AsyncIterable<Request>,
): AsyncGenerator<Response, void, void> {
  if (signal?.aborted) throw cancelled(path, signal);
  const call = channel.grpc.makeBidiStreamRequest(path, encode, decode, metadata, grpcOptions(deadlineMs));
  const over = new AbortController();
  let failure: { readonly error: unknown } | undefined;
  const sending = pump(requests, call, over.signal).then(
    () => call.end(),
    (error: unknown) => {
      failure = { error };
      call.cancel();
    },
  );
  try {
    yield* responses<Response>(channel, path, call, signal, kind);
  } catch (error) {
    // The caller's own failure is thrown, rather than the cancellation that follows from it.
    throw failure === undefined ? error : failure.error;
  } finally {
    over.abort();
    await sending;
  }
}

/** The responses of a call, which ends with the loop. */
async function* responses<T>(
  channel: Channel,
  path: string,
  call: ClientReadableStream<T> | ClientDuplexStream<never, T>,
  signal: AbortSignal | undefined,
  kind: Kind = "stream",
): AsyncGenerator<T, void, void> {
  const cancel = (): void => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  call.on("error", () => undefined); // The iterator throws it; after the iterator has ended it is our own cancellation.
  try {
    // The iterator must not destroy the stream: the other half of a duplex one may still be written.
    for await (const response of call.iterator({ destroyOnReturn: false })) yield response as T;
  } catch (error) {
    throw signal?.aborted ? cancelled(path, signal) : fromServiceError(error as ServiceError, channel.options, kind);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

function once(path: string, start: () => AsyncGenerator<unknown, void, void>): AsyncIterable<unknown> {
  let started = false;
  return {
    [Symbol.asyncIterator]() {
      if (started) throw new TypeError(`${path}: the responses of a call can be read once`);
      started = true;
      return start();
    },
  };
}

function cancelled(path: string, signal: AbortSignal): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, `${path} was cancelled`, { cause: signal.reason });
}

/** The error of a status: from its details where it has them, else by the meaning of gRPC's status. */
function fromServiceError(error: ServiceError, options: ResolvedConnectOptions, kind: Kind): ApiError {
  const cause = error;
  const { target } = options;
  if (typeof error.code !== "number") {
    return new ApiError({ code: "API_INTERNAL", id: "" }, `the response can't be decoded: ${error.message}`, { cause });
  }
  const [trailer] = error.metadata?.get(detailsTrailer) ?? [];
  if (Buffer.isBuffer(trailer)) return errorFromStatus(error.code, error.details, trailer);
  const status: number = error.code;
  switch (status) {
    case grpcStatus.UNAVAILABLE:
    case grpcStatus.CANCELLED: {
      const neverSent = /no connection established|connect E[A-Z]+/i.test(error.details);
      if (neverSent) return noManager(error, options);
      if (kind === "stream")
        return new ApiError(
          { code: "API_UNAVAILABLE" },
          `the connection to the manager at ${target} was lost: ${error.details}`,
          {
            cause,
          },
        );
      const text = `the connection to the manager at ${target} was lost before its response: ${error.details}`;
      return new ApiError({ code: "API_OUTCOME_UNKNOWN" }, text, { cause, remedy: lookFirst });
    }
    case grpcStatus.DEADLINE_EXCEEDED: {
      const text = "the manager did not respond in time; the call may still take effect";
      return new ApiError({ code: "API_DEADLINE" }, text, { cause, remedy: lookFirst });
    }
    case grpcStatus.UNIMPLEMENTED:
      return new ApiError({ code: "API_UNIMPLEMENTED" }, `the manager does not know this call: ${error.details}`, {
        cause,
        remedy: "use a command line of the manager's version",
      });
    default:
      return errorFromStatus(error.code, error.details, undefined, error);
  }
}

const lookFirst = "check whether it took effect before you try again";

function noManager(error: ServiceError, { target, serverName }: ResolvedConnectOptions): ApiError {
  return new ApiError(
    { code: "API_UNAVAILABLE" },
    `no manager answers at ${target}: ${connectionFault(error.details)}`,
    {
      cause: error,
      remedy: remedyOf(error.details, serverName),
    },
  );
}

/** Why there is no connection, in words; what is not known as it was said, without what gRPC adds. */
function connectionFault(details: string): string {
  if (details.includes("ENOENT")) return "there is no such socket";
  const known = networkFault(details);
  if (known !== undefined) return known;
  return details
    .replace(/^No connection established\. Last error: (?:Error: )?/, "")
    .replace(/\.? Resolution note:\s*$/, "");
}

function remedyOf(details: string, serverName: string | undefined): string {
  if (serverName !== undefined) {
    return /certificate|altnames|self.signed|unsuitable/i.test(details)
      ? `the server there is not ${serverName}: check that the address is one of this cluster's managers`
      : "check that the address is a manager's and that this machine can reach it, or name another with --host";
  }
  if (details.includes("ENOENT"))
    return "make a cluster (warren cluster init), start its manager (systemctl start warren-manager), or name the socket of another with --host";
  return details.includes("EACCES")
    ? "this socket belongs to another user: run the command as that user (root), or with sudo"
    : "start the manager (systemctl start warren-manager), or name the socket of another with --host";
}
