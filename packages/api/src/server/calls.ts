import {
  Metadata,
  type MethodDefinition as GrpcMethod,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedHandleCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { errorText, newId, type Clock, type Logger, type Random, type WarrenError } from "@warren/std";
import { ApiError, invalid } from "../errors.ts";
import { methodPath, type MessageType, type MethodDefinition } from "../rpc.ts";
import { clip, detailsTrailer, encodeDetails, grpcStatus, statusOf } from "../status.ts";
import { pump, until } from "../stream.ts";
import { localIdentity, type Authorize } from "./authorization.ts";
import type { BoundService, CallContext } from "./binding.ts";
import type { ServerMetrics } from "./metrics.ts";

/** What every call of a server shares. */
export interface CallEnvironment {
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  /** Aborted when the server begins to end: streams are ended then, for their callers to go elsewhere. */
  readonly leaving: AbortSignal;
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;
type Unary = ServerUnaryCall<Buffer, Buffer>;
type Streaming = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

interface Refusal {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

const asIs = (bytes: Buffer): Buffer => bytes;
const statusNames = Object.fromEntries(Object.entries(grpcStatus).map(([name, code]) => [code, name]));

/** A method as grpc-js takes it. Messages pass as bytes, so that one that can't be read is refused by us, with words. */
export function grpcMethod(
  service: BoundService,
  name: string,
  method: MethodDefinition,
  environment: CallEnvironment,
): { readonly definition: GrpcMethod<Buffer, Buffer>; readonly handler: UntypedHandleCall } {
  const { requestStream, responseStream } = method;
  const path = methodPath(service.definition, method);
  const handler = service.handlers[name] as unknown as AnyHandler;
  const call = new BoundMethod(path, method, handler, environment);
  return {
    definition: {
      path,
      requestStream,
      responseStream,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
    handler: responseStream
      ? (stream: Streaming) => void call.stream(stream)
      : (unary: Unary, done: sendUnaryData<Buffer>) => void call.unary(unary, done),
  };
}

class BoundMethod {
  readonly #path: string;
  readonly #method: MethodDefinition;
  readonly #handler: AnyHandler;
  readonly #environment: CallEnvironment;
  #openStreams = 0;

  constructor(path: string, method: MethodDefinition, handler: AnyHandler, environment: CallEnvironment) {
    this.#path = path;
    this.#method = method;
    this.#handler = handler;
    this.#environment = environment;
  }

  /** Never rejects. */
  async unary(call: Unary, done: sendUnaryData<Buffer>): Promise<void> {
    const started = this.#environment.clock.monotonic();
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort(callerGone(this.#path)));
    if (call.cancelled) gone.abort(callerGone(this.#path));
    let refusal: Refusal | undefined;
    try {
      const context = this.#admit(gone.signal);
      const response = await this.#handler(read(this.#method.requestType, call.request), context);
      done(null, write(this.#method.responseType, response));
    } catch (error) {
      refusal = this.#refuse(error, gone.signal);
      done(refusal);
    }
    this.#told(started, refusal);
  }

  /** Never rejects. */
  async stream(call: Streaming): Promise<void> {
    const { clock, leaving, metrics } = this.#environment;
    const started = clock.monotonic();
    const ended = new AbortController();
    const leave = (): void => ended.abort(serverLeaves());
    call.on("cancelled", () => ended.abort(callerGone(this.#path)));
    if (call.cancelled) ended.abort(callerGone(this.#path));
    call.on("error", () => undefined); // Told by `cancelled` as well.
    leaving.addEventListener("abort", leave, { once: true });
    if (leaving.aborted) leave();
    metrics.streams.set(++this.#openStreams, { method: this.#path });
    let refusal: Refusal | undefined;
    try {
      const context = this.#admit(ended.signal);
      const { requestType, responseType, requestStream } = this.#method;
      const request = requestStream
        ? requestsOf(call as ServerDuplexStream<Buffer, Buffer>, requestType, ended.signal)
        : read(requestType, (call as ServerWritableStream<Buffer, Buffer>).request);
      const responses = this.#handler(request, context) as AsyncIterable<unknown>;
      await pump(encoded(responses, responseType), call, ended.signal);
      if (ended.signal.aborted) throw ended.signal.reason;
      call.end();
    } catch (error) {
      refusal = this.#refuse(ended.signal.aborted ? ended.signal.reason : error, ended.signal);
      call.emit("error", refusal);
    }
    leaving.removeEventListener("abort", leave);
    ended.abort(callerGone(this.#path)); // Whatever the handler left running ends with its call.
    metrics.streams.set(--this.#openStreams, { method: this.#path });
    this.#told(started, refusal);
  }

  #admit(signal: AbortSignal): CallContext {
    const identity = localIdentity;
    this.#environment.authorize(identity, this.#path);
    return { signal, identity, path: this.#path };
  }

  #refuse(error: unknown, signal: AbortSignal): Refusal {
    const { log, random } = this.#environment;
    const known = statusOf(error);
    if (known !== undefined) return refusalOf(error as WarrenError, known);
    if (signal.aborted) return refusalOf(callerGone(this.#path), grpcStatus.CANCELLED);
    const id = newId(random).slice(0, 12);
    log.error("call failed by a fault of ours", { id, method: this.#path, error });
    const told = new ApiError(
      { code: "API_INTERNAL", id },
      `internal error ${id}; the manager's log has more under this id`,
    );
    return refusalOf(told, grpcStatus.INTERNAL);
  }

  #told(started: number, refusal: Refusal | undefined): void {
    const { clock, log, metrics } = this.#environment;
    const method = this.#path;
    const status = statusNames[refusal?.code ?? grpcStatus.OK] ?? "UNKNOWN";
    const seconds = (clock.monotonic() - started) / 1_000;
    metrics.requests.add(1, { method, status });
    if (!this.#method.responseStream) metrics.seconds.observe(seconds, { method });
    log.debug("call", { method, status, ms: Math.round(seconds * 1_000), ...(refusal && { why: refusal.details }) });
  }
}

function refusalOf(error: WarrenError, code: number): Refusal {
  const metadata = new Metadata();
  metadata.set(detailsTrailer, Buffer.from(encodeDetails(error)));
  return { code, details: clip(error.message), metadata };
}

function callerGone(path: string): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, `${path}: the caller has gone or its deadline has passed`);
}

function serverLeaves(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "the manager is stopping", { remedy: "connect again" });
}

/** @throws ApiError `API_INVALID` */
function read(type: MessageType, bytes: Buffer): unknown {
  try {
    return type.decode(bytes);
  } catch (error) {
    throw invalid([{ field: "", description: `this is no ${type.$type}: ${errorText(error)}` }]);
  }
}

function write(type: MessageType, message: unknown): Buffer {
  return Buffer.from(type.encode(message).finish());
}

async function* encoded(messages: AsyncIterable<unknown>, type: MessageType): AsyncGenerator<Buffer, void, void> {
  for await (const message of messages) yield write(type, message);
}

/** Throws the signal's reason when the call ends before the caller's half has. */
async function* requestsOf(
  call: ServerDuplexStream<Buffer, Buffer>,
  type: MessageType,
  signal: AbortSignal,
): AsyncGenerator<unknown, void, void> {
  // The iterator must not destroy the stream: answers are still to be written.
  for await (const bytes of until(call.iterator({ destroyOnReturn: false }), signal)) yield read(type, bytes as Buffer);
  // grpc-js shows the end of a stream that was reset as if the caller had ended its half, and the reset just after, in
  // the same turn of the event loop. So an end is believed once a turn has passed without one.
  await new Promise((resolve) => setImmediate(resolve));
  if (signal.aborted) throw signal.reason;
}
