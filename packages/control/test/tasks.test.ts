import {
  type PortForwardOpen,
  type PortForwardRequest,
  type PortForwardResponse,
  ApiError,
  LogsRequest_Runs,
  TaskState,
  type ExecOpen,
  type ExecRequest,
  type ExecResponse,
  type Task,
  type TaskStatus,
  ObjectKind,
} from "@warren/api";
import { numberedSlot, slotName } from "@warren/api/model";
import { FakeClock, until } from "@warren/std/testing";
import { describe, expect, it } from "vitest";
import { addNode, addTask, changeTask, control, failure, faults, line, texts, web, type Control } from "./fixture.ts";

const running = { state: TaskState.RUNNING };

/** A service `web` and a node for each of its tasks. */
async function placed(
  world: Control,
  nodes: readonly string[],
): Promise<{ readonly tasks: string[]; readonly nodes: string[]; readonly serviceId: string }> {
  const service = await world.client.services.create({ spec: web() });
  const serviceId = service.meta?.id ?? "";
  const ids: string[] = [];
  const tasks: string[] = [];
  for (const [index, hostname] of nodes.entries()) {
    ids.push(await addNode(world, hostname));
    tasks.push(await addTask(world, { serviceId, slot: index + 1, nodeId: ids[index] ?? "", status: running }));
  }
  return { tasks, nodes: ids, serviceId };
}

describe("get and list", () => {
  it("a task is found by id, prefix and slot, where the newest counts", async () => {
    const world = await control();
    const { tasks, serviceId } = await placed(world, ["a"]);
    const newer = await addTask(world, { serviceId, slot: 1, run: 2, status: running });
    const { client } = world;
    expect((await client.tasks.get({ ref: tasks[0] ?? "" })).meta?.id).toBe(tasks[0]);
    expect((await client.tasks.get({ ref: tasks[0]?.slice(0, 10) ?? "" })).meta?.id).toBe(tasks[0]);
    expect((await client.tasks.get({ ref: "web.1" })).meta?.id).toBe(newer);
    expect((await failure(client.tasks.get({ ref: "web.2" }))).code).toBe("API_NOT_FOUND");
    expect((await failure(client.tasks.get({ ref: "no-such.1" }))).failure).toMatchObject({
      kind: "service",
      ref: "no-such",
    });
    expect(await faults(client.tasks.get({ ref: "web.x" }))).toEqual(["ref"]);
  });

  it("lists by service, slot and run, filtered", async () => {
    const world = await control();
    const { nodes, serviceId } = await placed(world, ["a", "b"]);
    await addTask(world, { serviceId, slot: 1, run: 2 });
    await addTask(world, { serviceId, slot: 1, run: 10 });
    await addTask(world, { serviceId: "other", serviceName: "api", slot: 7 });
    const list = async (request: Parameters<typeof world.client.tasks.list>[0]): Promise<string[]> => {
      const { tasks } = await world.client.tasks.list(request);
      return tasks.map((task: Task) => `${slotName(task)}/${task.run}`);
    };
    expect(await list({})).toEqual(["api.7/1", "web.1/1", "web.1/2", "web.1/10", "web.2/1"]);
    expect(await list({ services: ["web"], desiredStates: [TaskState.SHUTDOWN] })).toEqual(["web.1/1", "web.1/2"]);
    expect(await list({ nodes: ["b", nodes[1] ?? ""] })).toEqual(["web.2/1"]);
    expect((await failure(list({ nodes: ["no-such"] }))).failure).toMatchObject({ kind: "node", ref: "no-such" });
    expect(await faults(list({ services: Array.from({ length: 1_001 }, () => "web") }))).toEqual(["services"]);
    const seen: string[] = [];
    let token = "";
    do {
      const answer = await world.client.tasks.list({ page: { size: 2, token } });
      seen.push(...answer.tasks.map(({ meta }) => meta?.id ?? ""));
      token = answer.nextPageToken;
    } while (token !== "");
    expect(new Set(seen).size).toBe(5);
  });
});

