import { ApiError, apiFailureOf, errorOfApiFailure, type ExecRequest, type Relay } from "@warren/api";
import type { RelayedNode } from "@warren/api/testing";
import { abortable, Channel } from "@warren/std";

type Call<Method extends keyof Relay> = Parameters<Relay[Method]>;

/** Nodes in memory: what each answers relays with, by its id. One that answers nothing has no session. */
export class FakeRelay implements Relay {
  readonly lines = new Map<string, RelayedNode["logs"]>();
  readonly execs = new Map<string, RelayedNode["exec"]>();
  readonly figures = new Map<string, RelayedNode["stats"]>();
  readonly images = new Map<string, RelayedNode["image"]>();
  /** Requests for logs, in order. */
  readonly asked: { readonly nodeId: string; readonly request: Call<"logs">[1] }[] = [];
  readonly #sessions = new Map<string, AbortController>();

  disconnect(nodeId: string): void {
    for (const answers of [this.lines, this.execs, this.figures, this.images]) answers.delete(nodeId);
    this.#sessions.get(nodeId)?.abort();
    this.#sessions.delete(nodeId);
  }

  logs(...[nodeId, request, signal]: Call<"logs">): ReturnType<Relay["logs"]> {
    this.asked.push({ nodeId, request });
    return this.#stream(nodeId, signal, (over) => answerOf(this.lines, nodeId)(request, over));
  }

  exec(...[nodeId, open, input, signal]: Call<"exec">): ReturnType<Relay["exec"]> {
    return this.#stream(nodeId, signal, (over, fail) =>
      answerOf(this.execs, nodeId)(open, openEnded(input, over, fail), over),
    );
  }

  stats(...[nodeId, request, signal]: Call<"stats">): ReturnType<Relay["stats"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.figures, nodeId)(request, over));
  }

  image(...[nodeId, request, signal]: Call<"image">): ReturnType<Relay["image"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.images, nodeId)(request, over));
  }

  async #one<T>(nodeId: string, signal: AbortSignal, ask: (over: AbortSignal) => Promise<T>): Promise<T> {
    const answers = this.#stream(nodeId, signal, async function* (over) {
      yield await ask(over);
    });
    for await (const answer of answers) return answer;
    throw unavailable(nodeId);
  }

  async *#stream<T>(
    nodeId: string,
    signal: AbortSignal,
    ask: (over: AbortSignal, fail: (error: Error) => void) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, void> {
    signal.throwIfAborted();
    const session = this.#sessions.get(nodeId) ?? new AbortController();
    this.#sessions.set(nodeId, session);
    const over = new AbortController();
    const gone = (): void => over.abort(callerGone());
    const lost = (): void => over.abort(unavailable(nodeId));
    signal.addEventListener("abort", gone, { once: true });
    session.signal.addEventListener("abort", lost, { once: true });
    try {
      const answers = ask(over.signal, (error) => over.abort(error))[Symbol.asyncIterator]();
      for (;;) {
        const next = await abortable(answers.next(), over.signal);
        if (next.done === true) return;
        yield next.value;
      }
    } catch (error) {
      // As a node sends it: codes and fields, no classes.
      throw over.signal.aborted ? over.signal.reason : errorOfApiFailure(apiFailureOf(error));
    } finally {
      signal.removeEventListener("abort", gone);
      session.signal.removeEventListener("abort", lost);
      over.abort(callerGone());
    }
  }
}

/** What the caller sends, up to the end of the call: that the caller sends no more is not the end of it. */
function openEnded(
  input: AsyncIterable<ExecRequest>,
  over: AbortSignal,
  fail: (error: Error) => void,
): AsyncIterable<ExecRequest> {
  const channel = new Channel<ExecRequest>();
  over.addEventListener("abort", () => channel.close(), { once: true });
  const pass = async (): Promise<void> => {
    for await (const message of input) await channel.send(message, over);
  };
  pass().catch((error: unknown) => fail(ApiError.is(error) ? error : callerGone()));
  return channel;
}

function answerOf<T>(answers: ReadonlyMap<string, T>, nodeId: string): T {
  const answer = answers.get(nodeId);
  if (answer === undefined) throw unavailable(nodeId);
  return answer;
}

function unavailable(nodeId: string): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, `node ${nodeId} has no session`);
}

function callerGone(): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, "the caller has gone");
}
