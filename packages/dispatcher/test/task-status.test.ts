import { ApiError, Task, TaskState, TaskStatus, type TaskStatusUpdate } from "@warren/api";
import { describe, expect, test } from "vitest";

import { advanced } from "../src/task-status.ts";
import { harness, nodeId, service, task, type Harness, type Worker } from "./harness.ts";

const [a, b] = [nodeId("a"), nodeId("b")];
const stateOf = (h: Harness, id: string): TaskState | undefined => h.store.view().get("tasks", id)?.status?.state;

async function filled(tasks = 1): Promise<Harness> {
  const h = await harness();
  await h.store.update((tx) => {
    tx.create("services", service("web"));
    for (let n = 1; n <= tasks; n++) tx.create("tasks", task(`t${n}`, a, { slot: n }));
    tx.create("tasks", task("foreign", b));
  });
  return h;
}

describe("what a node tells of a task", () => {
  test("is stored when it is answered, with an event when the task runs", async () => {
    await using h = await filled();
    const { tell } = await h.worker("a", "edge-1");
    const at = new Date(5_000);
    const container = Task.create({ status: { container: { containerId: "c", address: "10.77.1.2" } } }).status!
      .container;
    await tell(["t1", { state: TaskState.RUNNING, at, message: "started", container }]);
    expect(h.store.view().get("tasks", "t1")?.status).toMatchObject({
      state: TaskState.RUNNING,
      at,
      message: "started",
      container: { address: "10.77.1.2" },
    });
    expect(h.store.view().list("events").at(-1)).toMatchObject({
      objectId: "t1",
      objectName: "web.1",
      action: "started",
      message: "runs on edge-1",
    });
  });

  test("only goes forward, and the first end stays", async () => {
    await using h = await filled();
    const { tell } = await h.worker("a");
    for (const [told, stored] of [
      [TaskState.PREPARING, TaskState.PREPARING],
      [TaskState.ACCEPTED, TaskState.PREPARING],
      [TaskState.RUNNING, TaskState.RUNNING],
      [TaskState.STARTING, TaskState.RUNNING],
      [TaskState.SHUTDOWN, TaskState.SHUTDOWN],
      [TaskState.RUNNING, TaskState.SHUTDOWN],
      [TaskState.FAILED, TaskState.SHUTDOWN],
      [TaskState.COMPLETE, TaskState.SHUTDOWN],
    ] as const) {
      await tell(["t1", { state: told }]);
      expect(stateOf(h, "t1")).toBe(stored);
    }
    expect(h.metrics.values.get('warren_dispatcher_status_updates_total{result="stale"}')).toBe(5);
  });

  test("twice writes once; the same state with more to say writes again", async () => {
    await using h = await filled();
    const { tell } = await h.worker("a");
    const at = new Date(1_000);
    await tell(["t1", { state: TaskState.PREPARING, at, message: "pulling" }]);
    const { version } = h.store.view();
    await tell(["t1", { state: TaskState.PREPARING, at, message: "pulling" }]);
    expect(h.store.view().version).toBe(version);
    await tell(["t1", { state: TaskState.PREPARING, at, message: "pulled" }]);
    expect(h.store.view().get("tasks", "t1")?.status?.message).toBe("pulled");
  });

  test("several times in one request is taken in order", async () => {
    await using h = await filled();
    const { tell } = await h.worker("a");
    await tell(
      ["t1", { state: TaskState.ACCEPTED }],
      ["t1", { state: TaskState.RUNNING }],
      ["t1", { state: TaskState.READY }],
    );
    expect(stateOf(h, "t1")).toBe(TaskState.RUNNING);
  });

  test.each([
    ["a state of the manager's", "t1", TaskStatus.create({ state: TaskState.PENDING }), "updates[1].status.state"],
    ["a desired state", "t1", TaskStatus.create({ state: TaskState.REMOVE }), "updates[1].status.state"],
    ["no task", "", TaskStatus.create({ state: TaskState.RUNNING }), "updates[1].task_id"],
    ["no status", "t1", undefined, "updates[1].status"],
  ])("with %s in it is refused whole", async (_, taskId, status, field) => {
    await using h = await filled();
    const { sessionId } = await h.worker("a");
    const good = { taskId: "t1", status: TaskStatus.create({ state: TaskState.RUNNING }) };
    const updates: TaskStatusUpdate[] = [good, { taskId, status }];
    const call = { signal: new AbortController().signal, identity: { name: "local", roles: [] }, path: "" };
    const refused = (async () => h.dispatcher.handlers.updateTaskStatus({ nodeId: a, sessionId, updates }, call))();
    await expect(refused).rejects.toMatchObject({ failure: { code: "API_INVALID", violations: [{ field }] } });
    expect(stateOf(h, "t1")).toBe(TaskState.ASSIGNED);
  });

  test("that it has no business with changes nothing, and it is told to remove those", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    await worker.tell(
      ["foreign", { state: TaskState.FAILED }],
      ["unheard-of", { state: TaskState.RUNNING }],
      ["t1", { state: TaskState.RUNNING }],
    );
    expect([stateOf(h, "foreign"), stateOf(h, "t1")]).toEqual([TaskState.ASSIGNED, TaskState.RUNNING]);
    expect((await stream.next(2)).changes).toEqual([
      { assignment: { $case: "removedTask", value: "foreign" } },
      { assignment: { $case: "removedTask", value: "unheard-of" } },
    ]);
  });

  test("that was given up while it was away is not taken back", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await h.store.update((tx) => {
      const lost = tx.resolve("tasks", "t1");
      tx.update("tasks", { ...lost, status: { ...lost.status!, state: TaskState.ORPHANED } });
    });
    await worker.tell(["t1", { state: TaskState.RUNNING }]);
    expect(stateOf(h, "t1")).toBe(TaskState.ORPHANED);
  });

  test("and cannot be stored is answered so, for the node to tell it again", async () => {
    await using h = await filled();
    const { tell } = await h.worker("a");
    h.proposer.failNext("outcome-unknown-lost");
    await expect(tell(["t1", { state: TaskState.RUNNING }])).rejects.toMatchObject({ code: "STORE_OUTCOME_UNKNOWN" });
    await tell(["t1", { state: TaskState.RUNNING }]);
    expect(stateOf(h, "t1")).toBe(TaskState.RUNNING);
  });

  test("after its session has ended is not stored, even if it was asked before", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const release = h.proposer.hold();
    // Something is being written, so the node's own waits its turn.
    const other = h.store.update((tx) => tx.create("services", service("db", "10.96.0.11")));
    await Promise.resolve();
    const told = worker.tell(["t1", { state: TaskState.RUNNING }]).catch((error: unknown) => error);
    const again = h.session(a);
    release();
    await other;
    expect(ApiError.is(await told, "API_ABORTED")).toBe(true);
    await again.next(1);
    expect(stateOf(h, "t1")).toBe(TaskState.ASSIGNED);
  });
});

test("what many nodes tell at once is written in few commands", async () => {
  await using h = await harness();
  const workers: Worker[] = [];
  for (let n = 0; n < 30; n++) workers.push(await h.worker(n));
  await h.store.update((tx) => {
    for (const [n, { id }] of workers.entries()) tx.create("tasks", task(`t${n}`, id, { slot: n }));
  });
  const before = h.proposer.applied.length;
  await Promise.all(workers.map(({ tell }, n) => tell([`t${n}`, { state: TaskState.RUNNING }])));
  expect(h.proposer.applied.length - before).toBeLessThanOrEqual(2);
  expect(
    h.store
      .view()
      .list("tasks")
      .every(({ status }) => status?.state === TaskState.RUNNING),
  ).toBe(true);
});

test("long texts are cut and what is the manager's to say is left out", () => {
  const reported = TaskStatus.create({
    state: TaskState.FAILED,
    message: "x".repeat(5_000),
    code: "y".repeat(500),
    pending: { nodes: 3 },
  });
  const next = advanced(undefined, reported, new Date(7));
  expect(next).toMatchObject({ at: new Date(7), pending: undefined });
  expect([next?.message.length, next?.code.length]).toEqual([1_000, 100]);
});
