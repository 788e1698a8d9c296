import { ApiError, Node, NodeStatus_State, RemovedNode, type ApiCode, type NodeDescription } from "@warren/api";
import { localIdentity, type Identity } from "@warren/api/server";
import { FakeClock, until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { Dispatcher } from "../src/index.ts";
import { spokenLevel } from "../src/node-status.ts";
import {
  collect,
  context,
  description,
  failureOf,
  harness,
  nodeId,
  memoryStoreOf,
  Reading,
  storedNode,
  type Harness,
} from "./harness.ts";

const a = nodeId("a");
const code = (error: unknown): ApiCode | undefined => (ApiError.is(error) ? error.code : undefined);
const stateOf = (h: Harness, id: string): NodeStatus_State | undefined =>
  h.store.view().get("nodes", id)?.status?.state;
const actions = (h: Harness): string[] =>
  h.store
    .view()
    .list("events")
    .map(({ action }) => action);
const isDown = (h: Harness, id: string) => (): boolean => stateOf(h, id) === NodeStatus_State.DOWN;

describe("a node that registers", () => {
  test("is stored as ready with its description, and is sent the stored node", async () => {
    await using h = await harness();
    const { session } = await h.worker("a", { hostname: "edge-1" });
    expect(h.store.view().get("nodes", a)).toMatchObject({
      description: { hostname: "edge-1", architecture: "amd64" },
      status: { state: NodeStatus_State.READY, at: new Date(h.clock.now()) },
    });
    expect(session.values[0]).toMatchObject({
      clusterId: "cluster",
      taskPool: "10.77.0.0/16",
      vipPool: "10.96.0.0/16",
      node: { meta: { id: a } },
      relay: undefined,
      level: 1,
      historyLost: "",
      point: h.store.point(),
    });
    expect(session.values[0]?.sessionId).toMatch(/^[0-9a-z]{25}$/);
    expect(h.store.view().list("events")).toMatchObject([{ objectId: a, objectName: "edge-1", action: "created" }]);
  });

  test("again without changes costs no write; another hostname costs one", async () => {
    await using h = await harness();
    const first = await h.worker("a", { hostname: "edge-1" });
    first.session.leave();
    await first.session.ended;
    const { version } = h.store.view();
    const second = await h.worker("a", { hostname: "edge-1" });
    expect(h.store.view().version).toBe(version);
    second.session.leave();
    await h.worker("a", { hostname: "edge-2" });
    expect(h.store.view().get("nodes", a)?.description?.hostname).toBe("edge-2");
  });

  test("can change its description by a report, without a new session", async () => {
    await using h = await harness();
    const { sessionId } = (await h.worker("a", { hostname: "edge-1" })).session.values[0] ?? { sessionId: "" };
    const report = (described: NodeDescription): Promise<unknown> =>
      Promise.resolve(
        h.dispatcher.handlers.report(
          { nodeId: a, sessionId, leases: [], description: described },
          context(new AbortController().signal, a),
        ),
      );
    const condition = {
      code: "PORT_IN_USE",
      subject: "80/tcp",
      message: "taken",
      remedy: "another",
      command: "",
      everyTask: false,
    };
    const conditions = [{ ...condition, command: "", serviceIds: [], since: undefined }];
    await report(description("edge-1", { conditions }));
    expect(h.store.view().get("nodes", a)).toMatchObject({
      description: { hostname: "edge-1", conditions },
      status: { state: NodeStatus_State.READY },
    });
    const { version } = h.store.view();
    await report(description("edge-1", { conditions }));
    expect(h.store.view().version).toBe(version);
    const tooMany = Array.from({ length: 65 }, () => ({ ...condition, serviceIds: [], since: undefined }));
    const tooLong = [{ ...condition, message: "x".repeat(1_001), command: "", serviceIds: [], since: undefined }];
    for (const wrong of [tooMany, tooLong])
      expect(await report(description("edge-1", { conditions: wrong })).catch(code)).toBe("API_INVALID");
  });

  test("while it has a session ends the earlier one", async () => {
    await using h = await harness();
    const first = await h.worker("a");
    const assignments = first.assignments();
    await assignments.next(1);
    const second = await h.worker("a");
    expect(code(await first.session.ended)).toBe("API_ABORTED");
    expect(code(await assignments.ended)).toBe("API_ABORTED");
    expect(await first.heartbeat().catch(code)).toBe("API_NOT_FOUND");
    expect(await second.heartbeat()).toBeGreaterThan(0);
    expect(h.metrics.values.get("warren_dispatcher_sessions")).toBe(1);
  });

  test.each([
    ["an id of another form", "../etc", description("edge"), "node_id"],
    ["no description", a, undefined, "description"],
    ["no hostname", a, description(""), "description.hostname"],
    ["an endless hostname", a, description("x".repeat(300)), "description.hostname"],
  ])("with %s is refused and not stored", async (_, id, described, field) => {
    await using h = await harness();
    const call = context(new AbortController().signal, id);
    const stream = h.dispatcher.handlers.session({ nodeId: id, description: described, lastApplied: undefined }, call);
    const refused = await collect(stream).catch((error: unknown) => error);
    expect(refused).toMatchObject({ failure: { code: "API_INVALID", violations: [{ field }] } });
    expect(h.store.view().list("nodes")).toEqual([]);
  });

  test("before the cluster exists is refused as API_UNAVAILABLE", async () => {
    await using h = await harness();
    await h.store.update((tx) => tx.delete("clusters", "cluster"));
    expect(code(await h.session(a).ended)).toBe("API_UNAVAILABLE");
  });

  test.each([
    [
      "below the lowest that is spoken",
      { level: 0, minLevel: 0 },
      "node edge-1 (n00000000000000000000000a) takes level 0",
    ],
    ["above the cluster's", { level: 9, minLevel: 2 }, "node edge-1 (n00000000000000000000000a) takes level 2 and up"],
  ])("L20: with a level %s is refused by name", async (_, levels, text) => {
    await using h = await harness();
    const call = context(new AbortController().signal, a);
    const request = { nodeId: a, description: description("edge-1", levels), lastApplied: undefined };
    const refused = await collect(h.dispatcher.handlers.session(request, call)).catch((error: unknown) => error);
    expect(code(refused)).toBe("API_PRECONDITION");
    expect((refused as Error).message).toContain(text);
    expect(h.store.view().list("nodes")).toEqual([]);
  });

  test("L20: with a level above the cluster's gets messages of the cluster's", async () => {
    await using h = await harness();
    const request = { nodeId: a, description: description("edge-1", { level: 9 }), lastApplied: undefined };
    const session = new Reading((signal) => h.dispatcher.handlers.session(request, context(signal, a)));
    expect((await session.next(1)).level).toBe(1);
  });

  test("L20: with a level below the cluster's gets messages of its own", () => {
    expect(spokenLevel(a, description("edge-1", { level: 1 }), 2)).toBe(1);
  });

  test("L15: after its removal gets the reason and a point of the history, and is not stored", async () => {
    await using h = await harness();
    await h.worker("a", { hostname: "edge-1" });
    await h.store.update((tx) => {
      tx.delete("nodes", a);
      tx.create("removedNodes", RemovedNode.fromPartial({ meta: { id: a }, hostname: "edge-1" }));
    });
    const session = h.session(a);
    expect(code(await session.ended)).toBe("API_ABORTED");
    expect(await session.ended).toMatchObject({ reason: "DISPATCHER_NODE_REMOVED" });
    expect(session.values).toMatchObject([{ node: undefined, sessionId: "", point: h.store.point() }]);
    expect(session.values[0]?.removed).toMatch(
      /^node edge-1 \(.*\) was removed from the cluster at .*: it joins as a new/,
    );
    expect(h.store.view().list("nodes")).toEqual([]);
    await h.worker("b");
    expect(h.store.view().list("nodes")).toHaveLength(1);
  });

  test("L15: and is removed meanwhile loses the session, and is not created again", async () => {
    await using h = await harness();
    await until("it leads", () => h.log.records.some(({ event }) => event === "serves workers"));
    const release = h.proposer.holdBack();
    const session = h.session(a);
    await new Promise((resolve) => setImmediate(resolve));
    release();
    await h.store.update((tx) => {
      if (tx.get("nodes", a) !== undefined) tx.delete("nodes", a);
      tx.create("removedNodes", RemovedNode.fromPartial({ meta: { id: a }, hostname: "edge-1" }));
    });
    expect(await session.ended).toMatchObject({ reason: "DISPATCHER_NODE_REMOVED" });
    expect(h.store.view().list("nodes")).toEqual([]);
  });

  test("may act for its own id only", async () => {
    await using h = await harness();
    const { sessionId } = await h.worker("a");
    const other = context(new AbortController().signal, nodeId("b"));
    const { handlers } = h.dispatcher;
    const tried = [
      async () =>
        collect(handlers.session({ nodeId: a, description: description("x"), lastApplied: undefined }, other)),
      async () => collect(handlers.assignments({ nodeId: a, sessionId, held: Buffer.alloc(0) }, other)),
      async () => handlers.heartbeat({ nodeId: a, sessionId }, other),
      async () => handlers.report({ nodeId: a, sessionId, leases: [], description: undefined }, other),
    ];
    for (const each of tried) expect(code(await failureOf(each))).toBe("API_DENIED");
    const self = context(new AbortController().signal, a);
    expect(await handlers.heartbeat({ nodeId: a, sessionId }, self)).toBeDefined();
  });

  test("on the local socket may act for the machine's own node only, and for none if the machine has none", async () => {
    await using h = await harness();
    const { sessionId } = await h.worker("a");
    const { signal } = new AbortController();
    const local = { ...localIdentity, nodeId: a };
    const beat = (identity: Identity, id: string): Promise<unknown> =>
      failureOf(async () => h.dispatcher.handlers.heartbeat({ nodeId: id, sessionId }, { signal, identity, path: "" }));
    expect(await beat(local, a)).toBeUndefined();
    expect(code(await beat(local, nodeId("b")))).toBe("API_DENIED");
    expect(code(await beat(localIdentity, a))).toBe("API_DENIED");
    expect(code(await beat({ name: "root", roles: ["client"], nodeId: a }, a))).toBe("API_DENIED");
  });

  test("is refused with the store's error if it can't be stored, and can register again", async () => {
    await using h = await harness();
    await until("it leads", () => h.log.records.some(({ event }) => event === "serves workers"));
    h.proposer.failNext("unavailable");
    expect(await h.session(a).ended).toMatchObject({ failure: { code: "STORE_UNAVAILABLE" } });
    await h.worker("a");
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });
});

describe("a registered node", () => {
  test("is sent its subnet and its spec when they change, and not its own state", async () => {
    await using h = await harness();
    const { session } = await h.worker("a");
    await h.store.update((tx) => tx.update("nodes", { ...tx.resolve("nodes", a), subnet: "10.77.3.0/24" }));
    expect((await session.next(2)).node?.subnet).toBe("10.77.3.0/24");
    await h.store.update((tx) => {
      const node = tx.resolve("nodes", a);
      tx.update("nodes", { ...node, status: { ...node.status!, message: "fine" } });
    });
    await h.store.update((tx) =>
      tx.update("nodes", { ...tx.resolve("nodes", a), spec: { labels: { zone: "north" }, availability: 0 } }),
    );
    expect((await session.next(3)).node?.spec?.labels).toEqual({ zone: "north" });
  });

  test("that is stored with another state is set to ready again", async () => {
    await using h = await harness();
    await h.worker("a");
    await h.store.update((tx) => {
      const node = tx.resolve("nodes", a);
      tx.update("nodes", { ...node, status: { ...node.status!, state: NodeStatus_State.DOWN } });
    });
    await until("it is ready", () => stateOf(h, a) === NodeStatus_State.READY);
  });

  test("that is stored with another state is set to ready again, even if the log refuses the first write", async () => {
    await using h = await harness();
    await h.worker("a");
    await h.store.update((tx) => {
      const node = tx.resolve("nodes", a);
      tx.update("nodes", { ...node, status: { ...node.status!, state: NodeStatus_State.DOWN } });
      // Of what is proposed after this.
      queueMicrotask(() => h.proposer.failNext("unavailable"));
    });
    await until("it is ready", async () => {
      await h.clock.advanceAsync(100);
      return stateOf(h, a) === NodeStatus_State.READY;
    });
    expect(h.log.records.filter(({ event }) => event === "a write is tried again")).toHaveLength(1);
  });

  test("loses its session when it is removed, and can register as a new node", async () => {
    await using h = await harness();
    const { session } = await h.worker("a");
    await h.store.update((tx) => tx.delete("nodes", a));
    expect(code(await session.ended)).toBe("API_ABORTED");
    h.clock.advance(60_000);
    await h.worker("a");
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });
});

describe("heartbeats", () => {
  test("are due after 5 s ± 0.5 s, drawn anew each time", async () => {
    await using h = await harness();
    const { heartbeat } = await h.worker("a");
    const periods: number[] = [];
    for (let n = 0; n < 200; n++) periods.push(await heartbeat());
    expect(Math.min(...periods)).toBeGreaterThanOrEqual(4_500);
    expect(Math.max(...periods)).toBeLessThanOrEqual(5_500);
    expect(new Set(periods).size).toBeGreaterThan(100);
  });

  test("keep a node ready for an hour without a write", async () => {
    await using h = await harness();
    const { heartbeat } = await h.worker("a");
    const { version } = h.store.view();
    for (let elapsed = 0; elapsed < 3_600_000;) {
      const period = await heartbeat();
      await h.clock.advanceAsync(period);
      elapsed += period;
    }
    expect([stateOf(h, a), h.store.view().version]).toEqual([NodeStatus_State.READY, version]);
  });

  test("may be missed twice; after the third the node is down and its session has ended", async () => {
    await using h = await harness();
    const { session, heartbeat } = await h.worker("a");
    await heartbeat();
    await h.clock.advanceAsync(2 * 5_500);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
    await heartbeat();
    await h.clock.advanceAsync(3 * 5_500);
    await until("it is down", isDown(h, a));
    expect(h.store.view().get("nodes", a)?.status?.message).toBe("no heartbeat for 16.5 s");
    expect(code(await session.ended)).toBe("API_ABORTED");
    expect(await heartbeat().catch(code)).toBe("API_NOT_FOUND");
    await h.worker("a");
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
    expect(actions(h)).toEqual(["created", "down", "ready"]);
    expect(h.metrics.values.get("warren_dispatcher_nodes_down_total")).toBe(1);
  });

  test("are still due after the session's stream broke: a worker that is back in time was never down", async () => {
    await using h = await harness();
    const first = await h.worker("a");
    first.session.leave();
    await first.session.ended;
    await h.clock.advanceAsync(16_000);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
    const second = await h.worker("a");
    await h.clock.advanceAsync(16_000);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
    second.session.leave();
    await h.clock.advanceAsync(16_600);
    await until("it is down", isDown(h, a));
  });

  test("that stop set the node down, even if the log refuses the first write", async () => {
    await using h = await harness();
    await h.worker("a");
    h.proposer.failNext("unavailable", "outcome-unknown-lost");
    await h.clock.advanceAsync(16_500);
    await until("it is down", async () => {
      await h.clock.advanceAsync(100);
      return isDown(h, a)();
    });
  });

  test("that start again before the write that the node is down prevent it", async () => {
    await using h = await harness();
    await h.worker("a");
    h.proposer.failNext("unavailable");
    await h.clock.advanceAsync(16_500);
    await until("the log refused", () => h.log.records.some(({ event }) => event === "a write is tried again"));
    await h.worker("a");
    await h.clock.advanceAsync(1_000);
    expect([stateOf(h, a), actions(h)]).toEqual([NodeStatus_State.READY, ["created"]]);
  });

  test("that start again just as the deadline passes leave the node ready", async () => {
    await using h = await harness();
    await h.worker("a");
    const release = h.proposer.hold();
    await h.clock.advanceAsync(16_500); // Its deadline: a write that says down is under way.
    const again = h.session(a);
    release();
    await again.next(1);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
    await h.clock.advanceAsync(1_000);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });
});

describe("a manager that begins a term", () => {
  const ready = { state: NodeStatus_State.READY, message: "", at: new Date(0) };

  test("sets nodes that are not down to unknown, and doubles their deadlines", async () => {
    await using h = await harness({}, { leads: false });
    const [b, c] = [nodeId("b"), nodeId("c")];
    await h.store.update((tx) => {
      tx.create("nodes", storedNode(a, ready));
      tx.create("nodes", storedNode(b, ready));
      tx.create("nodes", storedNode(c, { ...ready, state: NodeStatus_State.DOWN }));
    });
    h.lead();
    await until("they are unknown", () => stateOf(h, a) === NodeStatus_State.UNKNOWN);
    expect([stateOf(h, b), stateOf(h, c)]).toEqual([NodeStatus_State.UNKNOWN, NodeStatus_State.DOWN]);
    await h.clock.advanceAsync(32_000);
    const { heartbeat } = await h.worker("a");
    expect([stateOf(h, a), stateOf(h, b)]).toEqual([NodeStatus_State.READY, NodeStatus_State.UNKNOWN]);
    await h.clock.advanceAsync(1_000);
    await until("b is down", isDown(h, b));
    await heartbeat();
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });

  test("accepts no session before that, so that no registered node is set to unknown", async () => {
    await using h = await harness({}, { leads: false });
    await h.store.update((tx) => tx.create("nodes", storedNode(a, ready)));
    h.proposer.failNext("unavailable");
    h.lead();
    const session = h.session(a);
    await h.clock.advanceAsync(50);
    expect(session.values).toEqual([]);
    await h.clock.advanceAsync(100);
    await session.next(1);
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });

  test("whose term ends ends every session and stream, refuses calls, and serves again in the next", async () => {
    await using h = await harness({}, { leads: false });
    expect(code(await h.session(a).ended)).toBe("API_UNAVAILABLE");
    const stop = h.lead();
    const worker = await h.worker("a");
    const assignments = worker.assignments();
    await assignments.next(1);
    await stop();
    expect(code(await worker.session.ended)).toBe("API_UNAVAILABLE");
    expect(code(await assignments.ended)).toBe("API_UNAVAILABLE");
    expect(await worker.heartbeat().catch(code)).toBe("API_UNAVAILABLE");
    expect(await worker.report().catch(code)).toBe("API_UNAVAILABLE");
    expect(h.clock.pending).toBe(0);
    expect(h.metrics.values.get("warren_store_watchers") ?? 0).toBe(0);
    h.lead();
    await h.worker("a");
    expect(stateOf(h, a)).toBe(NodeStatus_State.READY);
  });

  test("and loses it at once refuses the sessions that wait", async () => {
    await using h = await harness({}, { leads: false });
    await h.store.update((tx) => tx.create("nodes", storedNode(a, ready)));
    const release = h.proposer.hold();
    const stop = h.lead();
    const session = h.session(a);
    const stopped = stop();
    release();
    await stopped;
    expect(code(await session.ended)).toBe("API_UNAVAILABLE");
  });
});

test("options out of range are refused", async () => {
  await using h = await harness({}, { leads: false });
  const make = (options: object) => (): Dispatcher =>
    new Dispatcher({ clock: new FakeClock(), random: { next: () => 0 } as never, store: h.store }, options);
  for (const options of [{ heartbeatMs: 0 }, { batchChanges: 0 }, { heartbeatMs: 100, heartbeatJitterMs: 100 }])
    expect(make(options)).toThrow(RangeError);
});

test("a new leader marks any number of nodes, in commands within the log's limit", async () => {
  const made = memoryStoreOf(new FakeClock(), { maxCommandBytes: 200_000 });
  await using h = await harness({}, { leads: false, made });
  const labels = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`label-${at}`, "x".repeat(100)]));
  for (let from = 0; from < 1_000; from += 50)
    await h.store.update((tx) => {
      for (let at = from; at < from + 50; at += 1)
        tx.create(
          "nodes",
          Node.fromPartial({ meta: { id: nodeId(at) }, spec: { labels }, status: { state: NodeStatus_State.READY } }),
        );
    });
  h.lead();
  const isMarked = (): boolean =>
    h.store
      .view()
      .list("nodes")
      .every(({ status }) => status?.state === NodeStatus_State.UNKNOWN);
  await until("all are marked", () => isMarked());
  await h.worker(1);
});