describe("logs that are there", () => {
  it("of all tasks of a service come merged by time, from each node with one question", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a", "b"]);
    const [a = "", b = ""] = tasks;
    world.relay.lines.set(nodes[0] ?? "", async function* () {
      yield { lines: [line(a, 1, "a1"), line(a, 4, "a4")] };
      yield { lines: [] };
      yield { lines: [line(a, 5, "a5")] };
    });
    world.relay.lines.set(nodes[1] ?? "", async function* () {
      yield { lines: [line(b, 2, "b2"), line(b, 3, "b3"), line(b, 6, "b6")] };
    });
    const since = new Date(0);
    expect(await texts(world.client.tasks.logs({ ref: "web", since, tail: 10 }))).toEqual([
      "a1",
      "b2",
      "b3",
      "a4",
      "a5",
      "b6",
    ]);
    expect(new Set(world.relay.asked)).toEqual(
      new Set([
        { nodeId: nodes[0], request: { taskIds: [a], follow: false, since, tail: 10 } },
        { nodeId: nodes[1], request: { taskIds: [b], follow: false, since, tail: 10 } },
      ]),
    );
    expect(await texts(world.client.tasks.logs({ ref: "web.2" }))).toEqual(["b2", "b3", "b6"]);
  });

  it("of tasks that are forgotten come from whichever node keeps them, by id, slot or the service that is deleted", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a", "b"]);
    const [first = "", second = ""] = tasks;
    for (const [index, name] of ["web.1", "web.2"].entries())
      await world.store.update((tx) =>
        tx.emit({
          kind: ObjectKind.TASK,
          objectId: tasks[index] ?? "",
          objectName: name,
          action: "started",
          message: "started",
        }),
      );
    await world.client.services.delete({ ref: "web" });
    await world.store.update((tx) => {
      for (const id of tasks) tx.delete("tasks", id);
      for (const slot of tx.list("slots")) tx.delete("slots", slot.meta?.id ?? "");
    });
    world.relay.lines.set(nodes[0] ?? "", async function* ({ taskIds }) {
      if (!taskIds.includes(first)) throw new ApiError({ code: "API_NOT_FOUND", kind: "task", ref: "" }, "none");
      yield { lines: [line(first, 1, "kept")] };
    });
    for (const ref of ["web", "web.1", first])
      expect(await texts(world.client.tasks.logs({ ref, follow: ref === first }))).toEqual(["kept"]);
    expect((await failure(texts(world.client.tasks.logs({ ref: second })))).code).toBe("API_UNAVAILABLE");
    world.relay.lines.set(nodes[1] ?? "", async function* () {
      yield* [];
      throw new ApiError({ code: "API_NOT_FOUND", kind: "task", ref: "" }, "none");
    });
    expect((await failure(texts(world.client.tasks.logs({ ref: "web.2" })))).code).toBe("API_NOT_FOUND");
    expect((await failure(texts(world.client.tasks.logs({ ref: "other" })))).code).toBe("API_NOT_FOUND");
  });

  it("of a silent task that is forgotten are none, and of a deleted service come by its id, but not those of its namesake", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a"]);
    const [first = ""] = tasks;
    const emit = (kind: ObjectKind, objectId: string, objectName: string): Promise<unknown> =>
      world.store.update((tx) => tx.emit({ kind, objectId, objectName, action: "started", message: "started" }));
    const serviceId = (await world.client.services.get({ ref: "web" })).meta?.id ?? "";
    await emit(ObjectKind.TASK, first, "web.1");
    await world.client.services.delete({ ref: "web" });
    await world.store.update((tx) => {
      for (const id of tasks) tx.delete("tasks", id);
      for (const slot of tx.list("slots")) tx.delete("slots", slot.meta?.id ?? "");
    });
    await world.client.services.create({ spec: web() });
    const namesake = "0".repeat(25);
    await emit(ObjectKind.TASK, namesake, "web.1");
    world.relay.lines.set(nodes[0] ?? "", async function* ({ taskIds }) {
      if (taskIds.includes(namesake)) yield { lines: [line(namesake, 1, "of the namesake")] };
    });
    expect(await texts(world.client.tasks.logs({ ref: first }))).toEqual([]);
    expect(await texts(world.client.tasks.logs({ ref: serviceId }))).toEqual([]);
    expect(world.relay.asked.at(-1)?.request.taskIds).toEqual([first]);
  });

  it("are of the current tasks, of those before them, or of all", async () => {
    const world = await control();
    const { meta } = await world.client.services.create({ spec: web() });
    const serviceId = meta?.id ?? "";
    const nodeId = await addNode(world, "a");
    const add = (slot: number, run: number, state: TaskState): Promise<string> =>
      addTask(world, { serviceId, nodeId, slot, run, status: { state } });
    const [old, before] = [await add(1, 1, TaskState.FAILED), await add(1, 2, TaskState.FAILED)];
    const runs = await add(1, 3, TaskState.RUNNING);
    const [first, last] = [await add(2, 1, TaskState.FAILED), await add(2, 2, TaskState.FAILED)];
    await add(2, 3, TaskState.PREPARING);
    world.relay.lines.set(nodeId, async function* ({ taskIds }) {
      yield { lines: taskIds.map((id) => line(id, 1, id)) };
    });
    const of = async (ref: string, which: LogsRequest_Runs): Promise<string[]> =>
      (await texts(world.client.tasks.logs({ ref, runs: which }))).toSorted();
    expect(await of("web", LogsRequest_Runs.CURRENT)).toEqual([runs, last].toSorted());
    expect(await of("web", LogsRequest_Runs.PREVIOUS)).toContain(first);
    expect(await of("web", LogsRequest_Runs.PREVIOUS)).not.toContain(last);
    expect(await of("web", LogsRequest_Runs.ALL)).toHaveLength(6);
    expect(await of("web.1", LogsRequest_Runs.CURRENT)).toEqual([runs]);
    expect(await of("web.1", LogsRequest_Runs.PREVIOUS)).toEqual([before]);
    expect(await of("web.1", LogsRequest_Runs.ALL)).toEqual([old, before, runs].toSorted());
    expect((await failure(of(old, LogsRequest_Runs.PREVIOUS))).message).toContain("no earlier task");
  });

  it("of a node that can't be reached are told missing, after those of the others", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a", "b"]);
    world.relay.lines.set(nodes[0] ?? "", async function* () {
      yield { lines: [line(tasks[0] ?? "", 1, "a1")] };
    });
    const seen: string[] = [];
    const error = await failure(
      (async () => {
        for await (const { lines } of world.client.tasks.logs({ ref: "web" }))
          seen.push(...lines.map((each) => each.line.toString()));
      })(),
    );
    expect(seen).toEqual(["a1"]);
    expect(error.code).toBe("API_UNAVAILABLE");
    expect(error.message).toContain("node b are missing");
  });

  it("many lines arrive in order and whole", { timeout: 30_000 }, async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a", "b"]);
    for (const [index, node] of nodes.entries()) {
      world.relay.lines.set(node, async function* () {
        for (let at = index; at < 20_000; at += 200) {
          const lines = Array.from({ length: 100 }, (_, i) => line(tasks[index] ?? "", at + 2 * i, String(at + 2 * i)));
          yield { lines };
        }
      });
    }
    const seen = await texts(world.client.tasks.logs({ ref: "web" }));
    expect(seen).toEqual(Array.from({ length: 20_000 }, (_, i) => String(i)));
  });

  it("of what there is none are told so", async () => {
    const world = await control();
    expect((await failure(texts(world.client.tasks.logs({ ref: "web" })))).code).toBe("API_NOT_FOUND");
  });
});

