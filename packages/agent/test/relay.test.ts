import { TaskState, type RelayUp } from "@warren/api";
import { describe, expect, test } from "vitest";
import { mergeLines } from "../src/relay-logs.ts";
import { task, World } from "./fakes/world.ts";
import type { OpenRelay } from "./fakes/fake-manager.ts";

async function running(...ids: string[]): Promise<World> {
  const world = new World();
  await world.start();
  for (const [at, id] of ids.entries()) world.manager.assign(task(id, { slot: at + 1 }));
  for (const id of ids) await world.untilState(id, TaskState.RUNNING);
  return world;
}

type What = NonNullable<Parameters<World["manager"]["relay"]>[0]["what"]>;

let relays = 0;
async function relay(world: World, what: What): Promise<OpenRelay> {
  relays += 1;
  const relayId = `relay-${relays}`;
  world.manager.relay({ relayId, what });
  await world.until("the relay is open", () => world.manager.relays.has(relayId));
  const open = world.manager.relays.get(relayId);
  if (open === undefined) throw new Error("the relay is not open");
  return open;
}

const logs = (taskIds: string[], more: { follow?: boolean; since?: Date; tail?: number } = {}): What => ({
  $case: "logs",
  value: { taskIds, follow: false, since: undefined, ...more },
});
const lines = (up: readonly RelayUp[]): string[] =>
  up.flatMap(({ message }) =>
    message?.$case === "logs" ? message.value.lines.map(({ line, taskId }) => `${taskId} ${line.toString()}`) : [],
  );
const failure = (up: readonly RelayUp[]): unknown => {
  const last = up.at(-1)?.message;
  return last?.$case === "failure" ? last.value : undefined;
};

describe("logs", () => {
  test("of several tasks are told by time, with all that is known of a line", async () => {
    await using world = await running("a", "b");
    for (let n = 1; n <= 6; n += 1) {
      world.machine.write(n % 2 === 0 ? "a" : "b", n === 3 ? "stderr" : "stdout", `line ${n}\n`);
      world.clock.advance(1);
    }
    const { up, ended } = await relay(world, logs(["a", "b", "unheard of"]));
    await ended;
    expect(lines(up)).toEqual(["b line 1", "a line 2", "b line 3", "a line 4", "b line 5", "a line 6"]);
    const told = up.flatMap(({ message }) => (message?.$case === "logs" ? message.value.lines : []));
    expect(told[2]).toMatchObject({ stderr: true, serviceName: "web", slot: 2, nodeId: world.agent.nodeId });
    expect(told[2]?.at?.getTime()).toBe(world.clock.now() - 4);
  });

  test("keep to since and tail, of each task", async () => {
    await using world = await running("a", "b");
    for (let n = 1; n <= 4; n += 1) {
      for (const id of ["a", "b"]) world.machine.write(id, "stdout", `${n}\n`);
      world.clock.advance(1_000);
    }
    const tailed = await relay(world, logs(["a", "b"], { tail: 1 }));
    await tailed.ended;
    expect(lines(tailed.up)).toEqual(["a 4", "b 4"]);
    const since = await relay(world, logs(["a"], { since: new Date(world.clock.now() - 2_000) }));
    await since.ended;
    expect(lines(since.up)).toEqual(["a 3", "a 4"]);
  });

  test("go on as they are written, until the caller goes", async () => {
    await using world = await running("a", "b");
    world.machine.write("a", "stdout", "before\n");
    const { up, down, ended } = await relay(world, logs(["a", "b"], { follow: true }));
    await world.until("what was there is told", () => lines(up).length === 1);
    world.machine.write("b", "stdout", "after\n");
    await world.until("what comes is told", () => lines(up).length === 2);
    down.push({ message: { $case: "end", value: true } });
    await ended;
    world.machine.write("b", "stdout", "too late\n");
    expect(lines(up)).toEqual(["a before", "b after"]);
  });

  test("of a task that has yet to start are waited for; they end with it, and are kept when it has ended", async () => {
    await using world = new World();
    const pulls = world.machine.hold("pull");
    await world.start();
    world.manager.assign(task("a"));
    await world.until("it is pulling", () => pulls.waiting === 1);
    const { up, ended } = await relay(world, logs(["a"], { follow: true }));
    pulls.release();
    await world.untilState("a", TaskState.RUNNING);
    world.machine.write("a", "stdout", "hello\n");
    world.machine.exit("a", 0);
    await ended;
    expect(lines(up)).toEqual(["a hello"]);
    const later = await relay(world, logs(["a"]));
    await later.ended;
    expect(lines(later.up)).toEqual(["a hello"]);
  });

  test("of tasks that are not here are refused", async () => {
    await using world = await running("a");
    const { up, ended } = await relay(world, logs(["x"]));
    await ended;
    expect(failure(up)).toMatchObject({ status: 5 });
  });

  test("of a hundred thousand lines arrive whole and in order, in messages of many", async () => {
    await using world = await running("a");
    const count = 100_000;
    world.machine.write("a", "stdout", Array.from({ length: count }, (_, n) => `${n}\n`).join(""));
    const { up, ended } = await relay(world, logs(["a"]));
    await ended;
    const told = lines(up);
    expect(told).toHaveLength(count);
    expect(told[count - 1]).toBe(`a ${count - 1}`);
    expect(told.every((line, n) => line === `a ${n}`)).toBe(true);
    expect(up.length).toBeLessThan(count / 100);
  });

  test("whose reading fails are told as failed", async () => {
    await using world = await running("a");
    world.machine.fail("logs", { code: "RUNTIME_UNAVAILABLE" });
    const { up, ended } = await relay(world, logs(["a"]));
    await ended;
    expect(failure(up)).toMatchObject({ status: 14 });
  });

  test("that have nothing for a while hold up no other", async () => {
    await using world = await running("quiet", "busy");
    const { up } = await relay(world, logs(["quiet", "busy"], { follow: true }));
    for (let n = 0; n < 5; n += 1) {
      world.machine.write("busy", "stdout", `${n}\n`);
      await world.until("it is told", () => lines(up).length === n + 1);
    }
  });
});

