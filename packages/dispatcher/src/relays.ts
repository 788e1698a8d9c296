/**
 * Relays from a caller of the API to a node. The request goes in the node's session; the node opens a stream for it,
 * whose messages go to the caller as fast as the caller reads. When one side ends, the other ends too.
 */
import { abortable, aborted, newId, type Clock, type Random } from "@warren/std";
import {
  ApiError,
  type ExecOpen,
  type ExecRequest,
  type ExecResponse,
  type LogLines,
  type RelayDown,
  type RelayImage,
  type RelayImageAnswer,
  type RelayLogs,
  type RelayRequest,
  type RelayStats,
  type RelayUp,
  type StatsResponse,
} from "@warren/api";

import { callerGone, cutOff, nodeUnreachable, refusedByNode, relayUnknown, tooManyRelays } from "./errors.ts";
import type { DispatcherMetrics } from "./metrics.ts";
import type { NodeSession } from "./node-session.ts";
import type { DispatcherOptions } from "./options.ts";

/**
 * Calls to a node for a caller, about any run that the node still has. All throw ApiError: `API_UNAVAILABLE` if the
 * node can't be reached or disconnects, else the node's own error. They end when `signal` aborts or the reader stops.
 */
export interface Relay {
  /** Log lines of tasks, by their ids. */
  logs(nodeId: string, request: RelayLogs, signal: AbortSignal): AsyncIterable<LogLines>;
  /** @param request `ref` is a task's id. @param input the caller's later messages */
  exec(
    nodeId: string,
    request: ExecOpen,
    input: AsyncIterable<ExecRequest>,
    signal: AbortSignal,
  ): AsyncIterable<ExecResponse>;
  stats(nodeId: string, request: RelayStats, signal: AbortSignal): Promise<StatsResponse>;
  /** The digest that the node resolves an image reference to. */
  image(nodeId: string, request: RelayImage, signal: AbortSignal): Promise<RelayImageAnswer>;
}

export interface RelaysDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: DispatcherMetrics;
  readonly sessionOf: (nodeId: string) => NodeSession | undefined;
}

type Up = NonNullable<RelayUp["message"]>;
type What = NonNullable<RelayRequest["what"]>;

export class Relays {
  readonly #dependencies: RelaysDependencies;
  readonly #options: Required<DispatcherOptions>;
  readonly #calls = new Map<string, RelayCall>();

  constructor(dependencies: RelaysDependencies, options: Required<DispatcherOptions>) {
    this.#dependencies = dependencies;
    this.#options = options;
  }