describe("logs that are followed", () => {
  it("go on after what was there, and end on the node when the caller goes", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a"]);
    const [task = ""] = tasks;
    const gone = Promise.withResolvers<void>();
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow, since }, signal) {
      yield { lines: [line(task, 1, "one"), line(task, 2, "two")].filter(({ at }) => at! >= (since ?? new Date(0))) };
      if (!follow) return;
      yield { lines: [line(task, 2, "two again"), line(task, 3, "three")] };
      signal.addEventListener("abort", () => gone.resolve());
      await new Promise(() => undefined);
    });
    const seen: string[] = [];
    for await (const { lines } of world.client.tasks.logs({ ref: "web", follow: true })) {
      seen.push(...lines.map((each) => each.line.toString()));
      if (seen.includes("three")) break;
    }
    expect(seen).toEqual(["one", "two", "two again", "three"]);
    await gone.promise;
  });

  it("are joined by tasks that the service gets later", async () => {
    const world = await control();
    const { nodes, serviceId } = await placed(world, ["a"]);
    world.relay.lines.set(nodes[0] ?? "", async function* ({ taskIds, follow }) {
      if (!follow) return;
      yield { lines: taskIds.map((id) => line(id, 1, id)) };
      await new Promise(() => undefined);
    });
    const seen = new Set<string>();
    let added = "";
    let pending = "";
    for await (const { lines } of world.client.tasks.logs({ ref: "web", follow: true })) {
      for (const each of lines) seen.add(each.line.toString());
      if (seen.size === 1 && added === "") {
        added = await addTask(world, { serviceId, slot: 2, nodeId: nodes[0] ?? "", status: running });
        pending = await addTask(world, { serviceId, slot: 3, status: { state: TaskState.PENDING } });
        await addTask(world, { serviceId: "other", slot: 1, nodeId: nodes[0] ?? "" });
      }
      if (seen.size === 2)
        await changeTask(world, pending, (task) => ({
          ...task,
          nodeId: nodes[0] ?? "",
          status: { ...(task.status as TaskStatus), ...running },
        }));
      if (seen.size === 3) break;
    }
    expect(seen.has(added)).toBe(true);
    expect(seen.has(pending)).toBe(true);
  });

  it("are taken up again from the last line on when the node was lost, none twice and none left out", async () => {
    const clock = new FakeClock();
    const world = await control({ clock });
    const { tasks, nodes } = await placed(world, ["a"]);
    const [task = ""] = tasks;
    const all = [1, 2, 2, 2, 3].map((at, i) => line(task, at, `line ${i}`));
    let calls = 0;
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow, since }) {
      const from = all.filter(({ at }) => at! >= (since ?? new Date(0)));
      if (!follow) {
        yield { lines: from.slice(0, 1) };
        return;
      }
      calls += 1;
      if (calls === 2) throw new ApiError({ code: "API_UNAVAILABLE" }, "still away");
      yield { lines: calls === 1 ? from.slice(0, 3) : from };
      if (calls === 1) throw new ApiError({ code: "API_UNAVAILABLE" }, "the worker restarts");
      await new Promise(() => undefined);
    });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { lines } of world.client.tasks.logs({ ref: "web.1", follow: true, tail: 5 })) {
        seen.push(...lines.map((each) => each.line.toString()));
        if (seen.length >= 5) break;
      }
    })();
    await until("the node was lost", () => calls === 1 && clock.pending > 0);
    await clock.advanceAsync(300);
    await until("it is still away", () => calls === 2 && clock.pending > 0);
    await clock.advanceAsync(600);
    await reading;
    expect(seen).toEqual(all.map((each) => each.line.toString()));
    expect(world.relay.asked.at(-1)?.request).toMatchObject({ since: new Date(2), tail: undefined });
  });

  it("of one task end with it, and of one that was lost are not waited for once it has ended", async () => {
    const world = await control();
    const { tasks, nodes, serviceId } = await placed(world, ["a"]);
    const [task = ""] = tasks;
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow }) {
      if (!follow) return;
      yield { lines: [line(task, 1, "last words")] };
    });
    expect(await texts(world.client.tasks.logs({ ref: task, follow: true }))).toEqual(["last words"]);
    const ended = await addTask(world, { serviceId, slot: 2, nodeId: "gone", status: { state: TaskState.FAILED } });
    expect(await texts(world.client.tasks.logs({ ref: ended, follow: true }))).toEqual([]);
  });

  it("of a task wait for it to have a node that knows it, and end with it", async () => {
    const clock = new FakeClock();
    const world = await control({ clock });
    const { nodes, serviceId } = await placed(world, ["a"]);
    const task = await addTask(world, { serviceId, slot: 3, status: { state: TaskState.PENDING } });
    let calls = 0;
    world.relay.lines.set(nodes[0] ?? "", async function* ({ taskIds, follow }) {
      if (!follow) return;
      calls += 1;
      if (calls === 1) throw new ApiError({ code: "API_NOT_FOUND", kind: "task", ref: "" }, "not heard of yet");
      for (const id of taskIds) yield { lines: [line(id, 1, "first words")] };
    });
    const seen = texts(world.client.tasks.logs({ ref: task, follow: true }));
    await changeTask(world, task, (each) => ({ ...each, nodeId: nodes[0] ?? "" }));
    await changeTask(world, task, (each) =>
      Object.assign(structuredClone(each), { status: { ...each.status, state: TaskState.ACCEPTED } }),
    );
    await until("it is tried again", () => calls === 1 && clock.pending > 0);
    await clock.advanceAsync(300);
    expect(await seen).toEqual(["first words"]);

    const never = await addTask(world, { serviceId, slot: 4, status: { state: TaskState.PENDING } });
    const none = texts(world.client.tasks.logs({ ref: never, follow: true }));
    await changeTask(world, never, (each) =>
      Object.assign(structuredClone(each), { status: { ...each.status, state: TaskState.SHUTDOWN } }),
    );
    expect(await none).toEqual([]);
  });

  it("of many tasks ask each node once, and each log from where it was", async () => {
    const clock = new FakeClock();
    const world = await control({ clock });
    const { tasks, nodes, serviceId } = await placed(world, ["a"]);
    const [a = ""] = tasks;
    const b = await addTask(world, { serviceId, slot: 2, nodeId: nodes[0] ?? "", status: running });
    const all = [line(a, 1, "a1"), line(b, 2, "b2"), line(a, 3, "a3"), line(b, 4, "b4"), line(a, 5, "a5")];
    let follows = 0;
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow, since }) {
      const from = all.filter(({ at }) => at! >= (since ?? new Date(0)));
      if (!follow) return yield { lines: from.slice(0, 2) };
      follows += 1;
      yield { lines: follows === 1 ? from.slice(0, 3) : from };
      if (follows === 1) throw new ApiError({ code: "API_UNAVAILABLE" }, "away");
      await new Promise(() => undefined);
    });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { lines } of world.client.tasks.logs({ ref: "web", follow: true })) {
        seen.push(...lines.map((each) => each.line.toString()));
        if (seen.length >= 5) break;
      }
    })();
    await until("the node was lost", () => follows === 1 && clock.pending > 0);
    await clock.advanceAsync(300);
    await reading;
    expect(seen).toEqual(["a1", "b2", "a3", "b4", "a5"]);
    const asked = world.relay.asked.filter(({ request }) => request.follow);
    expect(asked.map(({ request }) => [request.taskIds.toSorted(), request.since])).toEqual([
      [[a, b].toSorted(), new Date(1)],
      [[a, b].toSorted(), new Date(2)],
    ]);
  });

  it("hold the node back while the caller does not read", { timeout: 30_000 }, async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a"]);
    let made = 0;
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow }) {
      if (!follow) return;
      for (; made < 800; made += 1) yield { lines: [line(tasks[0] ?? "", made, "x".repeat(32_768))] };
    });
    const iterator = world.client.tasks.logs({ ref: "web", follow: true })[Symbol.asyncIterator]();
    await iterator.next();
    let before = -1;
    await until("the node stands still", () => {
      const still = made === before;
      before = made;
      return still;
    });
    expect(made).toBeLessThan(400);
    let read = 1;
    while (read < 800) read += (await iterator.next()).value?.lines.length ?? 0;
    await iterator.return?.();
  });

  it("that fail otherwise fail the call", async () => {
    const world = await control();
    const { nodes } = await placed(world, ["a"]);
    world.relay.lines.set(nodes[0] ?? "", async function* ({ follow }) {
      if (follow) throw new ApiError({ code: "API_EXHAUSTED" }, "too many relays");
      yield { lines: [] };
    });
    expect((await failure(texts(world.client.tasks.logs({ ref: "web", follow: true })))).code).toBe("API_EXHAUSTED");
  });
});

