import { ApiError, invalid, precondition, type ExecResponse } from "@warren/api";
import { connect } from "@warren/api/client";
import { WarrenError } from "@warren/std";
import { FakeClock, RecordingLogger, RecordingMetrics, until } from "@warren/std/testing";
import { describe, expect, it } from "vitest";
import { events, folder, networks, serve, tasks } from "./fixture.ts";

const failure = async (work: Promise<unknown>): Promise<ApiError> => {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
};

const bytes = (text: string): Buffer => Buffer.from(text);

describe("one answer", () => {
  it("carries a partial request to the handler and the answer back", async () => {
    const { client } = await serve([networks()]);
    const network = await client.networks.create({ spec: { name: "blue" } });
    expect(network).toMatchObject({ meta: { id: "n1" }, spec: { name: "blue", labels: {} } });
  });

  it("a request's violations arrive by field", async () => {
    const violations = [
      { field: "spec.name", description: "want letters" },
      { field: 'spec.labels["ä b"]', description: "too long" },
    ];
    const { client } = await serve([
      networks({
        create: () => {
          throw invalid(violations);
        },
      }),
    ]);
    const error = await failure(client.networks.create({}));
    expect(error.failure).toEqual({ code: "API_INVALID", violations });
    expect(error.message).toBe("spec.name: want letters (and 1 more)");
  });

  it("a failed precondition arrives with its violations and its remedy", async () => {
    const violations = [{ type: "PORT_IN_USE", subject: "service/web", description: "port 80 is web's" }];
    const { client } = await serve([
      networks({
        create: () => {
          throw precondition(violations, "choose another port");
        },
      }),
    ]);
    const error = await failure(client.networks.create({}));
    expect(error.failure).toEqual({ code: "API_PRECONDITION", violations });
    expect(error.remedy).toBe("choose another port");
  });

  it.each([
    [{ code: "API_NOT_FOUND", kind: "service", ref: "web" }],
    [{ code: "API_AMBIGUOUS", kind: "service", ref: "w", candidates: ["web", "www"] }],
    [{ code: "API_ALREADY_EXISTS", kind: "network", name: "blue" }],
    [{ code: "API_ABORTED" }],
    [{ code: "API_UNAVAILABLE" }],
    [{ code: "API_OUTCOME_UNKNOWN" }],
    [{ code: "API_EXHAUSTED" }],
    [{ code: "API_DENIED" }],
  ] as const)("%o arrives as it was thrown", async (thrown) => {
    const { client } = await serve([
      networks({
        get: () => {
          throw new ApiError(thrown, "why");
        },
      }),
    ]);
    const error = await failure(client.networks.get({ ref: "x" }));
    expect(error.failure).toEqual(thrown);
    expect(error.message).toBe("why");
  });

  it("keeps the code of a package below as the reason", async () => {
    const { client } = await serve([
      networks({
        get: () => {
          throw new WarrenError({ code: "STORE_NOT_LEADER" }, "this manager does not lead");
        },
      }),
    ]);
    const error = await failure(client.networks.get({ ref: "x" }));
    expect(error.code).toBe("API_UNAVAILABLE");
    expect(error.reason).toBe("STORE_NOT_LEADER");
  });

  it("an internal fault arrives as an id alone, which the log has with the cause", async () => {
    const log = new RecordingLogger();
    const { client } = await serve(
      [
        networks({
          get: () => {
            throw new TypeError("secret detail");
          },
        }),
      ],
      { log },
    );
    const error = await failure(client.networks.get({ ref: "x" }));
    expect(error.code).toBe("API_INTERNAL");
    expect(error.message).not.toContain("secret detail");
    const id = (error.failure as { id: string }).id;
    const line = log.records.find(({ level }) => level === "error");
    expect(line?.fields).toMatchObject({ id, method: "/warren.v1.Networks/Get" });
    expect(String(line?.fields["error"])).toContain("secret detail");
  });

  it("keeps many and long violations below what trailers may hold", async () => {
    const violations = Array.from({ length: 500 }, (_, i) => ({ field: `f${i}`, description: "x".repeat(5_000) }));
    const { client } = await serve([
      networks({
        create: () => {
          throw invalid(violations);
        },
      }),
    ]);
    const error = await failure(client.networks.create({}));
    expect(error.code).toBe("API_INVALID");
    expect(ApiError.is(error, "API_INVALID") && error.failure.violations.length).toBeLessThan(500);
  });

  it("refuses a request that is too large, and goes on", async () => {
    const { client } = await serve([networks()], {}, { maxRequestBytes: 1_000 });
    const error = await failure(client.networks.create({ spec: { name: "x".repeat(2_000) } }));
    expect(error.code).toBe("API_EXHAUSTED");
    await expect(client.networks.create({ spec: { name: "x" } })).resolves.toBeDefined();
  });

  it("the handler's signal is aborted when the caller's deadline passes", async () => {
    const handler = Promise.withResolvers<unknown>();
    const { client } = await serve([
      networks({
        get: (_, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              handler.resolve(signal.reason);
              reject(signal.reason as Error);
            });
          }),
      }),
    ]);
    const error = await failure(client.networks.get({ ref: "x" }, { deadlineMs: 50 }));
    expect(error.code).toBe("API_DEADLINE");
    // The caller's own clock may end the call before the server's does.
    expect(["API_DEADLINE", "API_CANCELLED"]).toContain(((await handler.promise) as ApiError).code);
  });

  it("ends with the caller's signal, before and during the call", async () => {
    const handler = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const { client } = await serve([
      networks({
        get: (_, { signal }) => {
          entered.resolve();
          signal.addEventListener("abort", () => handler.resolve());
          return new Promise(() => undefined);
        },
      }),
    ]);
    expect((await failure(client.networks.get({ ref: "x" }, { signal: AbortSignal.abort() }))).code).toBe(
      "API_CANCELLED",
    );
    const abort = new AbortController();
    const call = failure(client.networks.get({ ref: "x" }, { signal: abort.signal }));
    await entered.promise;
    abort.abort();
    expect((await call).code).toBe("API_CANCELLED");
    await handler.promise;
  });

  it("says what to do where no manager answers", async () => {
    const client = connect({ socket: `${folder()}/none.sock` });
    const error = await failure(client.clusters.get({}));
    expect(error.code).toBe("API_UNAVAILABLE");
    expect(error.message).toMatch(/^no manager answers at \/.*\/none\.sock: there is no such socket$/);
    expect(error.remedy).toMatch(/warren cluster init.*start its manager/);
    client.close();
  });

  it("refuses wrong options by name", () => {
    expect(() => connect({ socket: "" })).toThrow(/socket/);
    expect(() => connect({ socket: `/${"x".repeat(200)}` })).toThrow(/socket/);
    expect(() => connect({ socket: "/a", deadlineMs: -1 })).toThrow(/deadlineMs/);
    expect(() => connect({ socket: "/a", maxMessageBytes: 0 })).toThrow(/maxMessageBytes/);
  });

  it("does not know services that are not served", async () => {
    const { client } = await serve([networks()]);
    expect((await failure(client.nodes.list({}))).code).toBe("API_UNIMPLEMENTED");
  });
});

