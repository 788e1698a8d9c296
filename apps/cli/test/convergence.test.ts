import {
  ApiError,
  RestartPolicy,
  RestartPolicy_Condition,
  Service,
  Task,
  TaskState,
  UpdateStatus_State,
  type WatchResponse,
} from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { FakeClock, until } from "@warren/std/testing";
import { expect, test } from "vitest";
import {
  deletion,
  follow,
  nothingObserved,
  observe,
  progress,
  type Observed,
  type ProgressOutput,
} from "../src/service/convergence.ts";
import type { Frame } from "../src/service/slot-rows.ts";

const service = (partial: Parameters<typeof Service.fromPartial>[0] = {}): Service =>
  Service.fromPartial({
    meta: { id: "s" },
    spec: { name: "web", mode: { $case: "replicated", value: { replicas: 2 } } },
    versionId: "v1",
    ...partial,
  });
const task = (slot: number, state: TaskState, partial: Parameters<typeof Task.fromPartial>[0] = {}): Task =>
  Task.fromPartial({
    meta: { id: `t${slot}-${state}` },
    serviceName: "web",
    slotId: `s.${slot}`,
    slot: numberedSlot(slot),
    upToDate: true,
    current: true,
    desiredState: TaskState.RUNNING,
    status: { state },
    ...partial,
  });
function observed(of: Service | undefined, tasks: readonly Task[]): Observed {
  return {
    ...nothingObserved(),
    service: of,
    tasks: new Map(tasks.map((each) => [each.meta?.id ?? "", each])),
    synced: true,
  };
}

function outputTo(shown: string[]): ProgressOutput {
  const push = (text: string): void => void shown.push(text);
  return { show: push, note: (text) => push(`note: ${text}`), end: () => push("end") };
}

test("a service has converged when all that is wanted runs as it is now", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  expect(progress(observed(service(), tasks))).toEqual({ kind: "converged", text: "web: 2 of 2 tasks running" });
});

test("tasks of an older version do not count, and hold it up", () => {
  const old = task(2, TaskState.RUNNING, { upToDate: false });
  expect(progress(observed(service(), [task(1, TaskState.RUNNING), old]))).toEqual({
    kind: "waiting",
    text: "web: 1 of 2 updated; the old 1 keeps running",
  });
});

test("a task too many holds it up", () => {
  const tasks = [1, 2, 3].map((slot) => task(slot, TaskState.RUNNING));
  expect(progress(observed(service(), tasks)).kind).toBe("waiting");
});

test("what waits is told by its slowest task and the last failure of its slot", () => {
  const rejected = task(2, TaskState.REJECTED, {
    desiredState: TaskState.SHUTDOWN,
    current: false,
    status: { state: TaskState.REJECTED, message: "no such image" },
  });
  const next = task(2, TaskState.READY, { status: { state: TaskState.READY, message: "waits 5 s" } });
  expect(progress(observed(service(), [task(1, TaskState.RUNNING), rejected, next]))).toEqual({
    kind: "waiting",
    text: "web: 1 of 2 tasks running; web.2 ready (waits 5 s); the one before: no such image",
    brief: "web: 1 of 2 tasks running",
    line: "web: 1 of 2 tasks running; web.2 rejected: no such image",
  });
});

test("a failure that is the newest of its slot is told once", () => {
  const status = { state: TaskState.REJECTED, message: "no such image" };
  expect(
    progress(observed(service(), [task(1, TaskState.RUNNING), task(2, TaskState.REJECTED, { status })])),
  ).toMatchObject({
    kind: "waiting",
    text: "web: 1 of 2 tasks running; web.2 rejected (no such image)",
  });
});

const change = (
  object: NonNullable<NonNullable<WatchResponse["message"]> & { $case: "change" }>["value"]["object"],
): WatchResponse => ({
  message: { $case: "change", value: { version: 1, deleted: false, object } },
});
const updated = (state: UpdateStatus_State, versionId: string = "v1"): Service =>
  service({ updateStatus: { state, versionId, message: "2 tasks failed" } });

