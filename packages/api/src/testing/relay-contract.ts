/** What every `Relay` must do. */
import { assert } from "@warren/std";
import { until, type ContractCase } from "@warren/std/testing";
import { ApiError, type ApiCode } from "../errors.ts";
import { RegistryLogin, RelayImage, RelayLogs, RelayStats } from "../generated/warren/v1/dispatcher.ts";
import { NodeImage } from "../generated/warren/v1/image.ts";
import {
  ExecOpen,
  ExecRequest,
  LogLines,
  PortForwardOpen,
  StatsResponse,
  type ExecResponse,
  type PortForwardResponse,
} from "../generated/warren/v1/task.ts";
import { Volume } from "../generated/warren/v1/volume.ts";
import type { Relay } from "../relay.ts";

/** What a node answers a relay with. `signal` is aborted when its work is not wanted any more. */
export type RelayedNode = {
  readonly [Method in keyof Relay]: Relay[Method] extends (nodeId: string, ...args: infer Args) => infer Answer
    ? (...args: Args) => Answer
    : never;
};

export interface RelayUnderTest {
  readonly relay: Relay;
  /** Opens the session of a node, which answers so. */
  readonly connect: (node: Partial<RelayedNode>) => Promise<{
    readonly nodeId: string;
    /** Ends the session. */
    readonly disconnect: () => void;
  }>;
}

const wanted = RelayLogs.create({ taskIds: ["t1", "t2"], follow: true });
const lines = (text: string): LogLines => LogLines.fromPartial({ lines: [{ line: Buffer.from(text), taskId: "t1" }] });
const textOf = ({ lines: [line] }: LogLines): string => Buffer.from(line?.line ?? "").toString();
const typed = (text: string): ExecRequest => ({ message: { $case: "stdin", value: Buffer.from(text) } });
const printed = (text: string): ExecResponse => ({ message: { $case: "stdout", value: Buffer.from(text) } });
const received = (text: string): PortForwardResponse => ({ message: { $case: "data", value: Buffer.from(text) } });
const portOpen = PortForwardOpen.create({ ref: "t1", port: 80 });
const open = ExecOpen.create({ ref: "t1", command: ["sh"] });
const never = new AbortController().signal;
const hangs = (): Promise<never> => new Promise(() => undefined);
/** A caller who has nothing to say, and does not go. */
const silence: AsyncIterable<never> = { [Symbol.asyncIterator]: () => ({ next: hangs }) };

async function failsWith(code: ApiCode, what: string, work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert(ApiError.is(error, code), `${what} fails with ${code}, not ${String(error)}`);
  return error;
}

/** A node that sends a first answer to each call and then none; and the signals of those calls. */
function waiting(): { readonly node: RelayedNode; readonly signals: AbortSignal[] } {
  const signals: AbortSignal[] = [];
  const begun = (signal: AbortSignal): Promise<never> => {
    signals.push(signal);
    return hangs();
  };
  return {
    signals,
    node: {
      async *logs(_request, signal) {
        yield lines("first");
        await begun(signal);
      },
      async *exec(_open, _input, signal) {
        yield printed("first");
        await begun(signal);
      },
      async *portForward(_open, _input, signal) {
        yield received("first");
        await begun(signal);
      },
      stats: (_request, signal) => begun(signal),
      image: (_request, signal) => begun(signal),
      login: (_request, signal) => begun(signal),
      volumes: begun,
      deleteVolume: (_name, signal) => begun(signal),
      images: begun,
      pruneImages: begun,
    },
  };
}

/** Each of the calls, read to its end. */
function calls(relay: Relay, nodeId: string, signal: AbortSignal): readonly (readonly [string, Promise<unknown>])[] {
  return [
    ["logs", Array.fromAsync(relay.logs(nodeId, wanted, signal))],
    ["exec", Array.fromAsync(relay.exec(nodeId, open, silence, signal))],
    ["portForward", Array.fromAsync(relay.portForward(nodeId, portOpen, silence, signal))],
    ["stats", relay.stats(nodeId, RelayStats.create({ taskIds: ["t1"] }), signal)],
    ["image", relay.image(nodeId, RelayImage.create({ image: "nginx" }), signal)],
    ["login", relay.login(nodeId, RegistryLogin.create({ registry: "r.example" }), signal)],
    ["volumes", relay.volumes(nodeId, signal)],
    ["deleteVolume", relay.deleteVolume(nodeId, "data", signal)],
    ["images", relay.images(nodeId, signal)],
    ["pruneImages", relay.pruneImages(nodeId, signal)],
  ];
}

