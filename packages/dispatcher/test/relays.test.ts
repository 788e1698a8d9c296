import {
  ApiError,
  ExecOpen,
  PortForwardOpen,
  NodeImage,
  RelayFailure,
  RelayImage,
  RelayLogs,
  RelayStats,
  Volume,
  type ExecRequest,
  type LogLines,
  type PortForwardRequest,
  type RelayDown,
  type RelayRequest,
  type RelayUp,
} from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { collect, context, harness, nodeId, Reading, type Harness, type Worker } from "./harness.ts";

const a = nodeId("a");
type Message = NonNullable<RelayUp["message"]>;

function logs(...texts: string[]): Message {
  const lines = texts.map((text) => ({
    at: new Date(0),
    stderr: false,
    line: Buffer.from(text),
    taskId: "t1",
    serviceName: "web",
    slot: numberedSlot(1),
    nodeId: a,
  }));
  return { $case: "logs", value: { lines } };
}
const texts = (lines: readonly LogLines[]): string[] =>
  lines.flatMap((each) => each.lines.map(({ line }) => Buffer.from(line).toString()));

/** The node's stream of a relay. */
class NodeSide {
  readonly down: Reading<RelayDown>;
  /** Messages that were read. */
  asked = 0;
  readonly #waiting: Message[] = [];
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  #end: "open" | "ended" | "cut" | "gone" = "open";