test("an update that was paused, or rolled back while it was followed, has stopped, with its reason", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  expect(progress(observed(updated(UpdateStatus_State.PAUSED), tasks))).toMatchObject({
    kind: "stopped",
    text: expect.stringContaining("2 tasks failed") as string,
  });
  const seen = observed(undefined, tasks);
  observe(seen, change({ $case: "service", value: updated(UpdateStatus_State.UPDATING) }));
  expect(progress(seen).kind).toBe("waiting");
  observe(seen, change({ $case: "service", value: updated(UpdateStatus_State.ROLLING_BACK) }));
  expect(progress(seen).kind).toBe("waiting");
  observe(seen, change({ $case: "service", value: updated(UpdateStatus_State.ROLLED_BACK) }));
  expect(progress(seen)).toMatchObject({ kind: "stopped", text: expect.stringContaining("rolled back") as string });
});

test("a rollback that was asked for has converged at its end, and what is changed after it too", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  const seen = observed(undefined, tasks);
  observe(seen, change({ $case: "service", value: updated(UpdateStatus_State.ROLLING_BACK) }));
  expect(progress(seen).kind).toBe("waiting");
  observe(seen, change({ $case: "service", value: updated(UpdateStatus_State.ROLLED_BACK) }));
  expect(progress(seen).kind).toBe("converged");
});

test("what is told of an update to an older version does not count", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  expect(progress(observed(updated(UpdateStatus_State.PAUSED, "v0"), tasks)).kind).toBe("converged");
});

test("a service without tasks wanted has converged at once, one that is deleted when it is gone", () => {
  const none = service({ spec: { name: "web", mode: { $case: "replicated", value: { replicas: 0 } } } });
  expect(progress(observed(none, [])).kind).toBe("converged");
  expect(progress(observed(undefined, [])).kind).toBe("gone");
  const left = deletion("web");
  expect(left(observed(undefined, [task(1, TaskState.RUNNING), task(2, TaskState.SHUTDOWN)]))).toEqual({
    kind: "waiting",
    text: "web: 1 task left to stop",
  });
  expect(left(observed(undefined, [task(2, TaskState.SHUTDOWN)]))).toEqual({ kind: "gone", text: "web: deleted" });
});

test("nothing is decided before all that there is has been seen", () => {
  const seen = nothingObserved();
  expect(progress(seen).kind).toBe("waiting");
  observe(seen, { message: { $case: "synced", value: 1 } });
  expect(progress(seen).kind).toBe("gone");
});

test("following ends with convergence and shows each change once", async () => {
  async function* watch(): AsyncGenerator<WatchResponse> {
    yield change({ $case: "service", value: service() });
    yield change({ $case: "task", value: task(1, TaskState.RUNNING) });
    yield { message: { $case: "synced", value: 1 } };
    yield change({ $case: "task", value: task(2, TaskState.RUNNING) });
    throw new Error("read on after the end");
  }
  const shown: string[] = [];
  const last = await follow(watch(), outputTo(shown));
  expect(last.kind).toBe("converged");
  expect(shown).toEqual(["web: 1 of 2 tasks running", "web: 2 of 2 tasks running", "end"]);
});

test("a service that has gone before it is followed is gone, and other failures are told", async () => {
  const failing = (failure: ConstructorParameters<typeof ApiError>[0]): AsyncIterable<WatchResponse> => ({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new ApiError(failure, "no")) }),
  });
  const output = outputTo([]);
  const gone = await follow(failing({ code: "API_NOT_FOUND", kind: "service", ref: "s" }), output);
  expect(gone.kind).toBe("gone");
  await expect(follow(failing({ code: "API_INTERNAL", id: "x" }), output)).rejects.toMatchObject({
    code: "API_INTERNAL",
  });
});

const monitored = (partial: Parameters<typeof Service.fromPartial>[0] = {}): Service =>
  service({
    spec: {
      name: "web",
      mode: { $case: "replicated", value: { replicas: 1 } },
      update: { monitorMs: 5_000 },
      task: { container: { image: "a" }, restart: { condition: RestartPolicy_Condition.ANY } },
    },
    ...partial,
  });
