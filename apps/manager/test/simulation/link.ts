/** The way from a worker to the managers: messages take time, are copied as on a wire, and the way can be cut. */
import {
  AssignmentsMessage,
  AssignmentsRequest,
  HeartbeatRequest,
  HeartbeatResponse,
  RelayDown,
  RelayUp,
  ReportRequest,
  ReportResponse,
  SessionMessage,
  SessionRequest,
} from "@warren/api";
import type { Session } from "@warren/agent";
import type { CallContext } from "@warren/api/server";
import type { Dispatcher } from "@warren/dispatcher";
import { abortable, delay, type Clock, type Random } from "@warren/std";

interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** From one cut to the next. */
interface Wire {
  /** Aborted when it is cut: nothing passes any more. */
  readonly cut: AbortController;
  /** Aborted when both sides know: calls fail. */
  readonly noticed: AbortController;
}

const mostLatencyMs = 20;

export class Link {
  readonly #clock: Clock;
  readonly #random: Random;
  /** The manager that a new call reaches; undefined where none can be. */
  readonly #route: () => Dispatcher | undefined;
  /** The last point whose assignments the worker applied, and when. */
  lastApplied: { readonly version: number; readonly at: number } | undefined;
  #wire: Wire | undefined = wire();
  /** The one that was cut. */
  #before: Wire | undefined;
  /** Called when the worker has taken in a complete answer. */
  readonly #onAnswered: () => void;
  /** Cut without a word: what is asked is not answered, and the managers are not told. */
  #silent = false;

  constructor(clock: Clock, random: Random, route: () => Dispatcher | undefined, onAnswered: () => void) {
    this.#onAnswered = onAnswered;
    this.#clock = clock;
    this.#random = random;
    this.#route = route;
  }

  get isUp(): boolean {
    return this.#wire !== undefined;
  }

  /** @param silent neither side is told */
  cut(silent: boolean): void {
    this.#before = this.#wire ?? this.#before;
    this.#wire = undefined;
    this.#silent = silent;
    this.#before?.cut.abort();
    if (!silent) this.#before?.noticed.abort(unreachable());
  }

  /** What was open before breaks, if it has not yet. */
  join(): void {
    this.#before?.noticed.abort(unreachable());
    this.#before = undefined;
    this.#wire ??= wire();
  }

  /** What is open breaks, and can be opened again. */
  reset(): void {
    if (this.#wire === undefined) return;
    this.cut(false);
    this.join();
  }

  /** For the worker of a node, whose id it names itself. */
  session(): Session {
    return {
      open: (request, signal) =>
        this.#stream(SessionRequest, SessionMessage, request, signal, (to) => to.handlers.session),
      assignments: (request, signal) => this.#assignments(request, signal),
      heartbeat: (request, signal) =>
        this.#call(HeartbeatRequest, HeartbeatResponse, request, signal, (to) => to.handlers.heartbeat),
      report: (request, signal) =>
        this.#call(ReportRequest, ReportResponse, request, signal, (to) => to.handlers.report),
      relay: (up, signal) => this.#relay(up, signal),
    };
  }

  async *#assignments(
    request: AssignmentsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<AssignmentsMessage, void, void> {
    const handlerOf = (to: Dispatcher): Dispatcher["handlers"]["assignments"] => to.handlers.assignments;
    for await (const message of this.#stream(AssignmentsRequest, AssignmentsMessage, request, signal, handlerOf)) {
      yield message;
      this.lastApplied = { version: message.point?.version ?? 0, at: this.#clock.monotonic() };
      if (message.appliesTo === "") this.#onAnswered();
    }
  }

  async #call<Q extends { nodeId: string }, A>(
    asks: Codec<Q>,
    answers: Codec<A>,
    request: Q,
    signal: AbortSignal,
    handlerOf: (dispatcher: Dispatcher) => (request: Q, context: CallContext) => A | Promise<A>,
  ): Promise<A> {
    const { over, dispatcher, context } = await this.#reach(request.nodeId, signal);
    const copy = asks.decode(asks.encode(request).finish());
    const answer = await this.#orCut(over, signal, Promise.resolve(handlerOf(dispatcher)(copy, context)));
    await this.#orCut(over, signal, this.#pass(signal));
    return answers.decode(answers.encode(answer).finish());
  }

  async *#stream<Q extends { nodeId: string }, A>(
    asks: Codec<Q>,
    answers: Codec<A>,
    request: Q,
    signal: AbortSignal,
    handlerOf: (dispatcher: Dispatcher) => (request: Q, context: CallContext) => AsyncIterable<A>,
  ): AsyncGenerator<A, void, void> {
    const { over, dispatcher, context } = await this.#reach(request.nodeId, signal);
    const messages = handlerOf(dispatcher)(asks.decode(asks.encode(request).finish()), context)[Symbol.asyncIterator]();
    for (;;) {
      const next = await this.#orCut(over, signal, messages.next());
      if (next.done === true) return;
      const bytes = answers.encode(next.value).finish();
      await this.#orCut(over, signal, this.#pass(signal));
      yield answers.decode(bytes);
    }
  }

