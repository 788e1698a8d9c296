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
 * P5 A handler that decides by the state is called behind the barrier of linearizable reads, unless the caller accepts a
 *    stale response.
 */
import { errorText, newId, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import { ApiError, invalid } from "../errors.ts";
import {
  forwardedIdentityKey,
  readForwardedIdentity,
  readKey,
  type ForwardedCall,
  type LeaderConnection,
} from "../forwarding.ts";
import type { Identity } from "../identity.ts";
import { methodPath, type MessageType, type MethodDefinition } from "../rpc.ts";
import { statusNameOf, statusOf } from "../status.ts";
import { until } from "../stream.ts";
import { Admission, type AdmissionOptions } from "./admission.ts";
import { placeOf, readsState, type Authorize } from "./authorization.ts";
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

/** A call with one request and one response, from an adapter that has both as single messages. */
export interface UnaryCall extends Omit<IncomingCall, "requests" | "signal"> {
  /** The encoded request, read once; undefined if the caller sent none. */
  readonly request: () => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Calls back when the caller has gone or its deadline has passed, with an ApiError for each; at once if that has happened. */
  readonly onGone: (listener: (reason: unknown) => void) => void;
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

/**
 * A signal that is created when it is first read. To create and abort one for each call would cost more than the rest of
 * a short call, and most handlers never read theirs.
 */
class LazySignal {
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  get aborted(): { readonly reason: unknown } | undefined {
    return this.#aborted;
  }

  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

/** The part of a call that is known before its requests are read. */
type CallHead = Pick<IncomingCall, "path" | "peer" | "metadata">;

/** The end of a call. Two signals, since a handler's is aborted after every call, and an adapter's only if the call is cut. */
class Ends {
  readonly cut = new LazySignal();
  /** The handler's. */
  readonly work = new LazySignal();
  #reject: ((reason: unknown) => void) | undefined;

  cutBy(reason: unknown): void {
    if (this.cut.aborted !== undefined) return;
    this.cut.abort(reason);
    this.work.abort(reason);
    this.#reject?.(reason);
  }

  /** Settles as `work` does, or rejects when the call is cut, though `work` may go on. */
  orCut<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.cut.aborted !== undefined) reject(this.cut.aborted.reason);
      this.#reject = reject;
      work.then(resolve, reject);
    });
  }
}

