/** The dispatcher behind a real gRPC server on a Unix socket, with a real client. */
import {
  AssignmentsMessage_Type,
  DispatcherDefinition,
  RelayLogs,
  TaskState,
  type RelayUp,
  type SessionMessage,
} from "@warren/api";
import { connect, type ApiClient } from "@warren/api/client";
import { bind, startServer, type ApiServer } from "@warren/api/server";
import { numberedSlot } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

import { deploy, description, harness, names, nodeId, place, Reading, report, run, type Harness } from "./harness.ts";

const a = nodeId("a");
let folder: string;
let h: Harness;
let server: ApiServer;
let client: ApiClient;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "warren-dispatcher-"));
  h = await harness();
  const socketPath = join(folder, "manager.sock");
  const services = [bind(DispatcherDefinition, h.dispatcher.handlers)];
  server = await startServer({ services, localNodeId: () => a }, { socketPath });
  client = connect({ socket: socketPath });
});

afterEach(async () => {
  client.close();
  await server.close();
  await h[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function session(): Promise<{ readonly sessionId: string; readonly reading: ReturnType<typeof openSession> }> {
  const reading = openSession();
  return { sessionId: (await reading.next(1)).sessionId, reading };
}
function openSession(): Reading<SessionMessage> {
  return new Reading((signal) =>
    client.dispatcher.session({ nodeId: a, description: description("edge"), lastApplied: undefined }, { signal }),
  );
}

test("session, assignments, reports, heartbeat and relay work over gRPC", async () => {
  const { sessionId, reading } = await session();
  const who = { nodeId: a, sessionId };
  const held = Buffer.alloc(0);
  const assignments = new Reading((signal) => client.dispatcher.assignments({ ...who, held }, { signal }));
  expect(await assignments.next(1)).toMatchObject({ type: AssignmentsMessage_Type.COMPLETE, changes: [] });
  await h.store.update((tx) => {
    deploy(tx, "web");
    place(tx, "web", 1, a);
  });
  expect(names(await assignments.next(2))).toBe("version:v-web service:web endpoint:web lease:web.1/7-1");
  const leases = [report("web.1", "HELD", { runs: [run(TaskState.RUNNING)] })];
  expect(await client.dispatcher.report({ ...who, leases })).toMatchObject({ refused: [] });
  expect(h.store.view().find("tasks", "slot", "web.1")[0]?.status?.state).toBe(TaskState.RUNNING);
  expect((await client.dispatcher.heartbeat(who)).periodMs).toBeGreaterThanOrEqual(4_500);

  const caller = new Reading((signal) => h.dispatcher.relay.logs(a, RelayLogs.create({ taskIds: ["t1"] }), signal));
  const { relay } = await reading.next(2);
  const up = (async function* (): AsyncGenerator<RelayUp> {
    yield { message: { $case: "open", value: { ...who, relayId: relay?.relayId ?? "" } } };
    yield { message: { $case: "logs", value: { lines: [] } } };
    yield { message: { $case: "done", value: true } };
  })();
  const node = new Reading((signal) => client.dispatcher.relay(up, { signal }));
  expect(await caller.ended).toBe("ended");
  expect(await node.ended).toBe("ended");
  expect(node.values).toMatchObject([{ message: { $case: "end", value: true } }]);
  reading.leave();
  await reading.ended;
  await until("its session is over", () => h.metrics.values.get("warren_dispatcher_sessions") === 0);
});

test("a caller that does not read slows the node, through the whole connection", async () => {
  const { sessionId, reading } = await session();
  const lines = h.dispatcher.relay.logs(a, RelayLogs.create({ follow: true }), new AbortController().signal);
  const caller = lines[Symbol.asyncIterator]();
  const first = caller.next();
  const { relay } = await reading.next(2);
  const line = {
    at: new Date(0),
    stderr: false,
    line: Buffer.alloc(64 * 1024),
    taskId: "t1",
    serviceName: "web",
    slot: numberedSlot(1),
    nodeId: a,
  };
  let sent = 0;
  const up = (async function* (): AsyncGenerator<RelayUp> {
    yield { message: { $case: "open", value: { nodeId: a, sessionId, relayId: relay?.relayId ?? "" } } };
    for (; sent < 1_000; sent++) yield { message: { $case: "logs", value: { lines: [line] } } };
  })();
  const node = new Reading((signal) => client.dispatcher.relay(up, { signal }));
  await first;
  // Of 64 MB only what fits the connection's buffers is read.
  const still = async (): Promise<number> => {
    for (let before = -1; before !== sent;) {
      before = sent;
      // Many turns of the event loop, in which an open connection would go on.
      for (let turn = 0; turn < 2_000; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    return sent;
  };
  expect(await still()).toBeLessThan(100);
  const before = sent;
  for (let n = 0; n < 50; n++) await caller.next();
  await until("more was sent", () => sent > before);
  await caller.return?.();
  expect(await node.ended).toBe("ended");
});

test("the end of a worker ends its relays, and the end of a manager its workers' streams", async () => {
  const { sessionId, reading } = await session();
  const caller = new Reading((signal) => h.dispatcher.relay.logs(a, RelayLogs.create({ follow: true }), signal));
  const { relay } = await reading.next(2);
  const gone = new AbortController();
  const up = (async function* (): AsyncGenerator<RelayUp> {
    yield { message: { $case: "open", value: { nodeId: a, sessionId, relayId: relay?.relayId ?? "" } } };
    yield { message: { $case: "logs", value: { lines: [] } } };
    await new Promise(() => undefined);
  })();
  const node = new Reading((signal) => client.dispatcher.relay(up, { signal: AbortSignal.any([signal, gone.signal]) }));
  await caller.next(1);
  gone.abort();
  expect(await caller.ended).toMatchObject({ failure: { code: "API_UNAVAILABLE" } });
  await node.ended;
  const assignments = new Reading((signal) =>
    client.dispatcher.assignments({ nodeId: a, sessionId, held: Buffer.alloc(0) }, { signal }),
  );
  await assignments.next(1);
  await server.drain({ graceMs: 5_000 });
  expect(await reading.ended).toMatchObject({ failure: { code: "API_UNAVAILABLE" } });
  expect(await assignments.ended).toMatchObject({ failure: { code: "API_UNAVAILABLE" } });
});