describe("a stream of answers", () => {
  it("is read to its end, and again by another call", async () => {
    const { client } = await serve([
      events({
        async *watch() {
          for (let version = 1; version <= 100; version += 1) yield { message: { $case: "synced", value: version } };
        },
      }),
    ]);
    for (const _ of [1, 2]) {
      const seen = await Array.fromAsync(client.events.watch({}));
      expect(seen.length).toBe(100);
    }
    const call = client.events.watch({});
    await Array.fromAsync(call);
    await expect(Array.fromAsync(call)).rejects.toThrow(/once/);
  });

  it("ends its work when the caller leaves the loop", async () => {
    const ended = Promise.withResolvers<void>();
    const { client } = await serve([
      events({
        async *watch(_, { signal }) {
          signal.addEventListener("abort", () => ended.resolve());
          yield { message: { $case: "synced", value: 1 } };
          await new Promise(() => undefined);
        },
      }),
    ]);
    for await (const _ of client.events.watch({})) break;
    await ended.promise;
  });

  it("asks the handler's iterable to end when the caller's signal is aborted", async () => {
    const ended = Promise.withResolvers<void>();
    const { client } = await serve([
      events({
        async *watch() {
          try {
            for (let value = 0; ; value += 1) {
              yield { message: { $case: "synced", value } };
              await new Promise((resolve) => setImmediate(resolve));
            }
          } finally {
            ended.resolve();
          }
        },
      }),
    ]);
    const abort = new AbortController();
    let seen = 0;
    const error = await failure(
      (async () => {
        for await (const _ of client.events.watch({}, { signal: abort.signal })) if (++seen === 3) abort.abort();
      })(),
    );
    expect(error.code).toBe("API_CANCELLED");
    await ended.promise;
  });

  it("holds the server back while nobody reads", { timeout: 30_000 }, async () => {
    let made = 0;
    const stalled = Promise.withResolvers<void>();
    const message = "x".repeat(64 * 1024);
    const { client } = await serve([
      events({
        async *follow() {
          for (; made < 600; made += 1) {
            if (made === 5) stalled.resolve();
            yield { meta: undefined, at: undefined, kind: 0, objectId: "", objectName: "", action: "", message };
          }
        },
      }),
    ]);
    const iterator = client.events.follow({})[Symbol.asyncIterator]();
    await iterator.next();
    await stalled.promise;
    // All that is made without a reader is what buffers on both sides hold; 600 would be 38 MB.
    let before = -1;
    await until("production stands still", () => {
      const still = made === before;
      before = made;
      return still;
    });
    expect(made).toBeLessThan(300);
    let read = 1;
    while ((await iterator.next()).done !== true) read += 1;
    expect(read).toBe(600);
  });

  it("delivers what came before a failure, then the failure", async () => {
    const { client } = await serve([
      events({
        async *watch() {
          yield { message: { $case: "synced", value: 1 } };
          throw new ApiError({ code: "API_EXHAUSTED" }, "too slow", { remedy: "start over" });
        },
      }),
    ]);
    const iterator = client.events.watch({})[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual({ message: { $case: "synced", value: 1 } });
    const error = await failure(iterator.next());
    expect(error).toMatchObject({ code: "API_EXHAUSTED", remedy: "start over" });
  });
});

describe("both ways", () => {
  const echo = async function* (requests: AsyncIterable<unknown>): AsyncGenerator<ExecResponse> {
    let count = 0;
    for await (const request of requests) {
      count += 1;
      const { message } = request as { message?: { $case: string; value: Uint8Array } };
      if (message?.$case === "stdin") yield { message: { $case: "stdout", value: Buffer.from(message.value) } };
    }
    yield { message: { $case: "exitCode", value: count } };
  };

  it("carries both and the end of each half", async () => {
    const { client } = await serve([tasks(echo)]);
    const responses = await Array.fromAsync(
      client.tasks.exec(
        (async function* () {
          yield { message: { $case: "open" as const, value: { ref: "web.1" } } };
          yield { message: { $case: "stdin" as const, value: bytes("hello") } };
        })(),
      ),
    );
    expect(responses.map(({ message }) => message?.$case)).toEqual(["stdout", "exitCode"]);
    expect(responses.at(-1)?.message).toEqual({ $case: "exitCode", value: 2 });
  });

  it("ends though the caller's half hangs, once the answers have ended", async () => {
    let asked = false;
    const { client } = await serve([
      tasks(async function* () {
        yield { message: { $case: "exitCode", value: 0 } };
      }),
    ]);
    const requests = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => undefined),
        return: async () => {
          asked = true;
          return { done: true as const, value: undefined };
        },
      }),
    };
    expect(await Array.fromAsync(client.tasks.exec(requests))).toHaveLength(1);
    expect(asked).toBe(true);
  });

  it("cancels the call when the caller's half fails, and throws that failure", { timeout: 30_000 }, async () => {
    let gone = Promise.withResolvers<unknown>();
    let entered = Promise.withResolvers<void>();
    const { client } = await serve([
      tasks(async function* (requests) {
        try {
          for await (const _ of requests) entered.resolve();
          gone.resolve("the half was ended, as if all were well");
          yield { message: { $case: "exitCode", value: 0 } };
        } catch (error) {
          gone.resolve(error);
          throw error;
        }
      }),
    ]);
    for (let turn = 0; turn < 50; turn += 1) {
      gone = Promise.withResolvers();
      entered = Promise.withResolvers();
      const responses = Array.fromAsync(
        client.tasks.exec(
          (async function* () {
            yield { message: { $case: "stdinEnd" as const, value: true } };
            await entered.promise;
            throw new Error("terminal closed");
          })(),
        ),
      );
      await expect(responses).rejects.toThrow("terminal closed");
      expect(await gone.promise).toMatchObject({ code: "API_CANCELLED" });
    }
  });

  it("holds the caller's half back while the server does not read", { timeout: 30_000 }, async () => {
    let made = 0;
    const go = Promise.withResolvers<void>();
    const { client } = await serve([
      tasks(async function* (requests) {
        yield { message: { $case: "started", value: true } };
        await go.promise;
        yield* echo(requests);
      }),
    ]);
    const value = Buffer.alloc(64 * 1024);
    const responses = client.tasks.exec(
      (async function* () {
        for (; made < 250; made += 1) yield { message: { $case: "stdin" as const, value } };
      })(),
    );
    const iterator = responses[Symbol.asyncIterator]();
    await iterator.next();
    let before = -1;
    await until("production stands still", () => {
      const still = made > 0 && made === before;
      before = made;
      return still;
    });
    expect(made).toBeLessThan(200);
    go.resolve();
    let last: ExecResponse | undefined;
    for await (const response of { [Symbol.asyncIterator]: () => iterator }) last = response;
    expect(last?.message).toEqual({ $case: "exitCode", value: 250 });
  });
});