/** A stream in the pipeline. Its signal is the handler's. */
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
    const messages =
      this.#methods.get(call.path)?.method.responseStream === true
        ? this.#runStream(call, ends)
        : this.#runUnary(call, ends);
    return { messages, cut: ends.cut.signal };
  }

  /** The encoded response; undefined if the leader returned none. Throws only errors with a status. */
  unary(call: UnaryCall): Promise<Uint8Array | undefined> {
    return this.#unary(call, new Ends());
  }

  async #unary(call: UnaryCall, ends: Ends): Promise<Uint8Array | undefined> {
    const { authorize, clock } = this.#environment;
    const { maxUnaryMs } = this.#options;
    const { path } = call;
    const started = clock.monotonic();
    const bound = this.#methods.get(path);
    const limitMs = Math.min(call.deadlineMs ?? Number.POSITIVE_INFINITY, maxUnaryMs);
    const timer = clock.setTimeout(() => ends.cutBy(deadlinePassed(path)), limitMs);
    call.onGone((reason) => ends.cutBy(reason));
    let caller: Caller | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      if (ends.cut.aborted !== undefined) throw ends.cut.aborted.reason;
      caller = this.#identify(call); // P1
      authorize(caller.identity, path);
      if (bound === undefined) throw unknownMethod(path);
      using _ = this.#admit(call.peer, caller);
      return await ends.orCut(this.#one(call, bound, caller, ends));
    } catch (error) {
      failure = { error: this.#failure(error, path, ends.cut.aborted !== undefined) };
      throw failure.error;
    } finally {
      timer.cancel();
      ends.work.abort(callOver); // P4
      this.#record(call, caller, started, false, failure?.error);
    }
  }

  /** The same for an adapter whose request and response are streams of one message. */
  async *#runUnary(call: IncomingCall, ends: Ends): AsyncGenerator<Uint8Array, void, void> {
    const { path, peer, metadata, deadlineMs, signal, requests } = call;
    let gone = (): void => undefined;
    try {
      const message = await this.#unary(
        {
          path,
          peer,
          metadata,
          deadlineMs,
          request: () => first(requests),
          onGone(listener) {
            gone = () => listener(signal.reason);
            signal.addEventListener("abort", gone, { once: true });
            if (signal.aborted) gone();
          },
        },
        ends,
      );
      if (message !== undefined) yield message;
    } finally {
      signal.removeEventListener("abort", gone);
    }
  }

  async *#runStream(call: IncomingCall, ends: Ends): AsyncGenerator<Uint8Array, void, void> {
    const { authorize, clock, metrics } = this.#environment;
    const started = clock.monotonic();
    const bound = this.#methods.get(call.path) as BoundMethod;
    const cut = ends.cut.signal;
    const disarm = this.#arm(call, ends);
    metrics.streams.set(++bound.openStreams, { method: bound.path });
    let outcome: { readonly error: unknown } | "ok" | undefined;
    let caller: Caller | undefined;
    let slow: Timer | undefined;
    try {
      caller = this.#identify(call); // P1
      authorize(caller.identity, call.path);
      using _ = this.#admit(call.peer, caller);
      const passage: Passage = { ...call, bound, signal: ends.work.signal };
      for await (const message of until(this.#stream(passage, caller), cut)) {
        if (!call.peer.local) slow = this.#slowReader(ends);
        yield message;
        slow?.cancel();
      }
      cut.throwIfAborted();
      outcome = "ok";
    } catch (error) {
      outcome = { error: this.#failure(cut.aborted ? cut.reason : error, call.path, call.signal.aborted) };
      throw outcome.error;
    } finally {
      slow?.cancel();
      disarm();
      ends.work.abort(callOver); // P4
      metrics.streams.set(--bound.openStreams, { method: bound.path });
      // Without an outcome the adapter has stopped reading.
      const error = outcome === undefined ? callerGone(call.path) : outcome === "ok" ? undefined : outcome.error;
      this.#record(call, caller, started, true, error);
    }
  }

  /** Connects everything that can end a stream early with its ends. */
  #arm(call: IncomingCall, ends: Ends): () => void {
    const { clock, leaving } = this.#environment;
    const gone = (): void => ends.cutBy(call.signal.reason);
    const leave = (): void => ends.cutBy(serverLeaves());
    call.signal.addEventListener("abort", gone, { once: true });
    if (call.signal.aborted) gone();
    leaving.addEventListener("abort", leave, { once: true });
    if (leaving.aborted) leave();
    const { deadlineMs } = call;
    const timer =
      deadlineMs === undefined ? undefined : clock.setTimeout(() => ends.cutBy(deadlinePassed(call.path)), deadlineMs);
    return () => {
      timer?.cancel();
      call.signal.removeEventListener("abort", gone);
      leaving.removeEventListener("abort", leave);
    };
  }

  /** Calls of other machines are counted, once: where they arrived. */
  #admit(peer: Peer, { identity, via }: Caller): Disposable | undefined {
    return peer.local || via !== undefined ? undefined : this.#admission.enter(identity);
  }

  #identify({ peer, metadata }: CallHead): Caller {
    const identity = peer.identify();
    if ("refused" in identity) throw unauthenticated(identity.message, identity.refused);
    // P2
    const forwarded = identity.roles.includes("manager") ? metadata(forwardedIdentityKey) : undefined;
    if (forwarded === undefined) return { identity, via: undefined };
    const origin = readForwardedIdentity(forwarded);
    const refusal = peer.confirm(origin);
    if (refusal !== undefined) throw unauthenticated(refusal.message, refusal.refused);
    return { identity: origin, via: identity.name };
  }

  /** The leader's connection if the call is to be forwarded; undefined if it is served here. */
  #route({ path }: CallHead, { via }: Caller, stale: boolean): LeaderConnection | undefined {
    const place = placeOf(path);
    if (place === "here" || stale) return undefined;
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

  async #one(call: UnaryCall, bound: BoundMethod, caller: Caller, ends: Ends): Promise<Uint8Array | undefined> {
    const stale = isStale(call);
    const leader = this.#route(call, caller, stale);
    const { path } = bound;
    if (leader !== undefined) {
      const deadlineMs = Math.min(call.deadlineMs ?? Number.POSITIVE_INFINITY, this.#options.maxUnaryMs);
      const requests = this.#oneRequest(call);
      const { signal } = ends.work;
      const { identity } = caller;
      return first(this.#forward({ path, unary: true, identity, requests, signal, deadlineMs }, leader));
    }
    const { requestType, responseType } = bound.method;
    const request = await call.request();
    if (request === undefined) throw nothingSent(path);
    this.#admission.checkSize(request.byteLength);
    const message = decode(requestType, request);
    const barrier = this.#barrier(path, stale);
    if (barrier !== undefined) await barrier; // P5
    const response = await bound.handler(message, contextOf(path, ends.work, caller));
    return responseType.encode(response).finish();
  }

  async *#stream(passage: Passage, caller: Caller): AsyncGenerator<Uint8Array, void, void> {
    const { bound, path, signal, deadlineMs } = passage;
    const stale = isStale(passage);
    const leader = this.#route(passage, caller, stale);
    if (leader !== undefined) {
      const requests = this.#requests(passage);
      yield* this.#forward({ path, unary: false, identity: caller.identity, requests, signal, deadlineMs }, leader);
      return;
    }
    const { requestType, requestStream, responseType } = bound.method;
    const messages = decoded(this.#requests(passage), requestType);
    const request = requestStream ? messages : await only(messages, path);
    await this.#barrier(path, stale); // P5
    const responses = bound.handler(request, contextOf(path, passage, caller)) as AsyncIterable<unknown>;
    for await (const message of responses) yield responseType.encode(message).finish();
  }

  /** P5 */
  #barrier(path: string, stale: boolean): Promise<void> | undefined {
    return readsState(path) && !stale ? this.#environment.leadership.barrier() : undefined;
  }

  #forward(call: ForwardedCall, leader: LeaderConnection): AsyncIterable<Uint8Array> {
    this.#environment.metrics.forwarded.add(1, { method: call.path });
    return leader.call(call);
  }

  async *#oneRequest(call: UnaryCall): AsyncGenerator<Uint8Array, void, void> {
    const request = await call.request();
    if (request === undefined) return;
    this.#admission.checkSize(request.byteLength);
    yield request;
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
  #failure(error: unknown, path: string, gone: boolean): unknown {
    if (statusOf(error) !== undefined) return error;
    if (gone) return callerGone(path);
    const { log, random } = this.#environment;
    const id = newId(random).slice(0, 12);
    log.error("a call failed by a fault of the program", { id, method: path, error });
    return new ApiError({ code: "API_INTERNAL", id }, `internal error ${id}; the manager's log has more under this id`);
  }

  #record(call: CallHead, caller: Caller | undefined, started: number, stream: boolean, error: unknown): void {
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

/** Whether the caller accepts a stale response, and the method is one that may return it. */
function isStale({ path, metadata }: CallHead): boolean {
  return placeOf(path) === "reads" && metadata(readKey) === "stale";
}

function contextOf(path: string, work: { readonly signal: AbortSignal }, { identity, via }: Caller): CallContext {
  return {
    get signal() {
      return work.signal;
    },
    identity,
    path,
    ...(via === undefined ? {} : { forwardedBy: via }),
  };
}

async function first<T>(values: AsyncIterable<T>): Promise<T | undefined> {
  for await (const value of values) return value;
  return undefined;
}

/** The single message of a request that is not a stream. */
async function only(messages: AsyncIterable<unknown>, path: string): Promise<unknown> {
  const message = await first(messages);
  if (message === undefined) throw nothingSent(path);
  return message;
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