  /** Sends a request to a node and returns the node's messages. */
  async *call(
    nodeId: string,
    what: What,
    signal: AbortSignal,
    input?: AsyncIterable<ExecRequest>,
  ): AsyncGenerator<Up, void, void> {
    const { clock, random, metrics, sessionOf } = this.#dependencies;
    const { maxRelaysPerNode, relayOpenMs } = this.#options;
    signal.throwIfAborted();
    const session = sessionOf(nodeId);
    if (session === undefined) throw nodeUnreachable(nodeId, "it has no session with a manager");
    const open = [...this.#calls.values()].filter((call) => call.nodeId === nodeId).length;
    if (open >= maxRelaysPerNode) throw tooManyRelays(nodeId, maxRelaysPerNode);
    const relayId = newId(random);
    const call = new RelayCall(nodeId, input);
    this.#calls.set(relayId, call);
    metrics.relays.set(this.#calls.size);
    const onGone = (): void => call.end(callerGone());
    const onLost = (): void => call.end(nodeUnreachable(nodeId, "its session ended"));
    signal.addEventListener("abort", onGone, { once: true });
    session.signal.addEventListener("abort", onLost, { once: true });
    const late = clock.setTimeout(
      () => call.end(nodeUnreachable(nodeId, `it did not answer within ${relayOpenMs} ms`)),
      relayOpenMs,
    );
    try {
      if (!session.send({ relay: { relayId, what } })) throw nodeUnreachable(nodeId, "it does not read its messages");
      const up = await call.opened();
      late.cancel();
      yield* call.answers(up);
    } finally {
      late.cancel();
      signal.removeEventListener("abort", onGone);
      session.signal.removeEventListener("abort", onLost);
      call.end(callerGone());
      this.#calls.delete(relayId);
      metrics.relays.set(this.#calls.size);
    }
  }

  /** The messages for the node, on its stream of a relay. @throws ApiError `API_NOT_FOUND` if the relay is over */
  serve(
    relayId: string,
    nodeId: string,
    up: AsyncIterator<RelayUp>,
    signal: AbortSignal,
  ): AsyncGenerator<RelayDown, void, void> {
    const call = this.#calls.get(relayId);
    if (call === undefined || call.nodeId !== nodeId || !call.join(up)) throw relayUnknown(relayId);
    return call.serve(signal);
  }
}

class RelayCall {
  readonly nodeId: string;
  readonly #input: AsyncIterable<ExecRequest> | undefined;
  readonly #over = new AbortController();
  readonly #opened = Promise.withResolvers<AsyncIterator<RelayUp>>();
  #joined = false;

  constructor(nodeId: string, input: AsyncIterable<ExecRequest> | undefined) {
    this.nodeId = nodeId;
    this.#input = input;
  }

  /** Ends both sides; the first reason stays. */
  end(error: Error): void {
    this.#over.abort(error);
  }

  join(up: AsyncIterator<RelayUp>): boolean {
    if (this.#joined || this.#over.signal.aborted) return false;
    this.#joined = true;
    this.#opened.resolve(up);
    return true;
  }

  opened(): Promise<AsyncIterator<RelayUp>> {
    return abortable(this.#opened.promise, this.#over.signal);
  }

  /** The node's messages; each is read after the caller has taken the one before. */
  async *answers(up: AsyncIterator<RelayUp>): AsyncGenerator<Up, void, void> {
    for (;;) {
      const next = await abortable(this.#next(up), this.#over.signal);
      if (next.done === true) throw cutOff(this.nodeId);
      const { message } = next.value;
      if (message?.$case === "done") return;
      if (message?.$case === "failure") throw refusedByNode(this.nodeId, message.value);
      // Undefined: a message of a later level.
      if (message !== undefined) yield message;
    }
  }

  async #next(up: AsyncIterator<RelayUp>): Promise<IteratorResult<RelayUp>> {
    try {
      return await up.next();
    } catch (cause) {
      throw cutOff(this.nodeId, cause);
    }
  }

  /** The caller's messages, then `end`. */
  async *serve(signal: AbortSignal): AsyncGenerator<RelayDown, void, void> {
    const lost = (): void => this.end(cutOff(this.nodeId));
    signal.addEventListener("abort", lost, { once: true });
    if (signal.aborted) lost();
    const over = this.#over.signal;
    try {
      if (this.#input !== undefined) yield* this.#sent(this.#input);
      await aborted(over);
      yield { message: { $case: "end", value: true } };
    } finally {
      signal.removeEventListener("abort", lost);
      lost();
    }
  }

  /** The caller's messages, until they end or the relay is over. */
  async *#sent(input: AsyncIterable<ExecRequest>): AsyncGenerator<RelayDown, void, void> {
    const iterator = input[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await abortable(iterator.next(), this.#over.signal);
        if (next.done === true) return;
        yield { message: { $case: "exec", value: next.value } };
      }
    } catch (error) {
      // The caller's stream broke, which ends the relay; or the relay is over already.
      this.end(ApiError.is(error) ? error : callerGone());
    }
  }
}

export function relayOf(relays: () => Relays): Relay {
  return {
    async *logs(nodeId, request, signal) {
      for await (const up of relays().call(nodeId, { $case: "logs", value: request }, signal))
        if (up.$case === "logs") yield up.value;
    },
    async *exec(nodeId, request, input, signal) {
      for await (const up of relays().call(nodeId, { $case: "exec", value: request }, signal, input))
        if (up.$case === "exec") yield up.value;
    },
    async stats(nodeId, request, signal) {
      for await (const up of relays().call(nodeId, { $case: "stats", value: request }, signal))
        if (up.$case === "stats") return up.value;
      throw nodeUnreachable(nodeId, "it ended without its measurements");
    },
    async image(nodeId, request, signal) {
      for await (const up of relays().call(nodeId, { $case: "image", value: request }, signal))
        if (up.$case === "image") return up.value;
      throw nodeUnreachable(nodeId, "it ended without the image's digest");
    },
  };
}