test("merging reads ahead no more than a line of each log, and ends them all when its reader goes", async () => {
  const read = [0, 0];
  const ended: number[] = [];
  const source = async function* (which: number) {
    try {
      for (;;) {
        read[which] = (read[which] ?? 0) + 1;
        yield { task: task("x"), line: { at: 0, stream: "stdout" as const, line: new Uint8Array(), partial: false } };
      }
    } finally {
      ended.push(which);
    }
  };
  let taken = 0;
  for await (const _line of mergeLines([source(0), source(1)], undefined)) {
    taken += 1;
    if (taken === 10) break;
  }
  await new Promise((resolve) => setImmediate(resolve));
  expect((read[0] ?? 0) + (read[1] ?? 0)).toBeLessThanOrEqual(12);
  expect(new Set(ended)).toEqual(new Set([0, 1]));
});

const exec = (ref: string, more: object = {}): What => ({
  $case: "exec",
  value: {
    ref,
    command: ["sh", "-c", "x"],
    env: { A: "1" },
    user: "",
    workingDir: "",
    tty: false,
    size: undefined,
    ...more,
  },
});
const outputs = (up: readonly RelayUp[]): unknown[] =>
  up.flatMap(({ message }) => {
    if (message?.$case !== "exec") return [];
    const { message: inner } = message.value;
    return [[inner?.$case, Buffer.isBuffer(inner?.value) ? inner.value.toString() : inner?.value]];
  });