describe("exec", () => {
  const open = (more: Partial<ExecOpen> = {}) => ({
    message: { $case: "open" as const, value: { ref: "web.1", command: ["sh"], ...more } },
  });

  it("goes to the task's node by its id, both ways, to the exit code", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a"]);
    let opened: ExecOpen | undefined;
    world.relay.execs.set(nodes[0] ?? "", async function* (given, input): AsyncGenerator<ExecResponse> {
      opened = given;
      yield { message: { $case: "started", value: true } };
      for await (const { message } of input) {
        if (message?.$case === "stdin") yield { message: { $case: "stdout", value: message.value } };
        if (message?.$case === "stdinEnd") break;
      }
      yield { message: { $case: "exitCode", value: 7 } };
    });
    const answers = await Array.fromAsync(
      world.client.tasks.exec(
        (async function* () {
          yield open({ tty: true });
          yield { message: { $case: "stdin" as const, value: Buffer.from("hi") } };
          yield { message: { $case: "stdinEnd" as const, value: true } };
        })(),
      ),
    );
    expect(opened).toMatchObject({ ref: tasks[0], command: ["sh"], tty: true });
    expect(answers.map(({ message }) => message?.$case)).toEqual(["started", "stdout", "exitCode"]);
  });

  it("ends with its exit code though the caller's half stays open, and tells the node when the caller goes", async () => {
    const world = await control();
    const { nodes } = await placed(world, ["a"]);
    const gone = Promise.withResolvers<void>();
    world.relay.execs.set(nodes[0] ?? "", async function* ({ command }, input, signal): AsyncGenerator<ExecResponse> {
      if (command[0] === "cat") signal.addEventListener("abort", () => gone.resolve());
      yield { message: { $case: "started", value: true } };
      if (command[0] === "true") yield { message: { $case: "exitCode", value: 0 } };
      else for await (const _ of input) yield { message: { $case: "started", value: true } };
    });
    const held = (command: string) =>
      world.client.tasks.exec(
        (async function* () {
          yield open({ command: [command] });
          await new Promise(() => undefined);
        })(),
      );
    expect((await Array.fromAsync(held("true"))).at(-1)?.message).toEqual({ $case: "exitCode", value: 0 });
    for await (const _ of held("cat")) break;
    await gone.promise;
  });

  it("refuses what can't be run, before any node is asked", async () => {
    const world = await control();
    const { serviceId } = await placed(world, ["a"]);
    const run = (...messages: Partial<ExecRequest>[]): Promise<unknown> =>
      Array.fromAsync(
        world.client.tasks.exec(
          (async function* () {
            for (const message of messages) yield message;
          })(),
        ),
      );
    expect(await faults(run())).toEqual(["open"]);
    expect(await faults(run({ message: { $case: "stdinEnd", value: true } }))).toEqual(["open"]);
    expect(await faults(run(open({ command: [] }) as ExecRequest))).toEqual(["open.command"]);
    expect(await faults(run(open({ command: ["a\0"] }) as ExecRequest))).toEqual(["open.command"]);
    expect(await faults(run(open({ command: ["x".repeat(200_000)] }) as ExecRequest))).toEqual(["open.command"]);
    expect(
      await faults(run(open({ env: { "a b": "" }, workingDir: "x", user: "u".repeat(200) }) as ExecRequest)),
    ).toEqual(['open.env["a b"]', "open.working_dir", "open.user"]);
    await addTask(world, { serviceId, slot: 2, status: { state: TaskState.PENDING } });
    expect((await failure(run(open({ ref: "web.2" }) as ExecRequest))).failure).toMatchObject({
      violations: [{ type: "TASK_NOT_RUNNING", description: "task web.2 does not run: it is pending" }],
    });
    expect((await failure(run(open() as ExecRequest))).code).toBe("API_UNAVAILABLE");
  });
});

