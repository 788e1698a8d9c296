/**
 * The way of every call, whatever it came over: identity, authorisation, admission, then the handler here or the leader's
 * pipeline. An adapter (gRPC, another pipeline in the same process) gives it an `IncomingCall` and writes what it yields;
 * messages are protobuf bytes on both sides. See DESIGN.md.
 *
 * P1 Nothing of a request is read before its caller is known and allowed.
 * P2 A forwarded identity is believed only from a peer that is a manager now, and what was forwarded is never forwarded
 *    again.
 * P3 What a call throws is an error that `../status.ts` has a status for; any other becomes INTERNAL with an id.
 * P4 A handler's signal is aborted once its call has ended, however that came.
 */
import { errorText, newId, type Clock, type Logger, type Random, type Timer } from "@warren/std";
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

/** A call as an adapter has it. */
export interface IncomingCall {
  /** `/warren.v1.Services/Create` */
  readonly path: string;
  readonly peer: Peer;
  /** Encoded messages; of a method that takes one, that one. Throws if the caller goes before their end. */
  readonly requests: AsyncIterable<Uint8Array>;
  /** What the caller sent beside the messages: a value by its key. */
  readonly metadata: (key: string) => string | undefined;
  /** Aborted when the caller has gone or its deadline has passed, with an ApiError that says which. */
  readonly signal: AbortSignal;
  /** What is left of the caller's deadline, ms. */
  readonly deadlineMs?: number | undefined;
}

/** A call under way. */
export interface Answer {
  /** Encoded messages; of a method that gives one, that one. Read at the caller's pace. Throws only what has a status. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Aborted, with the ApiError to send, when the call is cut though the caller does not read. */
  readonly cut: AbortSignal;
}

export interface PipelineEnvironment {
  readonly authorize: Authorize;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  /** Aborted when the server begins to end: streams are ended then, for their callers to go elsewhere. */
  readonly leaving: AbortSignal;
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;

interface BoundMethod {
  readonly path: string;
  readonly method: MethodDefinition;
  readonly handler: AnyHandler;
  openStreams: number;
}

/** One call on its way. */
interface Passage extends IncomingCall {
  readonly bound: BoundMethod;
  /** Cuts the call, as `Answer.cut`. */
  readonly cut: AbortController;
  /** The handler's signal. */
  readonly work: AbortSignal;
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

