/** What every `LeaderConnection` must do. */
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";
import { ApiError } from "../errors.ts";
import type { ForwardedCall, LeaderConnection } from "../forwarding.ts";
import { EventsDefinition, WatchRequest, WatchResponse } from "../generated/warren/v1/event.ts";
import { GetNetworkRequest, Network, NetworksDefinition } from "../generated/warren/v1/network.ts";
import { ExecRequest, ExecResponse, TasksDefinition } from "../generated/warren/v1/task.ts";
import type { Identity } from "../identity.ts";
import { bind, type BoundService, type CallContext } from "../server/binding.ts";

export interface LeaderUnderTest {
  /** A way, of a manager, to a leader that serves these; ended with the case. */
  readonly connect: (services: readonly BoundService[]) => Promise<LeaderConnection>;
}

const ann: Identity = { name: "ann", roles: ["client"] };
const unused = (): never => assert(false, "the case does not call this") as never;

async function* stream(...messages: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  for (const message of messages) yield message;
}

function callOf(path: string, requests: AsyncIterable<Uint8Array>, more: Partial<ForwardedCall> = {}): ForwardedCall {
  const { signal } = new AbortController();
  return { path, unary: true, identity: ann, requests, signal, deadlineMs: undefined, ...more };
}

async function answersOf(connection: LeaderConnection, call: ForwardedCall): Promise<Uint8Array[]> {
  const answers: Uint8Array[] = [];
  for await (const answer of connection.call(call)) answers.push(answer);
  return answers;
}

/** A service of networks of which one is got. */
function networks(get: (ref: string, context: CallContext) => Network): BoundService {
  return bind(NetworksDefinition, {
    create: unused,
    list: unused,
    delete: unused,
    get: ({ ref }, context) => get(ref, context),
  });
}

const getPath = "/warren.v1.Networks/Get";
const get = (ref: string): AsyncIterable<Uint8Array> => stream(GetNetworkRequest.encode({ ref }).finish());

export const leaderConnectionContract: readonly ContractCase<LeaderUnderTest>[] = [
  {
    title: "carries a call and its answer, as the caller's own",
    async run({ connect }) {
      const seen: CallContext[] = [];
      const network = networks((ref, context) => {
        seen.push(context);
        return Network.fromPartial({ meta: { id: ref } });
      });
      const connection = await connect([network]);
      const [answer, ...more] = await answersOf(connection, callOf(getPath, get("blue")));
      assert(answer !== undefined && more.length === 0, "there is one answer");
      assert(Network.decode(answer).meta?.id === "blue", "the answer is the leader's");
      assert(seen[0]?.identity.name === "ann" && seen[0].identity.roles.join() === "client", "its caller is known");
      assert(seen[0].forwardedBy !== undefined, "and who forwarded it");
    },
  },
  {
    title: "carries streams both ways, in order, to their ends",
    async run({ connect }) {
      const tasks = bind(TasksDefinition, {
        get: unused,
        list: unused,
        logs: unused,
        stats: unused,
        portForward: unused,
        async *exec(requests) {
          for await (const { message } of requests)
            if (message?.$case === "stdin") yield { message: { $case: "stdout" as const, value: message.value } };
        },
      });
      const connection = await connect([tasks]);
      const sent = ["a", "b", "c"].map((text) =>
        ExecRequest.encode({ message: { $case: "stdin", value: Buffer.from(text) } }).finish(),
      );
      const call = callOf("/warren.v1.Tasks/Exec", stream(...sent), { unary: false });
      const texts = (await answersOf(connection, call)).map((bytes) => {
        const { message } = ExecResponse.decode(bytes);
        return message?.$case === "stdout" ? Buffer.from(message.value).toString() : "";
      });
      assert(texts.join() === "a,b,c", `what was sent comes back, not ${texts.join()}`);
    },
  },
  {
    title: "throws what the leader refuses, with code, fields and remedy",
    async run({ connect }) {
      const network = networks((ref) => {
        throw new ApiError({ code: "API_NOT_FOUND", kind: "network", ref }, "there is none", { remedy: "make one" });
      });
      const connection = await connect([network]);
      const refused = await answersOf(connection, callOf(getPath, get("blue"))).catch((error: unknown) => error);
      assert(ApiError.is(refused, "API_NOT_FOUND"), `it is not found, not ${String(refused)}`);
      assert(refused.failure.kind === "network" && refused.failure.ref === "blue", "its fields arrive");
      assert(refused.message === "there is none" && refused.remedy === "make one", "and its words");
    },
  },
  {
    title: "ends when the caller has gone, and the leader knows",
    async run({ connect }) {
      const begun = Promise.withResolvers<AbortSignal>();
      const events = bind(EventsDefinition, {
        list: unused,
        follow: unused,
        async *watch(_request, { signal }) {
          yield WatchResponse.fromPartial({ message: { $case: "synced", value: 1 } });
          begun.resolve(signal);
          await new Promise(() => undefined);
        },
      });
      const connection = await connect([events]);
      const caller = new AbortController();
      const requests = stream(WatchRequest.encode(WatchRequest.fromPartial({})).finish());
      const more = { unary: false, signal: caller.signal };
      const answers = connection.call(callOf("/warren.v1.Events/Watch", requests, more))[Symbol.asyncIterator]();
      assert((await answers.next()).done !== true, "the stream begins");
      const next = answers.next();
      const { promise: gone, resolve } = Promise.withResolvers<void>();
      const atLeader = await begun.promise;
      atLeader.addEventListener("abort", () => resolve());
      if (atLeader.aborted) resolve();
      caller.abort(new Error("the caller has gone"));
      // Whether it ends or fails nobody is there to see.
      await next.catch(() => undefined);
      await gone;
    },
  },
];