describe("what is counted and logged", () => {
  it("counts calls by method and status, times those with one answer, and shows open streams", async () => {
    const metrics = new RecordingMetrics();
    const clock = new FakeClock();
    const { client } = await serve(
      [
        networks({
          get: () => {
            throw new ApiError({ code: "API_NOT_FOUND", kind: "network", ref: "x" }, "no network x");
          },
        }),
        events({
          async *watch() {
            yield { message: { $case: "synced", value: 1 } };
            await new Promise(() => undefined);
          },
        }),
      ],
      { metrics, clock },
    );
    await client.networks.list({});
    await failure(client.networks.get({ ref: "x" }));
    const value = (name: string, method: string, status?: string): number | undefined =>
      metrics.values.get(`${name}{method="${method}"${status === undefined ? "" : `,status="${status}"`}}`);
    const path = "/warren.v1.Networks";
    expect(value("warren_api_requests_total", `${path}/List`, "OK")).toBe(1);
    expect(value("warren_api_requests_total", `${path}/Get`, "NOT_FOUND")).toBe(1);
    expect(metrics.observations.get(`warren_api_request_seconds{method="${path}/List"}`)).toEqual([0]);
    const watch = { method: "/warren.v1.Events/Watch" };
    for await (const _ of client.events.watch({})) {
      expect(value("warren_api_open_streams", watch.method)).toBe(1);
      break;
    }
    await until("no stream is open", () => value("warren_api_open_streams", watch.method) === 0);
  });
});
