/** The pipeline alone: no gRPC, no socket. What is shown here holds for every adapter. */
import { setImmediate as turn } from "node:timers/promises";
import {
  ApiError,
  CreateNetworkRequest,
  ExecRequest,
  ExecResponse,
  GetNetworkRequest,
  LoginRegistryRequest,
  Network,
  RegistriesDefinition,
  RegistryCredential,
  WatchRequest,
  WatchResponse,
  type MessageType,
} from "@warren/api";
import {
  bind,
  createPipeline,
  localIdentity,
  localPeer,
  pipelineConnection,
  speaksFor,
  type AdmissionOptions,
  type CallContext,
  type Identity,
  type IncomingCall,
  type LeaderRoute,
  type Peer,
  type Pipeline,
  type PipelineDependencies,
  type Refusal,
} from "@warren/api/server";
import { FakeClock, RecordingLogger, RecordingMetrics } from "@warren/std/testing";
import { describe, expect, it } from "vitest";
import { events, networks, tasks } from "./fixture.ts";

const create = "/warren.v1.Networks/Create";
const get = "/warren.v1.Networks/Get";
const watch = "/warren.v1.Events/Watch";
const exec = "/warren.v1.Tasks/Exec";

const operator: Identity = { name: "ann", roles: ["client"] };
const manager: Identity = { name: "m1", roles: ["manager"] };
const worker: Identity = { name: "w1", roles: ["worker"], nodeId: "w1" };

function peer(identity: Identity | Refusal, confirm: Peer["confirm"] = () => undefined): Peer {
  return { address: "192.0.2.7:4000", local: false, identify: () => identity, confirm };
}

function bytesOf<T>(type: MessageType<T>, value: object): Uint8Array {
  return type.encode(type.fromPartial(value as never)).finish();
}

async function* from<T>(...values: readonly T[]): AsyncGenerator<T, void, void> {
  yield* values;
}

/** A call of one message; more of it as `more` says. */
function incoming(path: string, message: Uint8Array, more: Partial<IncomingCall> = {}): IncomingCall {
  return {
    path,
    peer: peer(operator),
    requests: from(message),
    metadata: () => undefined,
    signal: new AbortController().signal,
    ...more,
  };
}

async function read(pipeline: Pipeline, call: IncomingCall): Promise<Uint8Array[]> {
  return Array.fromAsync(pipeline.call(call).messages);
}