describe("exec", () => {
  test("starts a process, carries what it reads and writes, and tells how it ended", async () => {
    await using world = await running("a");
    world.machine.program = (process) => {
      expect(process.exec).toMatchObject({ args: ["sh", "-c", "x"], env: { A: "1" }, tty: false });
      void (async () => {
        for await (const chunk of process.stdin) await process.write("stdout", `got ${Buffer.from(chunk).toString()}`);
        await process.write("stderr", "end of input");
        process.exit(9);
      })();
    };
    const { up, down, ended } = await relay(world, exec("a"));
    down.push({ message: { $case: "exec", value: { message: { $case: "stdin", value: Buffer.from("one") } } } });
    await world.until("it has read", () => outputs(up).length === 2);
    down.push({ message: { $case: "exec", value: { message: { $case: "stdin", value: Buffer.from("two") } } } });
    down.push({ message: { $case: "exec", value: { message: { $case: "stdinEnd", value: true } } } });
    await ended;
    expect(outputs(up)).toEqual([
      ["started", true],
      ["stdout", "got one"],
      ["stdout", "got two"],
      ["stderr", "end of input"],
      ["exitCode", 9],
    ]);
  });

  test("has a terminal of the caller's size, which follows it, and passes signals", async () => {
    await using world = await running("a");
    const seen: unknown[] = [];
    world.machine.program = (process) => {
      seen.push([process.exec?.tty, process.exec?.user, process.exec?.workingDir]);
      process.onResize((columns, rows) => seen.push([columns, rows]));
      process.onSignal((signal) => {
        seen.push(signal);
        process.exit(130);
      });
    };
    const open = { tty: true, size: { columns: 100, rows: 30 }, user: "app", workingDir: "/srv" };
    const { up, down, ended } = await relay(world, exec("a", open));
    down.push({
      message: { $case: "exec", value: { message: { $case: "resize", value: { columns: 80, rows: 24 } } } },
    });
    down.push({ message: { $case: "exec", value: { message: { $case: "signal", value: "INT" } } } });
    await ended;
    expect(seen).toEqual([[true, "app", "/srv"], [100, 30], [80, 24], "SIGINT"]);
    expect(outputs(up).at(-1)).toEqual(["exitCode", 130]);
  });

  test("ends with its caller: hung up, and killed if it does not heed that", async () => {
    await using world = await running("a");
    const signals: string[] = [];
    world.machine.program = (process) => process.onSignal((signal) => signals.push(signal));
    const { up, down } = await relay(world, exec("a"));
    await world.until("it runs", () => outputs(up).length === 1);
    down.push({ message: { $case: "end", value: true } });
    await world.until("it is hung up", () => signals.length === 1);
    expect(signals).toEqual(["SIGHUP"]);
    const container = world.machine.containers.get("a");
    await world.until("it is killed", () => container?.execs.size === 0);
  });

  test.each([
    ["is not here", "x", 5],
    ["does not run", "ended", 9],
  ])("in a task that %s is refused", async (_what, ref, status) => {
    await using world = await running("a", "ended");
    world.machine.exit("ended", 0);
    await world.untilState("ended", TaskState.COMPLETE);
    const { up, ended } = await relay(world, exec(ref));
    await ended;
    expect(failure(up)).toMatchObject({ status });
  });

  test("of what can't be started is refused with the reason; a signal that is none too", async () => {
    await using world = await running("a");
    world.machine.fail("exec", { code: "RUNTIME_SPEC_INVALID", field: "args" });
    const refused = await relay(world, exec("a"));
    await refused.ended;
    expect(failure(refused.up)).toMatchObject({ status: 3 });
    const { up, down, ended } = await relay(world, exec("a"));
    down.push({ message: { $case: "exec", value: { message: { $case: "signal", value: "NONSENSE" } } } });
    await ended;
    expect(failure(up)).toMatchObject({ status: 3 });
  });
});

test("stats are of the tasks that run", async () => {
  await using world = await running("a", "b", "c");
  world.machine.exit("c", 0);
  await world.untilState("c", TaskState.COMPLETE);
  world.machine.setStats("a", {
    cpuUsageNs: 5n,
    memoryBytes: 6,
    memoryLimitBytes: undefined,
    pids: 7,
    readBytes: 8n,
    writeBytes: 9n,
  });
  const all = await relay(world, { $case: "stats", value: { taskIds: [] } });
  await all.ended;
  const of = ({ up }: OpenRelay): unknown[] =>
    up.flatMap(({ message }) => (message?.$case === "stats" ? message.value.stats : []));
  expect(of(all)).toHaveLength(2);
  expect(of(all)[0]).toEqual({
    taskId: "a",
    serviceName: "web",
    slot: 1,
    nodeId: world.agent.nodeId,
    at: new Date(world.clock.now()),
    cpuUsageNs: 5,
    memoryBytes: 6,
    memoryLimitBytes: 0,
    pids: 7,
    readBytes: 8,
    writeBytes: 9,
  });
  const one = await relay(world, { $case: "stats", value: { taskIds: ["b", "c", "x"] } });
  await one.ended;
  expect(of(one)).toHaveLength(1);
});

test("more relays than are allowed are refused; those that end make room; a session's end ends its relays", async () => {
  await using world = new World({ maxRelays: 2 });
  await world.start();
  world.manager.assign(task("a"));
  await world.untilState("a", TaskState.RUNNING);
  const first = await relay(world, logs(["a"], { follow: true }));
  const second = await relay(world, logs(["a"], { follow: true }));
  const third = await relay(world, logs(["a"], { follow: true }));
  await third.ended;
  expect(failure(third.up)).toMatchObject({ status: 8 });
  first.down.push({ message: { $case: "end", value: true } });
  await first.ended;
  await world.pass(50);
  const fourth = await relay(world, logs(["a"], { follow: true }));
  world.machine.write("a", "stdout", "x\n");
  await world.until("it is served", () => lines(fourth.up).length === 1 && lines(second.up).length === 1);
  world.manager.disconnect();
  await Promise.all([second.ended, fourth.ended]);
});

test("what a worker does not know is refused, not ignored", async () => {
  await using world = await running("a");
  world.manager.relay({ relayId: "odd", what: undefined });
  await world.until("it is answered", () => failure(world.manager.relays.get("odd")?.up ?? []) !== undefined);
  expect(failure(world.manager.relays.get("odd")?.up ?? [])).toMatchObject({ status: 12 });
});