  /** What an adapter has to serve, by path. */
  get methods(): ReadonlyMap<string, MethodDefinition> {
    return new Map([...this.#methods].map(([path, { method }]) => [path, method]));
  }

  /** Begins when the answer is read. */
  call(call: IncomingCall): Answer {
    const cut = new AbortController();
    return { messages: this.#run(call, cut), cut: cut.signal };
  }

  async *#run(call: IncomingCall, cut: AbortController): AsyncGenerator<Uint8Array, void, void> {
    const { clock, metrics } = this.#environment;
    const started = clock.monotonic();
    const bound = this.#methods.get(call.path);
    const stream = bound?.method.responseStream === true;
    const work = new AbortController();
    const disarm = this.#arm(call, stream, cut, work);
    if (stream) metrics.streams.set(++bound.openStreams, { method: bound.path });
    let outcome: { readonly error: unknown } | undefined = { error: callerGone(call.path) };
    let caller: Caller | undefined;
    let slow: Timer | undefined;
    try {
      caller = this.#identify(call); // P1
      this.#environment.authorize(caller.identity, call.path);
      if (bound === undefined) throw unknownMethod(call.path);
      const counted = !call.peer.local && caller.via === undefined;
      using _ = counted ? this.#admission.enter(caller.identity) : undefined;
      const passage: Passage = { ...call, bound, cut, work: work.signal };
      for await (const message of until(this.#answers(passage, caller), cut.signal)) {
        if (stream && !call.peer.local) slow = this.#slowReader(cut);
        yield message;
        slow?.cancel();
      }
      cut.signal.throwIfAborted();
      outcome = undefined;
    } catch (error) {
      const told = this.#failure(cut.signal.aborted ? cut.signal.reason : error, call);
      outcome = { error: told };
      throw told;
    } finally {
      slow?.cancel();
      disarm();
      work.abort(callerGone(call.path)); // P4
      if (stream) metrics.streams.set(--bound.openStreams, { method: bound.path });
      this.#record(call, caller, started, stream, outcome?.error);
    }
  }

  /** Joins all that can end a call early to its two signals. */
  #arm(call: IncomingCall, stream: boolean, cut: AbortController, work: AbortController): () => void {
    const { clock, leaving } = this.#environment;
    const gone = (): void => cut.abort(call.signal.reason);
    const leave = (): void => cut.abort(serverLeaves());
    const end = (): void => work.abort(cut.signal.reason);
    cut.signal.addEventListener("abort", end, { once: true });
    call.signal.addEventListener("abort", gone, { once: true });
    if (call.signal.aborted) gone();
    if (stream) leaving.addEventListener("abort", leave, { once: true });
    if (stream && leaving.aborted) leave();
    const limitMs = Math.min(
      call.deadlineMs ?? Number.POSITIVE_INFINITY,
      stream ? Number.POSITIVE_INFINITY : this.#options.maxUnaryMs,
    );
    const timer = Number.isFinite(limitMs)
      ? clock.setTimeout(() => cut.abort(deadlinePassed(call.path)), limitMs)
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

  #answers(passage: Passage, caller: Caller): AsyncIterable<Uint8Array> {
    const place = placeOf(passage.path);
    const stale = passage.metadata(readKey) === "stale";
    if (place === "leader" || (place === "reads" && !stale)) {
      const route = this.#environment.leadership.route();
      switch (route.kind) {
        case "here":
          break;
        case "nobody":
          throw noLeader(route.why);
        case "leader":
          if (caller.via !== undefined) throw noLeader("this manager, to which the call was forwarded, does not lead");
          return this.#forward(passage, caller.identity, route.connection);
      }
    }
    return this.#serve(passage, caller, stale);
  }

  async *#forward(
    { bound, path, requests, work, deadlineMs }: Passage,
    identity: Identity,
    leader: LeaderConnection,
  ): AsyncGenerator<Uint8Array, void, void> {
    this.#environment.metrics.forwarded.add(1, { method: path });
    const unary = !bound.method.responseStream;
    const limitMs = unary ? Math.min(deadlineMs ?? Number.POSITIVE_INFINITY, this.#options.maxUnaryMs) : deadlineMs;
    yield* leader.call({
      path,
      unary,
      identity,
      requests: this.#requests(requests, work),
      signal: work,
      deadlineMs: limitMs,
    });
  }

  async *#serve(
    { bound, path, requests, work }: Passage,
    { identity, via }: Caller,
    stale: boolean,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { requestType, requestStream, responseType, responseStream } = bound.method;
    const context: CallContext = {
      signal: work,
      identity,
      path,
      stale,
      ...(via === undefined ? {} : { forwardedBy: via }),
    };
    const messages = decoded(this.#requests(requests, work), requestType);
    const request = requestStream ? messages : await only(messages, path);
    if (responseStream) {
      for await (const message of bound.handler(request, context) as AsyncIterable<unknown>)
        yield responseType.encode(message).finish();
    } else yield responseType.encode(await bound.handler(request, context)).finish();
  }

  /** Throws the signal's reason when the call ends before the caller's half has. */
  async *#requests(requests: AsyncIterable<Uint8Array>, work: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    for await (const bytes of until(requests, work)) {
      this.#admission.checkSize(bytes.byteLength);
      yield bytes;
    }
    work.throwIfAborted();
  }

  #slowReader(cut: AbortController): Timer {
    const { slowReaderMs } = this.#options;
    return this.#environment.clock.setTimeout(() => cut.abort(slowReader(slowReaderMs)), slowReaderMs);
  }

  /** P3 */
  #failure(error: unknown, { path, signal }: IncomingCall): unknown {
    if (statusOf(error) !== undefined) return error;
    if (signal.aborted) return callerGone(path);
    const { log, random } = this.#environment;
    const id = newId(random).slice(0, 12);
    log.error("call failed by a fault of ours", { id, method: path, error });
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

/** The one message of a request that is no stream. */
async function only(messages: AsyncIterable<unknown>, path: string): Promise<unknown> {
  for await (const message of messages) return message;
  throw invalid([{ field: "", description: `${path} takes a message, and none was sent` }]);
}

async function* decoded(requests: AsyncIterable<Uint8Array>, type: MessageType): AsyncGenerator<unknown, void, void> {
  for await (const bytes of requests) {
    let message: unknown;
    try {
      message = type.decode(bytes);
    } catch (error) {
      throw invalid([{ field: "", description: `this is no ${type.$type}: ${errorText(error)}` }]);
    }
    yield message;
  }
}

export function callerGone(path: string): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, `${path}: the caller has gone`);
}

export function deadlinePassed(path: string): ApiError {
  return new ApiError({ code: "API_DEADLINE" }, `${path}: the deadline has passed; what was asked may still be done`, {
    remedy: "see what is there before you try again",
  });
}

function serverLeaves(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "the manager is stopping", { remedy: "connect again" });
}

function slowReader(limitMs: number): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, `nothing of the answer was taken for ${limitMs / 1_000} s`, {
    remedy: "read faster, or call again from where you are",
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
  return new ApiError({ code: "API_UNIMPLEMENTED" }, `there is no method ${path} here`);
}