  constructor(h: Harness, { id, sessionId }: Pick<Worker, "id" | "sessionId">, relayId: string) {
    const open: Message = { $case: "open", value: { nodeId: id, sessionId, relayId } };
    this.down = new Reading((signal) => h.dispatcher.handlers.relay(this.#up(open, signal), context(signal, id)));
  }

  send(...messages: Message[]): void {
    this.#waiting.push(...messages);
    this.#wake.resolve();
  }

  end(how: "ended" | "cut" | "gone"): void {
    this.#end = how;
    this.#wake.resolve();
  }

  async *#up(open: Message, signal: AbortSignal): AsyncGenerator<RelayUp> {
    yield { message: open };
    for (;;) {
      this.asked += 1;
      while (this.#waiting.length === 0) {
        if (this.#end === "ended") {
          yield { message: { $case: "done", value: true } };
          return;
        }
        if (this.#end === "cut") return;
        if (this.#end === "gone" || signal.aborted)
          throw new ApiError({ code: "API_CANCELLED" }, "the caller has gone");
        this.#wake = Promise.withResolvers();
        await this.#wake.promise;
      }
      yield { message: this.#waiting.shift() };
    }
  }
}

async function asked(worker: Worker, count = 1): Promise<RelayRequest> {
  return until(`request ${count} came`, () =>
    worker.session.values.flatMap(({ relay }) => (relay === undefined ? [] : [relay])).at(count - 1),
  );
}

async function opened(call: (h: Harness, signal: AbortSignal) => AsyncIterable<LogLines>): Promise<{
  readonly h: Harness;
  readonly worker: Worker;
  readonly caller: Reading<LogLines>;
  readonly node: NodeSide;
}> {
  const h = await harness();
  const worker = await h.worker("a");
  const caller = new Reading((signal) => call(h, signal));
  const { relayId } = await asked(worker);
  return { h, worker, caller, node: new NodeSide(h, worker, relayId) };
}

const follow = (h: Harness, signal: AbortSignal): AsyncIterable<LogLines> =>
  h.dispatcher.relay.logs(a, RelayLogs.create({ taskIds: ["t1"], follow: true }), signal);

describe("logs", () => {
  test("go from the node to the caller, until the node is done", async () => {
    const { h, worker, caller, node } = await opened(follow);
    await using _ = h;
    expect(worker.session.values.at(-1)?.relay?.what).toMatchObject({
      $case: "logs",
      value: { taskIds: ["t1"], follow: true },
    });
    node.send(logs("one"), logs("two", "three"));
    await caller.next(2);
    node.end("ended");
    expect(await caller.ended).toBe("ended");
    expect(texts(caller.values)).toEqual(["one", "two", "three"]);
    expect(await node.down.ended).toBe("ended");
    expect(node.down.values).toEqual([{ message: { $case: "end", value: true } }]);
    expect(h.metrics.values.get("warren_dispatcher_relays")).toBe(0);
  });

  test("are read from the node only as fast as the caller reads", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const caller = follow(h, new AbortController().signal)[Symbol.asyncIterator]();
    const first = caller.next();
    const node = new NodeSide(h, worker, (await asked(worker)).relayId);
    node.send(...Array.from({ length: 50 }, (_, n) => logs(String(n))));
    await first;
    await h.clock.advanceAsync(1_000);
    expect(node.asked).toBe(1);
    await caller.next();
    await h.clock.advanceAsync(1_000);
    expect(node.asked).toBe(2);
    await caller.return?.();
    await node.down.ended;
  });

  test("end at the node when the caller disconnects", async () => {
    const { h, caller, node } = await opened(follow);
    await using _ = h;
    node.send(logs("one"));
    await caller.next(1);
    caller.leave();
    expect(await node.down.ended).toBe("ended");
    expect(node.down.values.at(-1)).toEqual({ message: { $case: "end", value: true } });
    expect(ApiError.is(await caller.ended, "API_CANCELLED")).toBe(true);
  });

  test("end at the node when the caller stops reading", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const reading = (async () => {
      for await (const lines of follow(h, new AbortController().signal)) return texts([lines]);
      return [];
    })();
    const node = new NodeSide(h, worker, (await asked(worker)).relayId);
    node.send(logs("one"), logs("two"));
    expect(await reading).toEqual(["one"]);
    expect(await node.down.ended).toBe("ended");
  });

  test.each(["stream", "half", "session", "lead"] as const)(
    "end at the caller when the node's %s ends",
    async (what) => {
      const { h, worker, caller, node } = await opened(follow);
      await using _ = h;
      node.send(logs("one"));
      await caller.next(1);
      if (what === "stream") {
        node.down.leave();
        node.end("gone");
      } else if (what === "half") node.end("cut");
      else if (what === "session") worker.session.leave();
      else await h[Symbol.asyncDispose]();
      expect(ApiError.is(await caller.ended, "API_UNAVAILABLE")).toBe(true);
      await node.down.ended;
      expect(h.metrics.values.get("warren_dispatcher_relays")).toBe(0);
    },
  );

  test("that the node refuses are refused with its error", async () => {
    const { h, caller, node } = await opened(follow);
    await using _ = h;
    const message = "task t1 is not on this node";
    const fields = { kind: "task", ref: "t1" };
    const value = {
      code: "API_NOT_FOUND",
      message,
      remedy: "see: warren task list",
      reason: "RUNTIME_NOT_FOUND",
      fields,
    };
    node.send({ $case: "failure", value });
    const refused = await caller.ended;
    expect(ApiError.is(refused, "API_NOT_FOUND")).toBe(true);
    expect(refused).toMatchObject({
      message: `node ${a}: ${message}`,
      remedy: "see: warren task list",
      reason: "RUNTIME_NOT_FOUND",
      failure: { kind: "task", ref: "t1" },
    });
  });

  test("that the node refuses with an unknown code are API_INTERNAL, with that code as reason", async () => {
    const { h, caller, node } = await opened(follow);
    await using _ = h;
    node.send({
      $case: "failure",
      value: { code: "API_OF_TOMORROW", message: "no", remedy: "", reason: "", fields: {} },
    });
    const refused = await caller.ended;
    expect(ApiError.is(refused, "API_INTERNAL")).toBe(true);
    expect(refused).toMatchObject({ reason: "API_OF_TOMORROW" });
  });

  test("of a node that does not open its stream in time fail", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const caller = new Reading((signal) => follow(h, signal));
    const { relayId } = await asked(worker);
    await h.clock.advanceAsync(10_000);
    expect(ApiError.is(await caller.ended, "API_UNAVAILABLE")).toBe(true);
    const late = new NodeSide(h, worker, relayId);
    expect(ApiError.is(await late.down.ended, "API_NOT_FOUND")).toBe(true);
  });

  test("of a node without a session, or by a manager that does not lead, fail at once", async () => {
    await using h = await harness();
    await h.worker("b");
    const failed = async (): Promise<unknown> => new Reading((signal) => follow(h, signal)).ended;
    expect(ApiError.is(await failed(), "API_UNAVAILABLE")).toBe(true);
    await h[Symbol.asyncDispose]();
    expect(ApiError.is(await failed(), "API_UNAVAILABLE")).toBe(true);
  });

  test("beyond the limit of a node are refused", async () => {
    await using h = await harness({ maxRelaysPerNode: 1 });
    const worker = await h.worker("a");
    const first = new Reading((signal) => follow(h, signal));
    await asked(worker);
    expect(ApiError.is(await new Reading((signal) => follow(h, signal)).ended, "API_EXHAUSTED")).toBe(true);
    first.leave();
    await first.ended;
    const third = new Reading((signal) => follow(h, signal));
    await asked(worker, 2);
    third.leave();
    await third.ended;
  });
});

describe("a node's stream", () => {
  test("is refused for every node but the called one", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const other = await h.worker("b");
    const caller = new Reading((signal) => follow(h, signal));
    const { relayId } = await asked(worker);
    expect(ApiError.is(await new NodeSide(h, other, relayId).down.ended, "API_NOT_FOUND")).toBe(true);
    const node = new NodeSide(h, worker, relayId);
    node.send(logs("one"));
    expect(texts([await caller.next(1)])).toEqual(["one"]);
    caller.leave();
    await node.down.ended;
  });

  test("can't be opened by another node, twice, or without a relay id", async () => {
    const { h, worker, caller, node } = await opened(follow);
    await using _ = h;
    const { relayId } = await asked(worker);
    const other = await h.worker("b");
    expect(ApiError.is(await new NodeSide(h, other, relayId).down.ended, "API_NOT_FOUND")).toBe(true);
    node.send(logs("one"));
    await caller.next(1);
    expect(ApiError.is(await new NodeSide(h, worker, relayId).down.ended, "API_NOT_FOUND")).toBe(true);
    const stale = new NodeSide(h, { id: a, sessionId: "old" }, relayId);
    expect(ApiError.is(await stale.down.ended, "API_NOT_FOUND")).toBe(true);
    const call = context(new AbortController().signal, a);
    for (const up of [[], [{ message: logs("early") }]]) {
      const source = (async function* (): AsyncGenerator<RelayUp> {
        yield* up;
      })();
      const refused = await collect(h.dispatcher.handlers.relay(source, call)).catch((error: unknown) => error);
      expect(ApiError.is(refused, "API_INVALID")).toBe(true);
    }
    node.send(logs("two"));
    expect(texts([await caller.next(2)])).toEqual(["two"]);
    caller.leave();
    await node.down.ended;
  });
});

