/**
 * The stages of every call, over any protocol: identity, authorisation, admission, then the handler here or the leader's
 * pipeline. An adapter (gRPC, another pipeline in the same process) passes an `IncomingCall` and writes the responses;
 * messages are protobuf bytes on both sides. See DESIGN.md.
 *
 * P1 No message of a request is read before its caller is identified and authorised.
 * P2 A forwarded identity is accepted only from a peer that is a manager now, and a forwarded call is never forwarded
 *    again.
 * P3 Every error of a call has a status in `../status.ts`; any other becomes INTERNAL with an id.
 * P4 A handler's signal is aborted once its call has ended, for whatever reason.
 */
import { abortableOrUndefined, errorText, newId, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import { ApiError, invalid } from "../errors.ts";
import { forwardedIdentityKey, readForwardedIdentity, readKey, type LeaderConnection } from "../forwarding.ts";
import type { Identity } from "../identity.ts";
import { methodPath, type MessageType, type MethodDefinition } from "../rpc.ts";
import { statusNameOf, statusOf } from "../status.ts";
import { until } from "../stream.ts";
import { Admission, type AdmissionOptions } from "./admission.ts";
import { placeOf, type Authorize } from "./authorization.ts";
import type { BoundService, CallContext } from "./binding.ts";
import type { Leadership } from "./leadership.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { Peer } from "./peer.ts";

/** A call, as an adapter passes it. */
export interface IncomingCall {
  /** `/warren.v1.Services/Create` */
  readonly path: string;
  readonly peer: Peer;
  /** Encoded messages, or the single one. Throws if the caller goes before their end. */
  readonly requests: AsyncIterable<Uint8Array>;
  /** The call's metadata: a value by its key. */
  readonly metadata: (key: string) => string | undefined;
  /** Aborted when the caller has gone or its deadline has passed, with an ApiError for each. */
  readonly signal: AbortSignal;
  /** Time until the caller's deadline, ms. */
  readonly deadlineMs?: number | undefined;
}

/** A call under way. */
export interface Answer {
  /** Encoded responses, or the single one. Read as fast as the caller reads. Throws only errors with a status. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Aborted, with the ApiError to send, when the call is ended though the caller does not read. */
  readonly cut: AbortSignal;
}

export interface PipelineEnvironment {
  readonly authorize: Authorize;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  /** Aborted when the server begins to stop: streams are ended then, so that their callers connect elsewhere. */
  readonly leaving: AbortSignal;
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;

interface BoundMethod {
  readonly path: string;
  readonly method: MethodDefinition;
  readonly handler: AnyHandler;
  openStreams: number;
}

/** The end of a call. Two signals, since a handler's is aborted after every call, and an adapter's only if the call is cut. */
class Ends {
  readonly cut = new AbortController();
  /** Its signal is the handler's. */
  readonly work = new AbortController();

  cutBy(reason: unknown): void {
    this.cut.abort(reason);
    this.work.abort(reason);
  }
}

/** A call in the pipeline. Its signal is the handler's. */
interface Passage extends IncomingCall {
  readonly bound: BoundMethod;
}

interface Caller {
  readonly identity: Identity;
  /** The manager that forwarded the call. */
  readonly via: string | undefined;
}

export class Pipeline {
  readonly #environment: PipelineEnvironment;
  readonly #options: Required<AdmissionOptions>;
  readonly #admission: Admission;
  readonly #methods = new Map<string, BoundMethod>();

  constructor(
    services: readonly BoundService[],
    environment: PipelineEnvironment,
    options: Required<AdmissionOptions>,
  ) {
    this.#environment = environment;
    this.#options = options;
    this.#admission = new Admission(environment.clock, options);
    for (const { definition, handlers } of services) {
      for (const [name, method] of Object.entries(definition.methods)) {
        const handler = handlers[name] as unknown as AnyHandler;
        const path = methodPath(definition, method);
        this.#methods.set(path, { path, method, handler, openStreams: 0 });
      }
    }
  }

  /** The methods that an adapter has to serve, by path. */
  get methods(): ReadonlyMap<string, MethodDefinition> {
    return new Map([...this.#methods].map(([path, { method }]) => [path, method]));
  }

  /** Begins when the responses are read. */
  call(call: IncomingCall): Answer {
    const ends = new Ends();
    return { messages: this.#run(call, ends), cut: ends.cut.signal };
  }

  async *#run(call: IncomingCall, ends: Ends): AsyncGenerator<Uint8Array, void, void> {
    const { clock, metrics } = this.#environment;
    const started = clock.monotonic();
    const bound = this.#methods.get(call.path);
    const stream = bound?.method.responseStream === true;
    const { cut, work } = ends;
    const disarm = this.#arm(call, stream, ends);
    if (stream) metrics.streams.set(++bound.openStreams, { method: bound.path });
    let outcome: { readonly error: unknown } | "ok" | undefined;
    let caller: Caller | undefined;
    let slow: Timer | undefined;
    try {
      caller = this.#identify(call); // P1
      this.#environment.authorize(caller.identity, call.path);
      if (bound === undefined) throw unknownMethod(call.path);
      const counted = !call.peer.local && caller.via === undefined;
      using _ = counted ? this.#admission.enter(caller.identity) : undefined;
      const passage: Passage = { ...call, bound, signal: work.signal };
      if (stream) {
        for await (const message of until(this.#stream(passage, caller), cut.signal)) {
          if (!call.peer.local) slow = this.#slowReader(ends);
          yield message;
          slow?.cancel();
        }
        cut.signal.throwIfAborted();
      } else {
        const message = await abortableOrUndefined(this.#one(passage, caller), cut.signal);
        cut.signal.throwIfAborted();
        if (message !== undefined) yield message;
      }
      outcome = "ok";
    } catch (error) {
      outcome = { error: this.#failure(cut.signal.aborted ? cut.signal.reason : error, call) };
      throw outcome.error;
    } finally {
      slow?.cancel();
      disarm();
      work.abort(callOver); // P4
      if (stream) metrics.streams.set(--bound.openStreams, { method: bound.path });
      // Without an outcome the adapter has stopped reading.
      const error = outcome === undefined ? callerGone(call.path) : outcome === "ok" ? undefined : outcome.error;
      this.#record(call, caller, started, stream, error);
    }
  }

  /** Connects everything that can end a call early with its signals. */
  #arm(call: IncomingCall, stream: boolean, ends: Ends): () => void {
    const { clock, leaving } = this.#environment;
    const gone = (): void => ends.cutBy(call.signal.reason);
    const leave = (): void => ends.cutBy(serverLeaves());
    call.signal.addEventListener("abort", gone, { once: true });
    if (call.signal.aborted) gone();
    if (stream) leaving.addEventListener("abort", leave, { once: true });
    if (stream && leaving.aborted) leave();
    const mostMs = stream ? Number.POSITIVE_INFINITY : this.#options.maxUnaryMs;
    const limitMs = Math.min(call.deadlineMs ?? Number.POSITIVE_INFINITY, mostMs);
    const timer = Number.isFinite(limitMs)
      ? clock.setTimeout(() => ends.cutBy(deadlinePassed(call.path)), limitMs)
      : undefined;
    return () => {
      timer?.cancel();
      call.signal.removeEventListener("abort", gone);
      leaving.removeEventListener("abort", leave);
    };
  }

  #identify({ peer, metadata }: IncomingCall): Caller {
    const identity = peer.identify();
    if ("refused" in identity) throw unauthenticated(identity.message, identity.refused);
    const forwarded = metadata(forwardedIdentityKey);
    // P2
    if (forwarded === undefined || !identity.roles.includes("manager")) return { identity, via: undefined };
    const origin = readForwardedIdentity(forwarded);
    const refusal = peer.confirm(origin);
    if (refusal !== undefined) throw unauthenticated(refusal.message, refusal.refused);
    return { identity: origin, via: identity.name };
  }

  /** The leader's connection if the call is to be forwarded; undefined if it is served here. */
  #route({ path }: Passage, { via }: Caller, stale: boolean): LeaderConnection | undefined {
    const place = placeOf(path);
    if (place === "here" || (place === "reads" && stale)) return undefined;
    const route = this.#environment.leadership.route();
    switch (route.kind) {
      case "here":
        return undefined;
      case "nobody":
        throw noLeader(route.why);
      case "leader":
        if (via !== undefined) throw noLeader("this manager, to which the call was forwarded, does not lead");
        return route.connection;
    }
  }

  async #one(passage: Passage, caller: Caller): Promise<Uint8Array | undefined> {
    const stale = isStale(passage);
    const leader = this.#route(passage, caller, stale);
    if (leader !== undefined) {
      for await (const message of this.#forward(passage, caller.identity, leader)) return message;
      return undefined;
    }
    const { bound, requests } = passage;
    const { requestType, responseType } = bound.method;
    let request: Uint8Array | undefined;
    for await (request of requests) break;
    if (request === undefined) throw nothingSent(bound.path);
    this.#admission.checkSize(request.byteLength);
    const response = await bound.handler(decode(requestType, request), contextOf(passage, caller, stale));
    return responseType.encode(response).finish();
  }

  async *#stream(passage: Passage, caller: Caller): AsyncGenerator<Uint8Array, void, void> {
    const stale = isStale(passage);
    const leader = this.#route(passage, caller, stale);
    if (leader !== undefined) {
      yield* this.#forward(passage, caller.identity, leader);
      return;
    }
    const { bound } = passage;
    const { requestType, requestStream, responseType } = bound.method;
    const messages = decoded(this.#requests(passage), requestType);
    const request = requestStream ? messages : await only(messages, bound.path);
    const responses = bound.handler(request, contextOf(passage, caller, stale)) as AsyncIterable<unknown>;
    for await (const message of responses) yield responseType.encode(message).finish();
  }

  #forward(passage: Passage, identity: Identity, leader: LeaderConnection): AsyncIterable<Uint8Array> {
    const { bound, path, signal } = passage;
    this.#environment.metrics.forwarded.add(1, { method: path });
    const unary = !bound.method.responseStream;
    const deadlineMs = unary
      ? Math.min(passage.deadlineMs ?? Number.POSITIVE_INFINITY, this.#options.maxUnaryMs)
      : passage.deadlineMs;
    return leader.call({ path, unary, identity, requests: this.#requests(passage), signal, deadlineMs });
  }

  /** Throws the signal's reason when the call ends before the caller's half has. */
  async *#requests({ requests, signal }: Passage): AsyncGenerator<Uint8Array, void, void> {
    for await (const bytes of until(requests, signal)) {
      this.#admission.checkSize(bytes.byteLength);
      yield bytes;
    }
    signal.throwIfAborted();
  }

  #slowReader(ends: Ends): Timer {
    const { slowReaderMs } = this.#options;
    return this.#environment.clock.setTimeout(() => ends.cutBy(slowReader(slowReaderMs)), slowReaderMs);
  }

  /** P3 */
  #failure(error: unknown, { path, signal }: IncomingCall): unknown {
    if (statusOf(error) !== undefined) return error;
    if (signal.aborted) return callerGone(path);
    const { log, random } = this.#environment;
    const id = newId(random).slice(0, 12);
    log.error("a call failed by a fault of the program", { id, method: path, error });
    return new ApiError({ code: "API_INTERNAL", id }, `internal error ${id}; the manager's log has more under this id`);
  }

  #record(call: IncomingCall, caller: Caller | undefined, started: number, stream: boolean, error: unknown): void {
    const { clock, log, metrics } = this.#environment;
    const method = this.#methods.has(call.path) ? call.path : "unknown";
    const status = error === undefined ? "OK" : statusNameOf(error);
    const seconds = (clock.monotonic() - started) / 1_000;
    metrics.requests.add(1, { method, status });
    if (!stream) metrics.seconds.observe(seconds, { method });
    log.debug("call", {
      method: call.path,
      status,
      from: call.peer.address,
      caller: caller?.identity.name ?? "unknown",
      ...(caller?.via === undefined ? {} : { via: caller.via }),
      ms: Math.round(seconds * 1_000),
      ...(error === undefined ? {} : { why: errorText(error) }),
    });
  }
}

function isStale({ metadata }: IncomingCall): boolean {
  return metadata(readKey) === "stale";
}

function contextOf({ path, signal }: Passage, { identity, via }: Caller, stale: boolean): CallContext {
  return { signal, identity, path, stale, ...(via === undefined ? {} : { forwardedBy: via }) };
}

/** The single message of a request that is not a stream. */
async function only(messages: AsyncIterable<unknown>, path: string): Promise<unknown> {
  for await (const message of messages) return message;
  throw nothingSent(path);
}

async function* decoded(requests: AsyncIterable<Uint8Array>, type: MessageType): AsyncGenerator<unknown, void, void> {
  for await (const bytes of requests) yield decode(type, bytes);
}

/** @throws ApiError `API_INVALID` */
function decode(type: MessageType, bytes: Uint8Array): unknown {
  try {
    return type.decode(bytes);
  } catch (error) {
    throw invalid([{ field: "", description: `not a ${type.$type}: ${errorText(error)}` }]);
  }
}

function nothingSent(path: string): ApiError {
  return invalid([{ field: "", description: `${path} needs a message, and none was sent` }]);
}

/** Reason of handlers' signals after their calls. One object for all, since an error for each would cost more than the call. */
const callOver = new ApiError({ code: "API_CANCELLED" }, "the call has ended");

export function callerGone(path: string): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, `${path}: the caller has gone`);
}

export function deadlinePassed(path: string): ApiError {
  return new ApiError({ code: "API_DEADLINE" }, `${path}: the deadline has passed; the call may still take effect`, {
    remedy: "check whether it took effect before you try again",
  });
}

function serverLeaves(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "the manager is stopping", { remedy: "connect again" });
}

function slowReader(limitMs: number): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, `no response was read for ${limitMs / 1_000} s`, {
    remedy: "read faster, or call again from the last response",
  });
}

function noLeader(why: string): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, `no manager leads now: ${why}`, {
    reason: "API_NO_LEADER",
    remedy: "try again",
  });
}

function unauthenticated(message: string, reason: string): ApiError {
  return new ApiError({ code: "API_UNAUTHENTICATED" }, message, { reason });
}

function unknownMethod(path: string): ApiError {
  return new ApiError({ code: "API_UNIMPLEMENTED" }, `unknown method ${path}`);
}
