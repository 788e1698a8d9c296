import { FakeClock } from "@warren/std/testing";
import { describe, expect, test } from "vitest";
import type { ContainerEvent } from "../src/index.ts";
import {
  FakeMachine,
  FakeRuntime,
  playProgram,
  runtimeContract,
  type Program,
  type RuntimeUnderTest,
} from "../src/testing/index.ts";

describe("the fake keeps the contract", () => {
  for (const { title, ...one } of runtimeContract) test(title, () => one.run(subject()));
});

function subject(): RuntimeUnderTest {
  const machine = new FakeMachine({
    program: (process) => playProgram(JSON.parse((process.exec?.args ?? process.args)[1] ?? "[]") as Program, process),
  });
  machine.publish("box");
  machine.publish("other");
  return {
    open: () => Promise.resolve(new FakeRuntime(machine)),
    image: "box",
    otherImage: "other",
    missingImage: "missing",
    program: (program) => ["play", JSON.stringify(program)],
  };
}

async function started(id: string): Promise<FakeRuntime> {
  const runtime = new FakeRuntime(new FakeMachine({ clock: new FakeClock() }));
  runtime.machine.publish("box");
  await runtime.pull("box");
  await runtime.create({ id, image: "box" });
  await runtime.start(id);
  return runtime;
}

test("the next calls fail with a scripted failure", async () => {
  const runtime = await started("a");
  runtime.machine.fail("pull", { code: "RUNTIME_DISK_FULL" }, 2);
  await expect(runtime.pull("box")).rejects.toMatchObject({ code: "RUNTIME_DISK_FULL", retryable: true });
  await expect(runtime.pull("box")).rejects.toMatchObject({ code: "RUNTIME_DISK_FULL" });
  await runtime.pull("box");
  runtime.machine.fail("pull", { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: "docker.io" });
  expect(await runtime.pull("box")).toMatchObject({ ref: "docker.io/library/box:latest" });
});

test("a held call waits until it is released or aborted", async () => {
  const runtime = await started("a");
  const hold = runtime.machine.hold("pull");
  const abort = new AbortController();
  const slow = runtime.pull("box");
  const given = runtime.pull("box", { signal: abort.signal });
  await new Promise(setImmediate);
  expect(hold.waiting).toBe(2);
  abort.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  expect(hold.waiting).toBe(1);
  hold.release();
  await slow;
  expect(runtime.machine.calls.filter(({ call }) => call === "pull")).toHaveLength(3);
});

test("while the runtime is unavailable calls fail and streams break, and containers go on", async () => {
  const runtime = await started("a");
  const events: ContainerEvent["kind"][] = [];
  const read = async (): Promise<void> => {
    for await (const { kind } of runtime.events(new AbortController().signal)) events.push(kind);
  };
  const first = read();
  await new Promise(setImmediate);
  runtime.machine.disconnect();
  await expect(first).rejects.toMatchObject({ code: "RUNTIME_UNAVAILABLE" });
  await expect(runtime.list()).rejects.toMatchObject({ code: "RUNTIME_UNAVAILABLE" });
  const second = read();
  runtime.machine.exit("a", 4);
  await new Promise(setImmediate);
  expect(events).toEqual(["lost"]);
  runtime.machine.reconnect();
  await new Promise(setImmediate);
  expect(events).toEqual(["lost", "lost"]);
  expect((await runtime.list())[0]?.state).toMatchObject({ kind: "exited", exit: { code: 4 } });
  await runtime.close();
  await second;
});

test("a lost container is unknown, and can only be removed", async () => {
  const runtime = await started("a");
  runtime.machine.lose("a");
  expect((await runtime.list())[0]?.state).toEqual({ kind: "unknown", cause: "lost" });
  await expect(runtime.start("a")).rejects.toMatchObject({ code: "RUNTIME_WRONG_STATE" });
  await runtime.remove("a");
  expect(await runtime.list()).toEqual([]);
});

test("after a reboot running containers are unknown, and ended ones keep their exit", async () => {
  const runtime = await started("a");
  await runtime.create({ id: "b", image: "box" });
  await runtime.start("b");
  runtime.machine.exit("b", 3);
  runtime.machine.reboot();
  expect((await runtime.list()).map(({ state }) => state)).toMatchObject([
    { kind: "unknown", cause: "reboot" },
    { kind: "exited", exit: { code: 3 } },
  ]);
  await expect(runtime.wait("a")).rejects.toMatchObject({ code: "RUNTIME_WRONG_STATE" });
});

test("a local image is used when the registry fails, and is reported as local", async () => {
  const runtime = await started("a");
  const { digest } = await runtime.inspectImage("box");
  for (const failure of [
    { code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry: "docker.io" },
    { code: "RUNTIME_REGISTRY_REFUSED", registry: "docker.io", status: 408 },
    { code: "RUNTIME_IMAGE_NOT_FOUND", ref: "box" },
  ] as const) {
    runtime.machine.fail("pull", failure);
    runtime.machine.fail("resolveImage", failure);
    const source = { kind: "local", because: { code: failure.code } };
    expect(await runtime.pull("box")).toMatchObject({ digest, source });
    expect(await runtime.resolveImage("box")).toMatchObject({ digest, source });
  }
  runtime.machine.unpublish("box");
  expect(await runtime.pull(`box@${digest}`)).toMatchObject({ source: { kind: "local" } });
});

test("a pull needs the login that is set", async () => {
  const runtime = new FakeRuntime();
  const auth = { username: "me", password: "p" };
  runtime.machine.publish("r.test/secret", { auth });
  await expect(runtime.pull("r.test/secret")).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED" });
  let done = 0;
  await runtime.pull("r.test/secret", { auth, onProgress: ({ doneBytes }) => (done = doneBytes) });
  expect(done).toBeGreaterThan(0);
});

test("a terminal's size and signals reach the program of an exec", async () => {
  const runtime = await started("a");
  const seen: unknown[] = [];
  runtime.machine.program = (process) => {
    process.onResize((columns, rows) => seen.push([columns, rows]));
    process.onSignal((signal) => seen.push(signal));
  };
  const process = await runtime.exec("a", { args: ["sh"], tty: true });
  await process.resize(100, 30);
  await process.signal("HUP");
  expect(seen).toEqual([[100, 30], "SIGHUP"]);
  await process.signal("KILL");
  expect((await process.exit).code).toBe(137);
});

test("a scripted process writes, is killed for memory, and has usage", async () => {
  const runtime = await started("a");
  runtime.machine.write("a", "stderr", "hello\n");
  runtime.machine.setStats("a", {
    cpuUsageNs: 5n,
    memoryBytes: 6,
    memoryLimitBytes: undefined,
    pids: 7,
    readBytes: 0n,
    writeBytes: 0n,
  });
  expect(await runtime.stats("a")).toMatchObject({ cpuUsageNs: 5n, pids: 7 });
  runtime.machine.outOfMemory("a");
  expect(await runtime.wait("a")).toMatchObject({ code: 137, oomKilled: true });
  for await (const line of runtime.logs("a")) expect(line).toMatchObject({ stream: "stderr", partial: false });
  expect(() => runtime.machine.exit("a", 0)).toThrow("does not run");
  expect(() => runtime.machine.exit("b", 0)).toThrow("no such container");
  expect((await runtime.info()).version).toBe("fake 1");
});
