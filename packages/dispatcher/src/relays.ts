/**
 * Relays from a caller of the API to a node. The request goes in the node's session; the node opens a stream for it,
 * whose messages go to the caller as fast as the caller reads. When one side ends, the other ends too.
 */
import { abortable, aborted, newId, type Clock, type Random } from "@warren/std";
import { ApiError, type NodeImage, type Relay, type RelayDown, type RelayRequest, type RelayUp } from "@warren/api";

import { callerGone, cutOff, nodeUnreachable, refusedByNode, relayUnknown, tooManyRelays } from "./errors.ts";
import type { DispatcherMetrics } from "./metrics.ts";
import type { NodeSession } from "./node-session.ts";
import type { DispatcherOptions } from "./options.ts";

export interface RelaysDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: DispatcherMetrics;
  readonly sessionOf: (nodeId: string) => NodeSession | undefined;
}

type Down = NonNullable<RelayDown["message"]>;
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
    input?: AsyncIterable<Down>,
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
  readonly #input: AsyncIterable<Down> | undefined;
  readonly #over = new AbortController();
  readonly #opened = Promise.withResolvers<AsyncIterator<RelayUp>>();
  #joined = false;

  constructor(nodeId: string, input: AsyncIterable<Down> | undefined) {
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
  async *#sent(input: AsyncIterable<Down>): AsyncGenerator<RelayDown, void, void> {
    const iterator = input[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await abortable(iterator.next(), this.#over.signal);
        if (next.done === true) return;
        yield { message: next.value };
      }
    } catch (error) {
      // The caller's stream broke, which ends the relay; or the relay is over already.
      this.end(ApiError.is(error) ? error : callerGone());
    }
  }
}

export function relayOf(relays: () => Relays): Relay {
  /** The one message that answers a request. */
  const answer = async <T>(
    nodeId: string,
    what: What,
    read: (up: Up) => T | undefined,
    signal: AbortSignal,
  ): Promise<T> => {
    for await (const up of relays().call(nodeId, what, signal)) {
      const found = read(up);
      if (found !== undefined) return found;
    }
    throw nodeUnreachable(nodeId, `it ended without an answer to ${what.$case}`);
  };
  const images = (up: Up): readonly NodeImage[] | undefined => (up.$case === "images" ? up.value.images : undefined);
  return {
    async *logs(nodeId, request, signal) {
      for await (const up of relays().call(nodeId, { $case: "logs", value: request }, signal))
        if (up.$case === "logs") yield up.value;
    },
    async *exec(nodeId, request, input, signal) {
      const sent = mapped(input, (value) => ({ $case: "exec", value }) as const);
      for await (const up of relays().call(nodeId, { $case: "exec", value: request }, signal, sent))
        if (up.$case === "exec") yield up.value;
    },
    async *portForward(nodeId, request, input, signal) {
      const sent = mapped(input, (value) => ({ $case: "portForward", value }) as const);
      for await (const up of relays().call(nodeId, { $case: "portForward", value: request }, signal, sent))
        if (up.$case === "portForward") yield up.value;
    },
    stats(nodeId, request, signal) {
      const what: What = { $case: "stats", value: request };
      return answer(nodeId, what, (up) => (up.$case === "stats" ? up.value : undefined), signal);
    },
    image(nodeId, request, signal) {
      const what: What = { $case: "image", value: request };
      return answer(nodeId, what, (up) => (up.$case === "image" ? up.value : undefined), signal);
    },
    login(nodeId, request, signal) {
      const what: What = { $case: "registryLogin", value: request };
      return answer(nodeId, what, (up) => (up.$case === "loginAccepted" ? up.value : undefined), signal);
    },
    volumes(nodeId, signal) {
      const what: What = { $case: "volumes", value: {} };
      return answer(nodeId, what, (up) => (up.$case === "volumes" ? up.value.volumes : undefined), signal);
    },
    async deleteVolume(nodeId, name, signal) {
      // It has no answer but its end, or its failure.
      for await (const _ of relays().call(nodeId, { $case: "deleteVolume", value: { name } }, signal));
    },
    images: (nodeId, signal) => answer(nodeId, { $case: "images", value: {} }, images, signal),
    pruneImages: (nodeId, signal) => answer(nodeId, { $case: "pruneImages", value: {} }, images, signal),
  };
}

/** Ended with its source, and its source with it. */
async function* mapped<A, B>(source: AsyncIterable<A>, map: (value: A) => B): AsyncGenerator<B, void, void> {
  for await (const value of source) yield map(value);
}
