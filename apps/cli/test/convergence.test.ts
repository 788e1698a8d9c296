import { ApiError, Service, Task, TaskState, UpdateStatus_State, type WatchResponse } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { deletion, follow, observe, progress, type Observed } from "../src/service/convergence.ts";

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
    service: of,
    tasks: new Map(tasks.map((each) => [each.meta?.id ?? "", each])),
    synced: true,
    updating: false,
  };
}

test("a service has converged when all that is wanted runs as it is now", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  expect(progress(observed(service(), tasks))).toEqual({ kind: "converged", text: "web: 2 of 2 tasks running" });
});

test("tasks of an older version do not count, and hold it up", () => {
  const old = task(2, TaskState.RUNNING, { upToDate: false });
  expect(progress(observed(service(), [task(1, TaskState.RUNNING), old]))).toEqual({
    kind: "waiting",
    text: "web: 1 of 2 tasks replaced",
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
  const seen: Observed = { service: undefined, tasks: new Map(), synced: false, updating: false };
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
  const last = await follow(watch(), { show: (text) => void shown.push(text), end: () => void shown.push("end") });
  expect(last.kind).toBe("converged");
  expect(shown).toEqual(["web: 1 of 2 tasks running", "web: 2 of 2 tasks running", "end"]);
});

test("a service that has gone before it is followed is gone, and other failures are told", async () => {
  const failing = (failure: ConstructorParameters<typeof ApiError>[0]): AsyncIterable<WatchResponse> => ({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new ApiError(failure, "no")) }),
  });
  const output = { show: () => undefined, end: () => undefined };
  const gone = await follow(failing({ code: "API_NOT_FOUND", kind: "service", ref: "s" }), output);
  expect(gone.kind).toBe("gone");
  await expect(follow(failing({ code: "API_INTERNAL", id: "x" }), output)).rejects.toMatchObject({
    code: "API_INTERNAL",
  });
});