const taskChange = (value: Task): WatchResponse => change({ $case: "task", value });
const synced: WatchResponse = { message: { $case: "synced", value: 1 } };
const exit = (run: number, exitCode: number, state: TaskState = TaskState.FAILED): Task =>
  task(1, state, {
    meta: { id: `run${run}` },
    current: false,
    desiredState: TaskState.SHUTDOWN,
    status: { state, container: { exitCode } },
  });

test("a task counts once it has run for the monitor, one that ran before has; a healthy one counts at once", () => {
  const seen = nothingObserved();
  observe(seen, change({ $case: "service", value: monitored() }), 0);
  observe(seen, synced, 0);
  observe(seen, taskChange(task(1, TaskState.RUNNING)), 1_000);
  expect(progress(seen, 3_000)).toEqual({
    kind: "waiting",
    text: "web: 1 of 1 task running; watching for 5s",
    recheckMs: 3_000,
  });
  expect(progress(seen, 6_000)).toEqual({ kind: "converged", text: "web: 1 of 1 task running" });
  const before = nothingObserved();
  observe(before, change({ $case: "service", value: monitored() }), 10_000);
  observe(
    before,
    taskChange(task(1, TaskState.RUNNING, { status: { state: TaskState.RUNNING, at: new Date(4_000) } })),
  );
  observe(before, synced, 10_000);
  expect(progress(before, 10_000).kind).toBe("converged");
  const checked = nothingObserved();
  const spec = monitored().spec;
  const healthCheck = { probe: { $case: "tcp" as const, value: { port: 80 } } };
  observe(
    checked,
    change({ $case: "service", value: monitored({ spec: { ...spec, task: { container: { healthCheck } } } }) }),
  );
  observe(checked, synced, 0);
  observe(checked, taskChange(task(1, TaskState.RUNNING)), 1_000);
  expect(progress(checked, 1_000).kind).toBe("converged");
});

test("following waits for the monitor without anything that changes, and ends when time alone makes it done", async () => {
  const clock = new FakeClock();
  const shown: string[] = [];
  async function* watch(): AsyncGenerator<WatchResponse> {
    yield change({ $case: "service", value: monitored() });
    yield synced;
    yield taskChange(task(1, TaskState.RUNNING));
    await new Promise<never>(() => undefined);
  }
  const done = follow(watch(), outputTo(shown), { clock });
  await until("it watches", () => shown.length === 2);
  clock.advance(5_000);
  expect(await done).toEqual({ kind: "converged", text: "web: 1 of 1 task running" });
});

test.for([TaskState.FAILED, TaskState.COMPLETE])(
  "a task that ends is shown once with its last lines, and three ends alike in a row end the wait (%i)",
  async (state) => {
    const shown: string[] = [];
    async function* watch(): AsyncGenerator<WatchResponse> {
      yield change({ $case: "service", value: monitored() });
      yield taskChange(exit(0, 7));
      yield synced;
      for (const run of [1, 2, 3]) {
        yield taskChange(exit(run, 1, state));
        yield taskChange(exit(run, 1, state));
      }
      throw new Error("read on after the end");
    }
    const lastLines = (): Promise<string[]> => Promise.resolve(["boom"]);
    const last = await follow(watch(), outputTo(shown), { lastLines });
    expect(last).toMatchObject({
      kind: "stopped",
      text: "web: 0 of 1 task running; web.1 ended with exit code 1, 3 times in a row, and is tried again",
    });
    const notes = shown.filter((text) => text.startsWith("note: "));
    expect(notes).toEqual(["note: web.1 ended with exit code 1; it wrote last:\n  boom"]);
  },
);