describe("exec", () => {
  const open = ExecOpen.create({ ref: "t1", command: ["sh"] });
  const typed = (text: string): ExecRequest => ({ message: { $case: "stdin", value: Buffer.from(text) } });

  test("carries both directions at once, and the caller's messages reach the node before the end", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const input = (async function* (): AsyncGenerator<ExecRequest> {
      yield typed("ls\n");
      yield { message: { $case: "stdinEnd", value: true } };
    })();
    const caller = new Reading((signal) => h.dispatcher.relay.exec(a, open, input, signal));
    const request = await asked(worker);
    expect(request.what).toMatchObject({ $case: "exec", value: { ref: "t1", command: ["sh"] } });
    const node = new NodeSide(h, worker, request.relayId);
    await node.down.next(2);
    node.send(
      { $case: "exec", value: { message: { $case: "started", value: true } } },
      { $case: "exec", value: { message: { $case: "stdout", value: Buffer.from("file\n") } } },
      { $case: "exec", value: { message: { $case: "exitCode", value: 3 } } },
    );
    node.end("ended");
    expect(await caller.ended).toBe("ended");
    expect(caller.values.map(({ message }) => message?.$case)).toEqual(["started", "stdout", "exitCode"]);
    await node.down.ended;
    expect(
      node.down.values.map(({ message }) => (message?.$case === "exec" ? message.value.message?.$case : "end")),
    ).toEqual(["stdin", "stdinEnd", "end"]);
  });

  test("ends on both sides when the caller's stream breaks", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const broken = Promise.withResolvers<never>();
    const input = (async function* (): AsyncGenerator<ExecRequest> {
      yield typed("x");
      await broken.promise;
    })();
    const caller = new Reading((signal) => h.dispatcher.relay.exec(a, open, input, signal));
    const node = new NodeSide(h, worker, (await asked(worker)).relayId);
    await node.down.next(1);
    broken.reject(new ApiError({ code: "API_CANCELLED" }, "the caller has gone"));
    expect(ApiError.is(await caller.ended, "API_CANCELLED")).toBe(true);
    expect(await node.down.ended).toBe("ended");
    expect(node.down.values.at(-1)?.message?.$case).toBe("end");
  });
});