async function failure(work: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

const blue = bytesOf(CreateNetworkRequest, { spec: { name: "blue" } });
const byRef = bytesOf(GetNetworkRequest, { ref: "n7" });

function pipelineOf(more: Partial<PipelineDependencies> = {}, options: AdmissionOptions = {}): Pipeline {
  return createPipeline({ services: [networks()], ...more }, options);
}

describe("a call", () => {
  it("passes to its handler and back as bytes, with no protocol in between", async () => {
    const [answer] = await read(pipelineOf(), incoming(create, blue));
    expect(Network.decode(answer as Uint8Array)).toMatchObject({ meta: { id: "n1" }, spec: { name: "blue" } });
  });

  it("of a stream each way carries both and the end of each half", async () => {
    const pipeline = createPipeline({
      services: [
        tasks(async function* (requests) {
          let count = 0;
          for await (const _ of requests) count += 1;
          yield { message: { $case: "exitCode", value: count } };
        }),
      ],
    });
    const stdin = bytesOf(ExecRequest, { message: { $case: "stdin", value: Buffer.from("x") } });
    const [answer] = await read(pipeline, incoming(exec, stdin, { requests: from(stdin, stdin) }));
    expect(ExecResponse.decode(answer as Uint8Array).message).toEqual({ $case: "exitCode", value: 2 });
  });

  it("that can't be decoded is refused with a reason", async () => {
    const error = await failure(read(pipelineOf(), incoming(create, Buffer.from("garbage"))));
    expect(error.code).toBe("API_INVALID");
    expect(error.message).toContain("warren.v1.CreateNetworkRequest");
    const none = await failure(read(pipelineOf(), incoming(create, blue, { requests: from() })));
    expect(none.code).toBe("API_INVALID");
  });

  it("that fails by a fault of the program is INTERNAL, with an id that the log has", async () => {
    const log = new RecordingLogger();
    const broken = networks({
      get: () => {
        throw new TypeError("secret");
      },
    });
    const error = await failure(read(pipelineOf({ services: [broken], log }), incoming(get, byRef)));
    expect(error.code).toBe("API_INTERNAL");
    const { id } = error.failure as { id: string };
    expect(log.records.find(({ level }) => level === "error")?.fields).toMatchObject({ id, method: get });
  });

  it("whose handler asks for its signal after the end gets one that is aborted", async () => {
    let context: CallContext | undefined;
    const services = [
      networks({
        get: ({ ref }, given) => {
          context = given;
          return Network.fromPartial({ meta: { id: ref } });
        },
      }),
    ];
    await read(createPipeline({ services }), incoming(get, bytesOf(GetNetworkRequest, { ref: "n1" })));
    expect(context?.signal.aborted).toBe(true);
    expect(context?.signal).toBe(context?.signal);
  });

  it("of an adapter without streams is cut when its caller goes, though its handler goes on", async () => {
    const reached = Promise.withResolvers<CallContext>();
    const hangs = Promise.withResolvers<Network>();
    const services = [
      networks({
        get: (_, context) => {
          reached.resolve(context);
          return hangs.promise;
        },
      }),
    ];
    const pipeline = createPipeline({ services });
    let goes: (reason: unknown) => void = () => undefined;
    const { path, peer, metadata } = incoming(get, new Uint8Array());
    const request = (): Uint8Array => bytesOf(GetNetworkRequest, { ref: "n1" });
    const ended = failure(pipeline.unary({ path, peer, metadata, request, onGone: (listener) => (goes = listener) }));
    const { signal } = await reached.promise;
    const gone = new ApiError({ code: "API_CANCELLED" }, "gone");
    goes(gone);
    expect(await ended).toBe(gone);
    expect(signal.reason).toBe(gone);
    hangs.reject(new Error("too late"));
    await turn();
  });

  it("whose caller has gone before it begins does not reach its handler", async () => {
    const gone = new ApiError({ code: "API_CANCELLED" }, "gone");
    const { path, peer, metadata } = incoming(get, new Uint8Array());
    const request = (): Uint8Array => bytesOf(GetNetworkRequest, { ref: "n1" });
    let calls = 0;
    const count = (): Network => Network.fromPartial({ meta: { id: String(++calls) } });
    const pipeline = createPipeline({ services: [networks({ get: count })] });
    const call = pipeline.unary({ path, peer, metadata, request, onGone: (listener) => listener(gone) });
    expect(await failure(call)).toBe(gone);
    expect(calls).toBe(0);
  });

  it("has its handler's signal aborted once it has ended", async () => {
    let signal: AbortSignal | undefined;
    const service = networks({
      get: ({ ref }, context) => {
        signal = context.signal;
        expect(signal.aborted).toBe(false);
        return Network.fromPartial({ meta: { id: ref } });
      },
    });
    await read(pipelineOf({ services: [service] }), incoming(get, byRef));
    expect(signal?.aborted).toBe(true);
  });

  it("is counted by method and status, a refused one too, and logged with its caller", async () => {
    const metrics = new RecordingMetrics();
    const log = new RecordingLogger();
    const pipeline = pipelineOf({ metrics, log });
    await read(pipeline, incoming(create, blue));
    await failure(read(pipeline, incoming(create, blue, { peer: peer(worker) })));
    expect(metrics.values.get(`warren_api_requests_total{method="${create}",status="OK"}`)).toBe(1);
    expect(metrics.values.get(`warren_api_requests_total{method="${create}",status="PERMISSION_DENIED"}`)).toBe(1);
    const callers = log.records.filter(({ event }) => event === "call").map(({ fields }) => fields["caller"]);
    expect(callers).toEqual(["ann", "w1"]);
  });
});

describe("identity", () => {
  it("is looked up at each call: a removed caller is refused at its next one, with the reason", async () => {
    let known: Identity | Refusal = operator;
    const ann: Peer = { ...peer(operator), identify: () => known };
    const pipeline = pipelineOf();
    await read(pipeline, incoming(create, blue, { peer: ann }));
    known = { refused: "USER_REMOVED", message: "ann was removed from the cluster" };
    const error = await failure(read(pipeline, incoming(create, blue, { peer: ann })));
    expect(error).toMatchObject({ code: "API_UNAUTHENTICATED", reason: "USER_REMOVED" });
    expect(error.message).toBe("ann was removed from the cluster");
  });

  it("is determined before any message of the request is read", async () => {
    let read_ = false;
    const requests = (async function* () {
      read_ = true;
      yield blue;
    })();
    const nobody = peer({ refused: "NO_CERTIFICATE", message: "no certificate was shown" });
    await failure(read(pipelineOf(), incoming(create, blue, { peer: nobody, requests })));
    await failure(read(pipelineOf(), incoming(create, blue, { peer: peer(worker), requests })));
    expect(read_).toBe(false);
  });

  it("of the local socket is an operator and its own machine's worker, and can't act for another node", () => {
    let node: string | undefined;
    const local = localPeer(() => node);
    expect(local.identify()).toEqual(localIdentity);
    expect(speaksFor(local.identify() as Identity, "n1")).toBe(false);
    node = "n1";
    expect(speaksFor(local.identify() as Identity, "n1")).toBe(true);
    expect(speaksFor(local.identify() as Identity, "n2")).toBe(false);
  });

  it.each<[Identity, string, boolean]>([
    [worker, "w1", true],
    [worker, "w2", false],
    [worker, "", false],
    [{ name: "w1", roles: ["worker"] }, "w1", false],
    [{ name: "w1", roles: ["manager"], nodeId: "w1" }, "w1", false],
    [localIdentity, "local", false],
  ])("%o may act for %s: %s", (identity, nodeId, expected) => {
    expect(speaksFor(identity, nodeId)).toBe(expected);
  });
});

describe("admission", () => {
  it("refuses a message that is too large, at any place in a stream", async () => {
    const pipeline = createPipeline(
      {
        services: [
          tasks(async function* (requests) {
            for await (const _ of requests) yield { message: { $case: "started", value: true } };
          }),
        ],
      },
      { maxRequestBytes: 100 },
    );
    const large = bytesOf(ExecRequest, { message: { $case: "stdin", value: Buffer.alloc(101) } });
    const small = bytesOf(ExecRequest, { message: { $case: "stdin", value: Buffer.alloc(10) } });
    const error = await failure(read(pipeline, incoming(exec, small, { requests: from(small, large) })));
    expect(error.code).toBe("API_EXHAUSTED");
  });

  it("limits the rate of one caller's calls, which recovers with time; the local socket has no limit", async () => {
    const clock = new FakeClock();
    const pipeline = pipelineOf({ clock }, { callsPerSecond: 1, callsAtOnce: 2 });
    const call = (identity: Identity): Promise<unknown> =>
      read(pipeline, incoming(get, byRef, { peer: peer(identity) }));
    await call(operator);
    await call(operator);
    expect(await failure(call(operator))).toMatchObject({ code: "API_EXHAUSTED" });
    await call({ name: "bob", roles: ["client"] });
    clock.advance(1_000);
    await call(operator);
    const local = localPeer(() => undefined);
    for (let i = 0; i < 5; i++) await read(pipeline, incoming(get, byRef, { peer: local }));
  });

  it("limits the calls under way of one caller", async () => {
    const hang = Promise.withResolvers<never>();
    const pipeline = pipelineOf({ services: [networks({ get: () => hang.promise })] }, { maxCallsPerIdentity: 1 });
    const gone = new AbortController();
    const first = read(pipeline, incoming(get, byRef, { signal: gone.signal })).catch(() => undefined);
    expect(await failure(read(pipeline, incoming(create, blue)))).toMatchObject({ code: "API_EXHAUSTED" });
    gone.abort(new ApiError({ code: "API_CANCELLED" }, "gone"));
    await first;
    await read(pipeline, incoming(create, blue));
  });

  it("ends a call that takes too long, or earlier at the caller's deadline", async () => {
    const clock = new FakeClock();
    const reasons: unknown[] = [];
    const hangs = networks({
      get: (_, { signal }) => {
        signal.addEventListener("abort", () => reasons.push((signal.reason as ApiError).code));
        return new Promise(() => undefined);
      },
    });
    const pipeline = pipelineOf({ services: [hangs], clock }, { maxUnaryMs: 5_000 });
    const long = failure(read(pipeline, incoming(get, byRef)));
    const short = failure(read(pipeline, incoming(get, byRef, { deadlineMs: 100 })));
    await turn();
    clock.advance(100);
    expect(await short).toMatchObject({ code: "API_DEADLINE" });
    clock.advance(4_900);
    expect(await long).toMatchObject({ code: "API_DEADLINE" });
    expect(reasons).toEqual(["API_DEADLINE", "API_DEADLINE"]);
    expect(clock.pending).toBe(0);
  });

  it("ends a stream whose remote reader has not read for long, and no local one", async () => {
    const clock = new FakeClock();
    const services = [
      events({
        async *watch() {
          for (;;) yield { message: { $case: "synced", value: 1 } };
        },
      }),
    ];
    const pipeline = createPipeline({ services, clock }, { slowReaderMs: 1_000 });
    const message = bytesOf(WatchRequest, {});
    const slow = pipeline.call(incoming(watch, message));
    const iterator = slow.messages[Symbol.asyncIterator]();
    await iterator.next();
    clock.advance(999);
    await iterator.next();
    clock.advance(999);
    expect(slow.cut.aborted).toBe(false);
    clock.advance(1);
    expect(slow.cut.reason).toMatchObject({ code: "API_EXHAUSTED" });
    expect(await failure(iterator.next())).toMatchObject({ code: "API_EXHAUSTED" });
    const local = pipeline.call(incoming(watch, message, { peer: localPeer(() => undefined) }));
    await local.messages[Symbol.asyncIterator]().next();
    clock.advance(10_000);
    expect(local.cut.aborted).toBe(false);
  });
});

interface TwoManagers {
  readonly follower: Pipeline;
  readonly leader: Pipeline;
  /** Of the follower. */
  route: LeaderRoute;
  readonly metrics: RecordingMetrics;
}

/** Two managers, the second of which leads. */
function cluster(handler: (context: CallContext) => void, confirm: Peer["confirm"] = () => undefined): TwoManagers {
  const services = [
    networks({
      create: ({ spec }, context) => {
        handler(context);
        return Network.fromPartial({ meta: { id: "n1" }, spec: spec ?? {} });
      },
      get: ({ ref }, context) => {
        handler(context);
        return Network.fromPartial({ meta: { id: ref } });
      },
    }),
    events({
      async *watch(_, context) {
        handler(context);
        for (let value = 1; ; value++) yield { message: { $case: "synced", value } };
      },
    }),
    tasks(async function* (requests, context) {
      handler(context as CallContext);
      for await (const { message } of requests)
        if (message?.$case === "stdin") yield { message: { $case: "stdout", value: message.value } };
    }),
  ];
  const leader = createPipeline({ services });
  const metrics = new RecordingMetrics();
  const world: TwoManagers = {
    leader,
    metrics,
    route: { kind: "leader", connection: pipelineConnection(leader, peer(manager, confirm)) },
    follower: createPipeline({ services, metrics, leadership: { route: () => world.route, barrier: () => undefined } }),
  };
  return world;
}

describe("a call at a manager that does not lead", () => {
  it("is served by the leader, with its caller's identity, for each kind of call", async () => {
    const seen: CallContext[] = [];
    const { follower, metrics } = cluster((context) => seen.push(context));
    const [created] = await read(follower, incoming(create, blue));
    expect(Network.decode(created as Uint8Array).spec?.name).toBe("blue");
    const stream = follower.call(incoming(watch, bytesOf(WatchRequest, {}))).messages;
    const values: unknown[] = [];
    for await (const message of stream) if (values.push(WatchResponse.decode(message).message?.value) === 3) break;
    expect(values).toEqual([1, 2, 3]);
    const stdin = bytesOf(ExecRequest, { message: { $case: "stdin", value: Buffer.from("hello") } });
    const [echo] = await read(follower, incoming(exec, stdin, { requests: from(stdin) }));
    expect(Buffer.from(ExecResponse.decode(echo as Uint8Array).message?.value as Uint8Array).toString()).toBe("hello");
    for (const { identity, forwardedBy } of seen)
      expect({ identity, forwardedBy }).toEqual({ identity: operator, forwardedBy: "m1" });
    expect(seen).toHaveLength(3);
    expect(metrics.values.get(`warren_api_forwarded_total{method="${create}"}`)).toBe(1);
  });

  it("that accepts a stale read is answered here", async () => {
    const seen: CallContext[] = [];
    const { follower } = cluster((context) => seen.push(context));
    await read(follower, incoming(get, byRef));
    await read(follower, incoming(get, byRef, { metadata: (key) => (key === "warren-read" ? "stale" : undefined) }));
    await read(follower, incoming(create, blue, { metadata: (key) => (key === "warren-read" ? "stale" : undefined) }));
    expect(seen.map(({ forwardedBy }) => forwardedBy)).toEqual(["m1", undefined, "m1"]);
  });

  it("is never forwarded twice", async () => {
    const world = cluster(() => expect.unreachable());
    const third = createPipeline({
      services: [networks()],
      leadership: {
        route: () => ({ kind: "leader", connection: pipelineConnection(world.follower, peer(manager)) }),
        barrier: () => undefined,
      },
    });
    const error = await failure(read(third, incoming(create, blue)));
    expect(error).toMatchObject({ code: "API_UNAVAILABLE", reason: "API_NO_LEADER" });
  });

  it("is refused without effect while no leader is known, to be retried", async () => {
    const world = cluster(() => expect.unreachable());
    world.route = { kind: "nobody", why: "an election is under way" };
    const error = await failure(read(world.follower, incoming(create, blue)));
    expect(error).toMatchObject({ code: "API_UNAVAILABLE", reason: "API_NO_LEADER" });
    expect(error.message).toContain("an election is under way");
  });

  it("fails with the leader's error as it is", async () => {
    const { follower } = cluster(() => {
      throw new ApiError({ code: "API_NOT_FOUND", kind: "network", ref: "x" }, "no network x", { remedy: "make one" });
    });
    const error = await failure(read(follower, incoming(create, blue)));
    expect(error).toMatchObject({ failure: { code: "API_NOT_FOUND", ref: "x" }, remedy: "make one" });
  });

  it("ends at the leader when its caller goes", async () => {
    const ended = Promise.withResolvers<unknown>();
    const { follower } = cluster(({ signal }) => signal.addEventListener("abort", () => ended.resolve(signal.reason)));
    const gone = new AbortController();
    const answer = follower.call(incoming(watch, bytesOf(WatchRequest, {}), { signal: gone.signal }));
    const iterator = answer.messages[Symbol.asyncIterator]();
    await iterator.next();
    gone.abort(new ApiError({ code: "API_CANCELLED" }, "gone"));
    expect(await failure(iterator.next())).toMatchObject({ code: "API_CANCELLED" });
    expect(await ended.promise).toBeInstanceOf(ApiError);
  });

  it("is authorised by the leader too, by the caller's roles", async () => {
    const { leader } = cluster(() => expect.unreachable());
    const connection = pipelineConnection(leader, peer(manager));
    const { signal } = new AbortController();
    const call = { path: create, unary: true, identity: worker, requests: from(blue), signal, deadlineMs: undefined };
    expect(await failure(Array.fromAsync(connection.call(call)))).toMatchObject({ code: "API_DENIED" });
  });
});

describe("the barrier of linearizable reads", () => {
  const stale = { metadata: (key: string) => (key === "warren-read" ? "stale" : undefined) };
  /** A manager that leads, as far as it knows; its barrier, and what it has called. */
  const world = (): {
    readonly pipeline: Pipeline;
    readonly passed: PromiseWithResolvers<void>;
    readonly called: string[];
  } => {
    const passed = Promise.withResolvers<void>();
    const called: string[] = [];
    const services = [
      networks({
        get: ({ ref }) => {
          called.push("get");
          return Network.fromPartial({ meta: { id: ref } });
        },
        create: ({ spec }) => {
          called.push("create");
          return Network.fromPartial({ spec: spec ?? {} });
        },
      }),
      events({
        async *watch() {
          called.push("watch");
          yield { message: { $case: "synced", value: 1 } };
        },
      }),
      tasks(async function* () {
        called.push("exec");
        yield { message: { $case: "exitCode", value: 0 } };
      }),
    ];
    const barrier = (): Promise<void> => {
      called.push("barrier");
      return passed.promise;
    };
    const leadership = { route: (): LeaderRoute => ({ kind: "here" }), barrier };
    return { pipeline: createPipeline({ services, leadership }), passed, called };
  };
  const reads = [
    ["a call", "get", () => incoming(get, byRef)],
    ["a stream", "watch", () => incoming(watch, bytesOf(WatchRequest, {}))],
    ["a call that a node serves", "exec", () => incoming(exec, bytesOf(ExecRequest, {}))],
  ] as const;

  it.each(reads)("is passed before the state is read for %s", async (_, name, call) => {
    const { pipeline, passed, called } = world();
    const answer = read(pipeline, call());
    await turn();
    expect(called).toEqual(["barrier"]);
    passed.resolve();
    expect(await answer).toHaveLength(1);
    expect(called).toEqual(["barrier", name]);
  });

  it.each(reads)("refuses %s that no leader confirms, and nothing is answered", async (_, _name, call) => {
    const { pipeline, passed, called } = world();
    const answer = failure(read(pipeline, call()));
    await turn();
    passed.reject(new ApiError({ code: "API_UNAVAILABLE" }, "no leader confirmed it"));
    expect(await answer).toMatchObject({ code: "API_UNAVAILABLE" });
    expect(called).toEqual(["barrier"]);
  });

  it("is not waited for by a write, which the store confirms, nor by a read that may be stale", async () => {
    const { pipeline, called } = world();
    await read(pipeline, incoming(create, blue));
    await read(pipeline, incoming(get, byRef, stale));
    await read(pipeline, incoming(watch, bytesOf(WatchRequest, {}), stale));
    expect(called).toEqual(["create", "get", "watch"]);
  });

  it("is waited for by a login, which is checked with what is stored before it is written", async () => {
    const called: string[] = [];
    const unused = (): never => expect.unreachable();
    const login = (): RegistryCredential => {
      called.push("login");
      return RegistryCredential.fromPartial({});
    };
    const barrier = async (): Promise<void> => void called.push("barrier");
    const pipeline = createPipeline({
      services: [bind(RegistriesDefinition, { login, list: unused, logout: unused })],
      leadership: { route: () => ({ kind: "here" }), barrier },
    });
    await read(
      pipeline,
      incoming("/warren.v1.Registries/Login", bytesOf(LoginRegistryRequest, { registry: "r.example" })),
    );
    expect(called).toEqual(["barrier", "login"]);
  });

  it("is waited for by a call that only the leader serves, whatever its caller accepts", async () => {
    const { pipeline, passed, called } = world();
    const answer = read(pipeline, incoming(exec, bytesOf(ExecRequest, {}), stale));
    await turn();
    expect(called).toEqual(["barrier"]);
    passed.resolve();
    await answer;
  });

  it("that hangs does not outlive its call", async () => {
    const clock = new FakeClock();
    const leadership = {
      route: (): LeaderRoute => ({ kind: "here" }),
      barrier: () => new Promise<void>(() => undefined),
    };
    const pipeline = pipelineOf({ clock, leadership });
    const answer = failure(read(pipeline, incoming(get, byRef, { deadlineMs: 100 })));
    await turn();
    clock.advance(100);
    expect(await answer).toMatchObject({ code: "API_DEADLINE" });
  });
});

describe("a forwarded identity", () => {
  const claim = (identity: object): IncomingCall["metadata"] => {
    const text = Buffer.from(JSON.stringify(identity)).toString("base64url");
    return (key) => (key === "warren-forwarded-identity" ? text : undefined);
  };

  it.each<[string, Peer]>([
    ["a worker", peer(worker)],
    ["an operator", peer(operator)],
    ["the local socket", localPeer(() => undefined)],
  ])("from %s is stripped", async (_, from_) => {
    const seen: CallContext[] = [];
    const { leader } = cluster((context) => seen.push(context));
    const call = incoming(create, blue, { peer: from_, metadata: claim({ name: "root", roles: ["client"] }) });
    await read(leader, call).catch(() => undefined);
    for (const { identity, forwardedBy } of seen) expect([identity.name, forwardedBy]).not.toContain("root");
    for (const { forwardedBy } of seen) expect(forwardedBy).toBeUndefined();
    expect(seen).toHaveLength(from_.identify() === worker ? 0 : 1);
  });

  it("of a caller that was removed here is refused, though the other manager has not applied the removal", async () => {
    const { follower } = cluster(
      () => expect.unreachable(),
      ({ name }) => ({ refused: "USER_REMOVED", message: `${name} was removed from the cluster` }),
    );
    const error = await failure(read(follower, incoming(create, blue)));
    expect(error).toMatchObject({ code: "API_UNAUTHENTICATED", message: "ann was removed from the cluster" });
  });

  it.each([["not base64 json"], ["bnVsbA"], [Buffer.from('{"name":"a","roles":["root"]}').toString("base64url")]])(
    "that is none (%s) is refused",
    async (text) => {
      const { leader } = cluster(() => expect.unreachable());
      const call = incoming(create, blue, { peer: peer(manager), metadata: () => text });
      expect(await failure(read(leader, call))).toMatchObject({ code: "API_INVALID" });
    },
  );
});
