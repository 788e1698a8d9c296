import { ApiError, apiFailureOf, errorOfApiFailure, NodeImage, Volume, type Relay } from "@warren/api";
import type { RelayedNode } from "@warren/api/testing";
import { abortable, Channel } from "@warren/std";

type Call<Method extends keyof Relay> = Parameters<Relay[Method]>;

/** What a node answers of its volumes and images. */
export type StoredThings = Pick<RelayedNode, "volumes" | "deleteVolume" | "images" | "pruneImages">;

/** Volumes and images of a node, in memory; `unused` images go with a pruning. */
export function storedThings(
  nodeId: string,
  held: { readonly volumes?: Set<string>; readonly images?: Set<string>; readonly unused?: ReadonlySet<string> },
): StoredThings {
  const { volumes = new Set(), images = new Set(), unused = new Set() } = held;
  const imagesOf = (refs: Iterable<string>): NodeImage[] =>
    [...refs].map((ref) => NodeImage.fromPartial({ ref, nodeId }));
  return {
    volumes: async () => [...volumes].map((name) => Volume.fromPartial({ name, nodeId })),
    deleteVolume: async (name) => void volumes.delete(name),
    images: async () => imagesOf(images),
    async pruneImages() {
      const removed = [...images].filter((ref) => unused.has(ref));
      for (const ref of removed) images.delete(ref);
      return imagesOf(removed);
    },
  };
}

/** Nodes in memory: what each answers relays with, by its id. One that answers nothing has no session. */
export class FakeRelay implements Relay {
  readonly lines = new Map<string, RelayedNode["logs"]>();
  readonly execs = new Map<string, RelayedNode["exec"]>();
  readonly figures = new Map<string, RelayedNode["stats"]>();
  readonly resolutions = new Map<string, RelayedNode["image"]>();
  readonly connections = new Map<string, RelayedNode["portForward"]>();
  readonly logins = new Map<string, RelayedNode["login"]>();
  readonly stores = new Map<string, StoredThings>();
  /** Requests for logs, in order. */
  readonly asked: { readonly nodeId: string; readonly request: Call<"logs">[1] }[] = [];
  readonly #sessions = new Map<string, AbortController>();

  disconnect(nodeId: string): void {
    const { lines, execs, figures, resolutions, connections, logins, stores } = this;
    for (const answers of [lines, execs, figures, resolutions, connections, logins, stores]) answers.delete(nodeId);
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
    return this.#one(nodeId, signal, (over) => answerOf(this.resolutions, nodeId)(request, over));
  }

  portForward(...[nodeId, open, input, signal]: Call<"portForward">): ReturnType<Relay["portForward"]> {
    return this.#stream(nodeId, signal, (over, fail) =>
      answerOf(this.connections, nodeId)(open, openEnded(input, over, fail), over),
    );
  }

  login(...[nodeId, request, signal]: Call<"login">): ReturnType<Relay["login"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.logins, nodeId)(request, over));
  }

  volumes(...[nodeId, signal]: Call<"volumes">): ReturnType<Relay["volumes"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.stores, nodeId).volumes(over));
  }

  deleteVolume(...[nodeId, name, signal]: Call<"deleteVolume">): ReturnType<Relay["deleteVolume"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.stores, nodeId).deleteVolume(name, over));
  }

  images(...[nodeId, signal]: Call<"images">): ReturnType<Relay["images"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.stores, nodeId).images(over));
  }

  pruneImages(...[nodeId, signal]: Call<"pruneImages">): ReturnType<Relay["pruneImages"]> {
    return this.#one(nodeId, signal, (over) => answerOf(this.stores, nodeId).pruneImages(over));
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
function openEnded<T>(input: AsyncIterable<T>, over: AbortSignal, fail: (error: Error) => void): AsyncIterable<T> {
  const channel = new Channel<T>();
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