test("where restarts are limited, a failure is not said to be tried again", () => {
  const seen = nothingObserved();
  const task = { ...monitored().spec?.task, restart: RestartPolicy.fromPartial({ maxAttempts: 2 }) };
  const limited = { ...monitored().spec, task };
  observe(seen, change({ $case: "service", value: Service.fromPartial({ ...monitored(), spec: limited }) }));
  observe(seen, synced);
  for (const run of [1, 2, 3]) observe(seen, taskChange(exit(run, 1)));
  expect(progress(seen)).toMatchObject({
    kind: "stopped",
    text: "web: 0 of 1 task running; web.1 ended with exit code 1, 3 times in a row",
  });
});

test("failures that differ do not end the wait", () => {
  const seen = nothingObserved();
  observe(seen, change({ $case: "service", value: monitored() }));
  observe(seen, synced);
  for (const [run, code] of [1, 2, 1, 2, 1].entries()) observe(seen, taskChange(exit(run, code)));
  expect(progress(seen).kind).toBe("waiting");
});

test("a task that ended for good is done if its code is 0, and has stopped otherwise", () => {
  const ended = (state: TaskState, exitCode: number): Task =>
    Task.fromPartial({ ...exit(1, exitCode, state), settled: "its restart condition is none" });
  expect(progress(observed(monitored(), [ended(TaskState.COMPLETE, 0)]))).toEqual({
    kind: "converged",
    text: "web: 1 of 1 task completed",
  });
  expect(progress(observed(monitored(), [ended(TaskState.FAILED, 3)]))).toMatchObject({
    kind: "stopped",
    text: "web: 0 of 1 task running; web.1 ended with exit code 3 and is not started again, since its restart condition is none",
  });
  const mixed = [ended(TaskState.COMPLETE, 0), task(2, TaskState.RUNNING)];
  expect(progress(observed(service(), mixed)).text).toBe("web: 1 of 2 tasks running, 1 completed");
});

test("off a terminal no step on a task's way is a line of its own, and no line comes twice", async () => {
  const waits = (message: string): Task =>
    task(2, TaskState.PENDING, { status: { state: TaskState.PENDING, message, pending: { nodes: 1 } } });
  async function* watch(): AsyncGenerator<WatchResponse> {
    yield change({ $case: "service", value: service() });
    yield synced;
    yield taskChange(task(1, TaskState.ASSIGNED, { meta: { id: "t1" } }));
    for (const state of [TaskState.PREPARING, TaskState.READY, TaskState.STARTING, TaskState.RUNNING])
      yield taskChange(task(1, state, { meta: { id: "t1" } }));
    for (const message of ["too little memory", "no node", "too little memory"]) yield taskChange(waits(message));
  }
  const shown: string[] = [];
  await follow(watch(), outputTo(shown));
  expect(shown).toEqual([
    "web: 0 of 2 tasks running",
    "web: 1 of 2 tasks running",
    "web: 1 of 2 tasks running; web.2 waits: too little memory",
    "web: 1 of 2 tasks running; web.2 waits: no node",
    "end",
  ]);
});

test("on a terminal frames are drawn as time goes on, and the last line says how long it took", async () => {
  const clock = new FakeClock();
  const frames: Frame[] = [];
  const ends: (string | undefined)[] = [];
  const output: ProgressOutput = {
    show: () => expect.unreachable("a frame takes its place"),
    frame: (frame) => void frames.push(frame),
    note: () => undefined,
    end: (text) => void ends.push(text),
  };
  const arrives = Promise.withResolvers<void>();
  async function* watch(): AsyncGenerator<WatchResponse> {
    yield change({ $case: "service", value: service() });
    yield taskChange(task(1, TaskState.RUNNING));
    yield synced;
    await arrives.promise;
    yield taskChange(task(2, TaskState.RUNNING));
  }
  const done = follow(watch(), output, { clock });
  await until("a frame is drawn", () => frames.length === 1);
  clock.advance(1_000);
  await until("it is drawn again", () => frames.length === 2);
  expect(frames.map(({ elapsedMs }) => elapsedMs)).toEqual([0, 1_000]);
  clock.advance(1_000);
  arrives.resolve();
  await done;
  expect(ends).toEqual(["web: 2 of 2 tasks running, after 2s"]);
});