describe("stats", () => {
  const figure = (taskId: string, serviceName: string, slot: number, nodeId: string) => ({
    taskId,
    serviceName,
    slot: numberedSlot(slot),
    nodeId,
    at: new Date(1),
    cpuUsageNs: 1,
    memoryBytes: 2,
    memoryLimitBytes: 3,
    pids: 4,
    readBytes: 5,
    writeBytes: 6,
  });

  it("of all that run are asked of their nodes; those that do not answer are named", async () => {
    const clock = new FakeClock();
    const world = await control({ clock });
    const { tasks, nodes, serviceId } = await placed(world, ["a", "b", "c"]);
    const [a = "", b = "", c = ""] = nodes;
    const asked: (readonly string[])[] = [];
    const hung = Promise.withResolvers<void>();
    world.relay.figures.set(a, async ({ taskIds }) => {
      asked.push(taskIds);
      return { stats: taskIds.map((id) => figure(id, "web", 1, a)), unreachableNodes: [] };
    });
    world.relay.figures.set(b, (_, signal) => {
      signal.addEventListener("abort", () => hung.resolve());
      return new Promise(() => undefined);
    });
    await addTask(world, { serviceId, slot: 9, nodeId: a, status: { state: TaskState.STARTING } });
    const answer = world.client.tasks.stats({});
    await until("the nodes are asked", () => asked.length === 1 && clock.pending > 0);
    clock.advance(3_000);
    expect(await answer).toMatchObject({
      stats: [{ taskId: tasks[0], memoryBytes: 2 }],
      unreachableNodes: [b, c].sort(),
    });
    expect(asked).toEqual([[tasks[0]]]);
    await hung.promise;
  });

  it("can be of some", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a", "b"]);
    for (const node of nodes) {
      world.relay.figures.set(node, async ({ taskIds }) => ({
        stats: taskIds.map((id) => figure(id, "web", tasks.indexOf(id) + 1, node)),
        unreachableNodes: [],
      }));
    }
    const ids = async (refs: string[]): Promise<(string | undefined)[]> =>
      (await world.client.tasks.stats({ refs })).stats.map(({ taskId }) => taskId);
    expect(await ids(["web"])).toEqual(tasks);
    expect(await ids(["web.2"])).toEqual([tasks[1]]);
    expect((await failure(ids(["no-such"]))).code).toBe("API_NOT_FOUND");
    expect(await faults(ids(Array.from({ length: 1_001 }, () => "web")))).toEqual(["refs"]);
  });
});