describe("measurements", () => {
  test("come in one response", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const answer = h.dispatcher.relay.stats(a, RelayStats.create({ taskIds: ["t1"] }), new AbortController().signal);
    const node = new NodeSide(h, worker, (await asked(worker)).relayId);
    node.send({ $case: "stats", value: { stats: [], unreachableNodes: ["x"] } });
    expect(await answer).toEqual({ stats: [], unreachableNodes: ["x"] });
    expect(await node.down.ended).toBe("ended");
  });

  test("of a node that ends without one are unavailable", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const answer = h.dispatcher.relay
      .stats(a, RelayStats.create({}), new AbortController().signal)
      .catch((error: unknown) => error);
    new NodeSide(h, worker, (await asked(worker)).relayId).end("ended");
    expect(ApiError.is(await answer, "API_UNAVAILABLE")).toBe(true);
  });
});

describe("an image", () => {
  const request = RelayImage.create({ image: "nginx:1.27", auth: { username: "u", password: "p" } });

  test("is resolved by the node, with its own registries and the login that it is given", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const answer = h.dispatcher.relay.image(a, request, new AbortController().signal);
    const { relayId, what } = await asked(worker);
    expect(what).toMatchObject({ $case: "image", value: { image: "nginx:1.27", auth: { username: "u" } } });
    const node = new NodeSide(h, worker, relayId);
    node.send({ $case: "image", value: { digest: "sha256:1", localReason: "" } });
    expect(await answer).toMatchObject({ digest: "sha256:1", localReason: "" });
    expect(await node.down.ended).toBe("ended");
  });

  test("of a node that ends without a digest is unavailable", async () => {
    await using h = await harness();
    const worker = await h.worker("a");
    const answer = h.dispatcher.relay.image(a, request, new AbortController().signal).catch((error: unknown) => error);
    new NodeSide(h, worker, (await asked(worker)).relayId).end("ended");
    expect(ApiError.is(await answer, "API_UNAVAILABLE")).toBe(true);
  });
});

test("volumes and images are asked of the node, a deletion has no answer but its end", async () => {
  await using h = await harness();
  const worker = await h.worker("a");
  const { relay } = h.dispatcher;
  const { signal } = new AbortController();
  let count = 0;
  const node = async (what: string): Promise<NodeSide> => {
    const request = await asked(worker, (count += 1));
    expect(request.what?.$case).toBe(what);
    return new NodeSide(h, worker, request.relayId);
  };
  const volumes = relay.volumes(a, signal);
  const listing = await node("volumes");
  listing.send({ $case: "volumes", value: { volumes: [Volume.fromPartial({ name: "db" })], unreachableNodes: [] } });
  expect(await volumes).toMatchObject([{ name: "db" }]);
  const deletion = relay.deleteVolume(a, "db", signal);
  (await node("deleteVolume")).end("ended");
  await deletion;
  const refused = relay.deleteVolume(a, "db", signal).catch((error: unknown) => error);
  const failing = await node("deleteVolume");
  failing.send({ $case: "failure", value: RelayFailure.fromPartial({ code: "API_PRECONDITION", message: "in use" }) });
  expect(ApiError.is(await refused, "API_PRECONDITION")).toBe(true);
  const images = relay.pruneImages(a, signal);
  const pruning = await node("pruneImages");
  pruning.send({ $case: "images", value: { images: [NodeImage.fromPartial({ ref: "r" })], unreachableNodes: [] } });
  expect(await images).toMatchObject([{ ref: "r" }]);
});

test("a forwarded port carries what both sides send, and ends with the node's side", async () => {
  await using h = await harness();
  const worker = await h.worker("a");
  const data = (text: string) => ({ message: { $case: "data" as const, value: Buffer.from(text) } });
  const input = (async function* (): AsyncGenerator<PortForwardRequest> {
    yield data("ping");
    yield { message: { $case: "dataEnd", value: true } };
  })();
  const open = PortForwardOpen.create({ ref: "t1", port: 80 });
  const caller = new Reading((signal) => h.dispatcher.relay.portForward(a, open, input, signal));
  const { relayId, what } = await asked(worker);
  expect(what).toMatchObject({ $case: "portForward", value: { ref: "t1", port: 80 } });
  const node = new NodeSide(h, worker, relayId);
  await until("the node has it", () => node.down.values.length === 2);
  expect(node.down.values.map(({ message }) => message?.$case)).toEqual(["portForward", "portForward"]);
  node.send({ $case: "portForward", value: data("pong") });
  node.end("ended");
  expect(await caller.ended).toBe("ended");
  expect(caller.values).toEqual([data("pong")]);
});