  async *#relay(up: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncGenerator<RelayDown, void, void> {
    const requests = up[Symbol.asyncIterator]();
    const first = await requests.next();
    if (first.done === true) return;
    const nodeId = first.value.message?.$case === "open" ? first.value.message.value.nodeId : "";
    const { over, dispatcher, context } = await this.#reach(nodeId, signal);
    async function* all(): AsyncGenerator<RelayUp> {
      yield first.value as RelayUp;
      for (let next = await requests.next(); next.done !== true; next = await requests.next()) yield next.value;
    }
    const answers = dispatcher.handlers.relay(all(), context)[Symbol.asyncIterator]();
    for (;;) {
      const next = await this.#orCut(over, signal, answers.next());
      if (next.done === true) return;
      yield RelayDown.decode(RelayDown.encode(next.value).finish());
    }
  }

  async #reach(
    nodeId: string,
    signal: AbortSignal,
  ): Promise<{ readonly over: Wire; readonly dispatcher: Dispatcher; readonly context: CallContext }> {
    await this.#pass(signal);
    const over = this.#wire;
    if (over === undefined) {
      if (this.#silent) await abortable(new Promise(() => undefined), signal);
      throw unreachable();
    }
    const dispatcher = this.#route();
    if (dispatcher === undefined) throw unreachable();
    // The caller's leaving reaches the managers only over a wire that is there.
    const gone = new AbortController();
    signal.addEventListener("abort", () => over.cut.signal.aborted || gone.abort(signal.reason), { once: true });
    over.noticed.signal.addEventListener("abort", () => gone.abort(unreachable()), { once: true });
    const identity = { name: nodeId, nodeId, roles: ["worker" as const] };
    return { over, dispatcher, context: { signal: gone.signal, identity, path: "/" } };
  }

  /** As `promise`, while the wire is there. After it was cut nothing comes before that is noticed. */
  #orCut<T>({ cut, noticed }: Wire, signal: AbortSignal, promise: Promise<T>): Promise<T> {
    const isCut = (): boolean => cut.signal.aborted;
    const passed = new Promise<T>((resolve, reject) => {
      promise.then(
        (value) => isCut() || resolve(value),
        (error: unknown) => isCut() || reject(error as Error),
      );
    });
    return abortable(passed, AbortSignal.any([signal, noticed.signal]));
  }

  #pass(signal: AbortSignal): Promise<void> {
    return delay(this.#clock, this.#random.int(mostLatencyMs), signal);
  }
}

function wire(): Wire {
  return { cut: new AbortController(), noticed: new AbortController() };
}

function unreachable(): Error {
  return new Error("no manager can be reached");
}