export const relayContract: readonly ContractCase<RelayUnderTest>[] = [
  {
    title: "carries what is asked to the node that was named, and its answers back in order, to their end",
    async run({ relay, connect }) {
      const asked: unknown[] = [];
      const held = ["data", "more"];
      const { nodeId } = await connect({
        async *logs(request) {
          asked.push(request.taskIds, request.follow);
          for (const text of ["one", "two", "three"]) yield lines(text);
        },
        async stats({ taskIds }) {
          return StatsResponse.fromPartial({ stats: taskIds.map((taskId) => ({ taskId })) });
        },
        async image({ image }) {
          return { digest: `sha256:of ${image}`, localReason: "" };
        },
        login: async ({ registry }) => registry === "open.example",
        volumes: async () => held.map((name) => Volume.fromPartial({ name })),
        async deleteVolume(name) {
          held.splice(held.indexOf(name), 1);
        },
        images: async () => [NodeImage.fromPartial({ ref: "one" }), NodeImage.fromPartial({ ref: "two" })],
        pruneImages: async () => [NodeImage.fromPartial({ ref: "two" })],
      });
      const other = await connect({
        async *logs() {
          yield lines("another node's");
        },
      });
      const texts = (await Array.fromAsync(relay.logs(nodeId, wanted, never))).map(textOf);
      assert(texts.join() === "one,two,three", `the lines are ${texts.join()}`);
      assert(JSON.stringify(asked) === '[["t1","t2"],true]', `what was asked is ${JSON.stringify(asked)}`);
      const [only, ...more] = await Array.fromAsync(relay.logs(other.nodeId, wanted, never));
      assert(
        only !== undefined && more.length === 0 && textOf(only) === "another node's",
        "each node answers for itself",
      );
      const { stats } = await relay.stats(nodeId, RelayStats.create({ taskIds: ["t7"] }), never);
      assert(stats.map(({ taskId }) => taskId).join() === "t7", "measurements are one answer");
      const { digest } = await relay.image(nodeId, RelayImage.create({ image: "nginx:1" }), never);
      assert(digest === "sha256:of nginx:1", "so is an image's digest");
      for (const [registry, accepts] of [
        ["open.example", true],
        ["other.example", false],
      ] as const)
        assert((await relay.login(nodeId, RegistryLogin.create({ registry }), never)) === accepts, "so is a login");
      assert((await relay.volumes(nodeId, never)).map(({ name }) => name).join() === "data,more", "so are volumes");
      await relay.deleteVolume(nodeId, "data", never);
      assert((await relay.volumes(nodeId, never)).map(({ name }) => name).join() === "more", "one was deleted");
      assert((await relay.images(nodeId, never)).map(({ ref }) => ref).join() === "one,two", "so are images");
      assert((await relay.pruneImages(nodeId, never)).map(({ ref }) => ref).join() === "two", "and those that go");
    },
  },
  {
    title: "carries a process both ways at once; that the caller sends no more is not the end of what it may read",
    async run({ relay, connect }) {
      let ended = false;
      const { nodeId } = await connect({
        async *exec({ ref, command }, input) {
          yield printed(`${ref} ${command.join()}`);
          try {
            for await (const { message } of input) {
              if (message?.$case === "stdin") yield printed(message.value.toString());
              if (message?.$case === "stdinEnd") break;
            }
          } finally {
            ended = true;
          }
          yield { message: { $case: "exitCode", value: 3 } };
        },
      });
      const heard = Promise.withResolvers<void>();
      const answers: string[] = [];
      const input = (async function* (): AsyncGenerator<ExecRequest, void, void> {
        yield typed("a");
        yield typed("b");
        // What comes back comes before all has been sent.
        await heard.promise;
        yield { message: { $case: "stdinEnd", value: true } };
      })();
      for await (const { message } of relay.exec(nodeId, open, input, never)) {
        if (message?.$case === "stdout") answers.push(message.value.toString());
        if (message?.$case === "exitCode") answers.push(String(message.value));
        if (answers.length === 3) heard.resolve();
      }
      assert(answers.join(";") === "t1 sh;a;b;3", `the answers are ${answers.join(";")}`);

      ended = false;
      const caller = new AbortController();
      const sent = (async function* (): AsyncGenerator<ExecRequest, void, void> {
        yield typed("c");
      })();
      const reader = relay.exec(nodeId, open, sent, caller.signal)[Symbol.asyncIterator]();
      for (let read = 0; read < 2; read += 1) await reader.next();
      const next = reader.next();
      next.catch(() => undefined);
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
      assert(!ended, "the process reads on when the caller's half has ended");
      caller.abort();
      await until("the process's input ends with the call", () => ended);
    },
  },
  {
    title: "takes a node's answers only as fast as they are read",
    async run({ relay, connect }) {
      let made = 0;
      const { nodeId } = await connect({
        async *logs() {
          for (; made < 1_000; made += 1) yield lines(String(made));
        },
      });
      const reader = relay.logs(nodeId, wanted, never)[Symbol.asyncIterator]();
      for (let read = 0; read < 3; read += 1) await reader.next();
      let before = -1;
      await until("the node stands still", async () => {
        for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
        const still = made === before;
        before = made;
        return still;
      });
      assert(made < 100, `3 answers were read, and ${made} made`);
      await reader.return?.();
    },
  },
  {
    title: "fails with what the node refuses, with its code, fields and remedy; a node's fault is an internal one",
    async run({ relay, connect }) {
      const { nodeId } = await connect({
        async *logs() {
          yield lines("before");
          throw new ApiError({ code: "API_NOT_FOUND", kind: "task", ref: "t1" }, "it is gone", {
            remedy: "see: warren task list",
          });
        },
        stats: () => Promise.reject(new ApiError({ code: "API_EXHAUSTED" }, "too many")),
        image: () => Promise.reject(new TypeError("a fault of the program")),
      });
      const seen: string[] = [];
      const reading = (async () => {
        for await (const each of relay.logs(nodeId, wanted, never)) seen.push(textOf(each));
      })();
      const { failure, message, remedy } = await failsWith("API_NOT_FOUND", "a log", reading);
      assert(seen.join() === "before", "what came before arrives");
      assert("ref" in failure && failure.ref === "t1", "its fields arrive");
      assert(message.includes("it is gone") && remedy === "see: warren task list", "and its words");
      await failsWith("API_EXHAUSTED", "stats", relay.stats(nodeId, RelayStats.create({}), never));
      await failsWith("API_INTERNAL", "an image", relay.image(nodeId, RelayImage.create({}), never));
    },
  },
  {
    title: "fails where the node has no session, and where it loses it, which ends the node's work",
    async run({ relay, connect }) {
      for (const [name, call] of calls(relay, `n${"0".repeat(24)}`, never))
        await failsWith("API_UNAVAILABLE", `${name} of an unknown node`, call);
      const { node, signals } = waiting();
      const { nodeId, disconnect } = await connect(node);
      const begun = calls(relay, nodeId, never);
      for (const [, call] of begun) call.catch(() => undefined);
      await until("all are under way", () => signals.length === begun.length);
      disconnect();
      for (const [name, call] of begun) await failsWith("API_UNAVAILABLE", name, call);
      await until("the node's work ends", () => signals.every(({ aborted }) => aborted));
      for (const [name, call] of calls(relay, nodeId, never)) await failsWith("API_UNAVAILABLE", `${name} later`, call);
    },
  },
  {
    title: "ends at both when the caller goes, and asks nothing for one who has gone already",
    async run({ relay, connect }) {
      const { node, signals } = waiting();
      const { nodeId } = await connect(node);
      const caller = new AbortController();
      const begun = calls(relay, nodeId, caller.signal);
      for (const [, call] of begun) call.catch(() => undefined);
      await until("all are under way", () => signals.length === begun.length);
      caller.abort(new Error("the caller has gone"));
      for (const [name, call] of begun) await failsWith("API_CANCELLED", name, call);
      await until("the node's work ends", () => signals.every(({ aborted }) => aborted));
      for (const [name, call] of calls(relay, nodeId, caller.signal)) {
        const failed = await call.then(
          () => false,
          () => true,
        );
        assert(failed, `${name} fails`);
      }
      assert(signals.length === begun.length, "the node is not asked");
    },
  },
  {
    title: "ends at the node when its answers are no longer read, and leaves other calls alone",
    async run({ relay, connect }) {
      const { node, signals } = waiting();
      const stays: AbortSignal[] = [];
      const { nodeId } = await connect({
        ...node,
        async *logs(_request, signal) {
          signals.push(signal);
          for (;;) yield lines("more");
        },
        stats: (_request, signal) => {
          stays.push(signal);
          return hangs();
        },
      });
      const other = new AbortController();
      const stats = relay.stats(nodeId, RelayStats.create({}), other.signal);
      const over = failsWith("API_CANCELLED", "the other call", stats);
      for await (const _ of relay.logs(nodeId, wanted, never)) break;
      await until("the node's work ends", () => signals.length === 1 && signals.every(({ aborted }) => aborted));
      assert(stays.length === 1 && stays[0]?.aborted === false, "the other call goes on");
      other.abort();
      await over;
    },
  },
  {
    title: "ends at both when the caller's half breaks",
    async run({ relay, connect }) {
      const signals: AbortSignal[] = [];
      const { nodeId } = await connect({
        async *exec(_open, input, signal) {
          signals.push(signal);
          for await (const _ of input) yield printed("taken");
        },
      });
      const broken = Promise.withResolvers<void>();
      const input = (async function* (): AsyncGenerator<ExecRequest, void, void> {
        yield typed("a");
        await broken.promise;
        throw new Error("the connection was lost");
      })();
      const call = Array.fromAsync(relay.exec(nodeId, open, input, never));
      const over = failsWith("API_CANCELLED", "the call", call);
      await until("it is under way", () => signals.length === 1);
      broken.resolve();
      await over;
      await until("the node's work ends", () => signals.every(({ aborted }) => aborted));
    },
  },
];