describe("a forwarded port", () => {
  const open = (ref: string, port: number) => ({ message: { $case: "open" as const, value: { ref, port } } });
  const data = (text: string) => ({ message: { $case: "data" as const, value: Buffer.from(text) } });

  it("goes to the node of a task that runs, by its id, both ways", async () => {
    const world = await control();
    const { tasks, nodes } = await placed(world, ["a"]);
    let opened: PortForwardOpen | undefined;
    world.relay.connections.set(nodes[0] ?? "", async function* (given, input): AsyncGenerator<PortForwardResponse> {
      opened = given;
      yield { message: { $case: "connected", value: true } };
      for await (const { message } of input) {
        if (message?.$case === "dataEnd") return;
        if (message?.$case === "data") yield { message: { $case: "data", value: message.value } };
      }
    });
    const sent = [open("web.1", 80), data("hi"), { message: { $case: "dataEnd" as const, value: true } }];
    const answers = await Array.fromAsync(world.client.tasks.portForward(iterable(sent)));
    expect(opened).toMatchObject({ ref: tasks[0], port: 80 });
    expect(answers.map(({ message }) => message?.value.toString())).toEqual(["true", "hi"]);
  });

  it("is refused without open, for a port that is none, and for a task that does not run", async () => {
    const world = await control();
    await placed(world, ["a"]);
    const ask = (...sent: Parameters<typeof iterable<PortForwardRequest>>[0]) =>
      Array.fromAsync(world.client.tasks.portForward(iterable(sent)));
    expect(await faults(ask(data("x")))).toEqual(["open"]);
    expect(await faults(ask(open("web.1", 0)))).toEqual(["open.port"]);
    expect(await faults(ask(open("web.1", 65_536)))).toEqual(["open.port"]);
    expect((await failure(ask(open("web.9", 80)))).code).toBe("API_NOT_FOUND");
  });
});

async function* iterable<T>(values: readonly T[]): AsyncGenerator<T, void, void> {
  yield* values;
}
