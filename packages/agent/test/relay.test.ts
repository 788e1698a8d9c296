import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  LeaseReport_State,
  RestartPolicy_Condition,
  TaskState,
  type PortForwardRequest,
  type RelayUp,
} from "@warren/api";
import { until } from "@warren/std/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { numberedSlot } from "@warren/api/model";
import type { OpenRelay } from "../src/testing/index.ts";
import { ignoresSignals, image, World, type GivenLease } from "./fakes/world.ts";

/** A world with `count` running tasks, which are not restarted. */
async function running(count: number): Promise<{ world: World; ids: string[]; given: GivenLease[] } & AsyncDisposable> {
  const world = new World();
  world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
  await world.start();
  const given = Array.from({ length: count }, (_, at) => world.give(`svc.${at + 1}`));
  await world.untilRunning(...given);
  return {
    world,
    given,
    ids: given.map(({ task }) => task),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
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
  test("of several tasks are sent in the order of time, with every field of a line", async () => {
    await using rig = await running(2);
    const { world } = rig;
    const [a = "", b = ""] = rig.ids;
    for (let n = 1; n <= 6; n += 1) {
      world.machine.write(n % 2 === 0 ? a : b, n === 3 ? "stderr" : "stdout", `line ${n}\n`);
      world.clock.advance(1);
    }
    const { up, ended } = await relay(world, logs([a, b, "unheard of"]));
    await ended;
    expect(lines(up)).toEqual([
      `${b} line 1`,
      `${a} line 2`,
      `${b} line 3`,
      `${a} line 4`,
      `${b} line 5`,
      `${a} line 6`,
    ]);
    const sent = up.flatMap(({ message }) => (message?.$case === "logs" ? message.value.lines : []));
    expect(sent[2]).toMatchObject({
      stderr: true,
      serviceName: "web",
      slot: numberedSlot(2),
      nodeId: world.agent.nodeId,
    });
    expect(sent[2]?.at?.getTime()).toBe(world.clock.now() - 4);
  });

  test("respect since and tail, for each task", async () => {
    await using rig = await running(2);
    const { world } = rig;
    const [a = "", b = ""] = rig.ids;
    for (let n = 1; n <= 4; n += 1) {
      for (const id of [a, b]) world.machine.write(id, "stdout", `${n}\n`);
      world.clock.advance(1_000);
    }
    const tailed = await relay(world, logs([a, b], { tail: 1 }));
    await tailed.ended;
    expect(lines(tailed.up)).toEqual([`${a} 4`, `${b} 4`]);
    const since = await relay(world, logs([a], { since: new Date(world.clock.now() - 2_000) }));
    await since.ended;
    expect(lines(since.up)).toEqual([`${a} 3`, `${a} 4`]);
  });

  test("are followed until the caller disconnects", async () => {
    await using rig = await running(2);
    const { world } = rig;
    const [a = "", b = ""] = rig.ids;
    world.machine.write(a, "stdout", "before\n");
    const { up, down, ended } = await relay(world, logs([a, b], { follow: true }));
    await world.until("what was there is sent", () => lines(up).length === 1);
    world.machine.write(b, "stdout", "after\n");
    await world.until("what comes is sent", () => lines(up).length === 2);
    down.push({ message: { $case: "end", value: true } });
    await ended;
    world.machine.write(b, "stdout", "too late\n");
    expect(lines(up)).toEqual([`${a} before`, `${b} after`]);
  });

  test("of a task that has not started are waited for; they end with it, and can be read after its end", async () => {
    await using world = new World();
    const pulls = world.machine.hold("pull");
    await world.start();
    const { task: a } = world.give("svc.1");
    await world.until("it is pulling", () => pulls.waiting === 1);
    const { up, ended } = await relay(world, logs([a], { follow: true }));
    pulls.release();
    await world.untilState(a, TaskState.RUNNING);
    world.machine.write(a, "stdout", "hello\n");
    world.machine.exit(a, 0);
    await ended;
    expect(lines(up)).toEqual([`${a} hello`]);
    const later = await relay(world, logs([a]));
    await later.ended;
    expect(lines(later.up)).toEqual([`${a} hello`]);
  });

  test("of tasks that are not on this node are refused", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const { up, ended } = await relay(world, logs(["x"]));
    await ended;
    expect(failure(up)).toMatchObject({ code: "API_NOT_FOUND", reason: "API_NOT_FOUND", fields: { kind: "task" } });
  });

  test("of a hundred thousand lines arrive complete and in order, many in a message", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    const count = 100_000;
    world.machine.write(a, "stdout", Array.from({ length: count }, (_, n) => `${n}\n`).join(""));
    const { up, ended } = await relay(world, logs([a]));
    await ended;
    const sent = lines(up);
    expect(sent).toHaveLength(count);
    expect(sent[count - 1]).toBe(`${a} ${count - 1}`);
    expect(sent.every((line, n) => line === `${a} ${n}`)).toBe(true);
    expect(up.length).toBeLessThan(count / 100);
  }, 60_000);

  test("that can't be read are refused with the failure", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    world.machine.fail("logs", { code: "RUNTIME_UNAVAILABLE" });
    const { up, ended } = await relay(world, logs([a]));
    await ended;
    expect(failure(up)).toMatchObject({ code: "API_UNAVAILABLE" });
  });

  test("without new lines do not delay those of other tasks", async () => {
    await using rig = await running(2);
    const { world } = rig;
    const [quiet = "", busy = ""] = rig.ids;
    const { up } = await relay(world, logs([quiet, busy], { follow: true }));
    for (let n = 0; n < 5; n += 1) {
      world.machine.write(busy, "stdout", `${n}\n`);
      await world.until("it is sent", () => lines(up).length === n + 1);
    }
  });
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
  test("starts a process, carries its input and output, and reports its exit code", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    world.machine.program = (process) => {
      expect(process.exec).toMatchObject({ args: ["sh", "-c", "x"], env: { A: "1" }, tty: false });
      void (async () => {
        for await (const chunk of process.stdin) await process.write("stdout", `got ${Buffer.from(chunk).toString()}`);
        await process.write("stderr", "end of input");
        process.exit(9);
      })();
    };
    const { up, down, ended } = await relay(world, exec(a));
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
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
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
    const { up, down, ended } = await relay(world, exec(a, open));
    down.push({
      message: { $case: "exec", value: { message: { $case: "resize", value: { columns: 80, rows: 24 } } } },
    });
    down.push({ message: { $case: "exec", value: { message: { $case: "signal", value: "INT" } } } });
    await ended;
    expect(seen).toEqual([[true, "app", "/srv"], [100, 30], [80, 24], "SIGINT"]);
    expect(outputs(up).at(-1)).toEqual(["exitCode", 130]);
  });

  test("ends with its caller: by SIGHUP, and by SIGKILL if it ignores that", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    const signals: string[] = [];
    world.machine.program = (process) => process.onSignal((signal) => signals.push(signal));
    const { up, down } = await relay(world, exec(a));
    await world.until("it runs", () => outputs(up).length === 1);
    down.push({ message: { $case: "end", value: true } });
    await world.until("it is hung up", () => signals.length === 1);
    expect(signals).toEqual(["SIGHUP"]);
    const container = world.machine.containers.get(a);
    await world.until("it is killed", () => container?.execs.size === 0);
  });

  test.each([
    ["is not here", "x", "API_NOT_FOUND"],
    ["does not run", "ended", "API_PRECONDITION"],
  ])("in a task that %s is refused", async (_what, which, code) => {
    await using rig = await running(2);
    const { world } = rig;
    const [, over = ""] = rig.ids;
    world.machine.exit(over, 0);
    await world.untilState(over, TaskState.COMPLETE);
    const { up, ended } = await relay(world, exec(which === "x" ? "x" : over));
    await ended;
    expect(failure(up)).toMatchObject({ code });
  });

  test("of a program that can't be started is refused with the reason, and so is an unknown signal", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    world.machine.fail("exec", { code: "RUNTIME_SPEC_INVALID", field: "args" });
    const refused = await relay(world, exec(a));
    await refused.ended;
    expect(failure(refused.up)).toMatchObject({ code: "API_INVALID" });
    const { up, down, ended } = await relay(world, exec(a));
    down.push({ message: { $case: "exec", value: { message: { $case: "signal", value: "NONSENSE" } } } });
    await ended;
    expect(failure(up)).toMatchObject({ code: "API_INVALID" });
  });
});

test("stats are of running tasks only", async () => {
  await using rig = await running(3);
  const { world } = rig;
  const [a = "", b = "", c = ""] = rig.ids;
  world.machine.exit(c, 0);
  await world.untilState(c, TaskState.COMPLETE);
  world.machine.setStats(a, {
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
    taskId: a,
    serviceName: "web",
    slot: numberedSlot(1),
    nodeId: world.agent.nodeId,
    at: new Date(world.clock.now()),
    cpuUsageNs: 5,
    memoryBytes: 6,
    memoryLimitBytes: 0,
    pids: 7,
    readBytes: 8,
    writeBytes: 9,
  });
  const one = await relay(world, { $case: "stats", value: { taskIds: [b, c, "x"] } });
  await one.ended;
  expect(of(one)).toHaveLength(1);
});

test("relays beyond the limit are refused; ended ones make room; a session's end ends its relays", async () => {
  await using world = await World.started({ maxRelays: 2 });
  const { task: a } = world.give("svc.1");
  await world.untilState(a, TaskState.RUNNING);
  const first = await relay(world, logs([a], { follow: true }));
  const second = await relay(world, logs([a], { follow: true }));
  const third = await relay(world, logs([a], { follow: true }));
  await third.ended;
  expect(failure(third.up)).toMatchObject({ code: "API_EXHAUSTED", remedy: "end some, or try later" });
  first.down.push({ message: { $case: "end", value: true } });
  await first.ended;
  await world.pass(50);
  const fourth = await relay(world, logs([a], { follow: true }));
  world.machine.write(a, "stdout", "x\n");
  await world.until("it is served", () => lines(fourth.up).length === 1 && lines(second.up).length === 1);
  world.manager.disconnect();
  await Promise.all([second.ended, fourth.ended]);
});

test("an unknown request is refused, not ignored", async () => {
  await using rig = await running(1);
  const { world } = rig;
  world.manager.relay({ relayId: "odd", what: undefined });
  await world.until("it is answered", () => failure(world.manager.relays.get("odd")?.up ?? []) !== undefined);
  expect(failure(world.manager.relays.get("odd")?.up ?? [])).toMatchObject({
    code: "API_UNIMPLEMENTED",
    remedy: "upgrade it",
  });
});

test("an image reference is resolved by this node's registries; a local result has the reason", async () => {
  await using rig = await running(1);
  const { world } = rig;
  const { digest } = world.machine.publish("registry.example/app:2");
  const answers = ({ up }: OpenRelay): unknown[] =>
    up.flatMap(({ message }) => (message?.$case === "image" ? [message.value] : []));
  const ask = (ref: string): Promise<OpenRelay> =>
    relay(world, { $case: "image", value: { image: ref, auth: undefined } });
  const first = await ask("registry.example/app:2");
  await first.ended;
  expect(answers(first)).toMatchObject([{ digest, localReason: "" }]);
  world.machine.fail("resolveImage", { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: "registry.example" });
  const here = await ask(image);
  await here.ended;
  expect(answers(here)).toMatchObject([{ digest: world.machine.publish(image).digest }]);
  expect((answers(here)[0] as { localReason: string }).localReason).not.toBe("");
  const missing = await ask("registry.example/none:1");
  await missing.ended;
  expect(failure(missing.up)).toMatchObject({ code: "API_NOT_FOUND" });
});

describe("a forwarded port", () => {
  const forward = (ref: string, port: number): What => ({ $case: "portForward", value: { ref, port } });
  const received = (up: readonly RelayUp[]): string[] =>
    up.flatMap(({ message }) => {
      const inner = message?.$case === "portForward" ? message.value.message : undefined;
      return inner === undefined ? [] : [inner.$case === "data" ? inner.value.toString() : inner.$case];
    });

  test("is a connection to the container, both ways, until its side ends", async () => {
    const world = new World();
    await using _ = world;
    world.machine.program = (process) => process.listen(80, ({ readable, writable }) => void readable.pipeTo(writable));
    await world.start();
    const given = world.give("svc.1");
    await world.untilRunning(given);
    const { up, down, ended } = await relay(world, forward(given.task, 80));
    const send = (message: NonNullable<PortForwardRequest["message"]>): void =>
      void down.push({ message: { $case: "portForward", value: { message } } });
    send({ $case: "data", value: Buffer.from("ping") });
    await world.until("it comes back", () => received(up).length === 2);
    send({ $case: "dataEnd", value: true });
    await ended;
    expect(received(up)).toEqual(["connected", "ping"]);
    expect(up.at(-1)?.message?.$case).toBe("done");
  });

  test("where nothing listens, or nothing runs, is refused", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const [a = ""] = rig.ids;
    const closed = await relay(world, forward(a, 81));
    await closed.ended;
    expect(failure(closed.up)).toMatchObject({
      code: "API_PRECONDITION",
      message: expect.stringContaining("nothing listens on port 81 of the task") as string,
    });
    const missing = await relay(world, forward("none", 80));
    await missing.ended;
    expect(failure(missing.up)).toMatchObject({ code: "API_NOT_FOUND" });
  });

  test("that the container does not read ends with the worker's session", async () => {
    const world = new World();
    await using _ = world;
    world.machine.program = (process) => process.listen(80, () => undefined);
    await world.start();
    const given = world.give("svc.1");
    await world.untilRunning(given);
    const { up, down } = await relay(world, forward(given.task, 80));
    await world.until("it is connected", () => received(up).length === 1);
    const value = { message: { $case: "data" as const, value: Buffer.from("unread") } };
    for (let sent = 0; sent < 10; sent += 1) void down.push({ message: { $case: "portForward", value } });
    await world.pass(100);
    await world.agent.close();
    expect(received(up)).toEqual(["connected"]);
  });
});

describe("what a node has", () => {
  const mounts = [{ target: "/d", source: { $case: "volume" as const, value: { name: "db" } } }];

  test("volumes are listed with the services that mount them, and deleted once none does", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "warren-volumes-"));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    await using world = new World({ dataDir });
    await world.start();
    const given = world.give("svc.1", { spec: { container: { mounts } }, versionId: "v" });
    await world.untilRunning(given);
    const answer = async (what: What): Promise<readonly RelayUp[]> => {
      const asked = await relay(world, what);
      await asked.ended;
      return asked.up;
    };
    const list = async (): Promise<unknown[]> =>
      (await answer({ $case: "volumes", value: {} })).flatMap(({ message }) =>
        message?.$case === "volumes" ? message.value.volumes.map(({ name, services }) => [name, services]) : [],
      );
    const remove = (name: string): Promise<readonly RelayUp[]> => answer({ $case: "deleteVolume", value: { name } });
    expect(await list()).toEqual([["db", ["web"]]]);
    expect(failure(await remove("db"))).toMatchObject({
      code: "API_PRECONDITION",
      message: expect.stringContaining('volume "db" is mounted by tasks of web') as string,
    });
    expect(failure(await remove("nix"))).toMatchObject({ code: "API_NOT_FOUND" });
    world.release(given);
    await world.until("it is released", () => world.report(given)?.state === LeaseReport_State.RELEASED);
    world.manager.unassign("lease", given.key);
    world.manager.unassign("version", "v");
    await until("nothing mounts it", async () => JSON.stringify(await list()) === '[["db",[]]]');
    expect(failure(await remove("db"))).toBeUndefined();
    expect(await list()).toEqual([]);
  });

  test("no volume is deleted while a task still runs of which no manager says what it mounts", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "warren-volumes-"));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    await using world = new World({ dataDir });
    world.machine.program = ignoresSignals;
    await world.start();
    const stopGraceMs = 60_000;
    const given = world.give("svc.1", { spec: { container: { mounts, stopGraceMs } }, versionId: "v" });
    await world.untilRunning(given);
    const remove = async (): Promise<unknown> => {
      const asked = await relay(world, { $case: "deleteVolume", value: { name: "db" } });
      await asked.ended;
      return failure(asked.up);
    };
    // As after a backup that lacks the lease: its task is ended, which takes its grace.
    world.manager.unassign("lease", given.key);
    world.manager.unassign("version", "v");
    await world.until("it is being stopped", () => world.report(given)?.state === LeaseReport_State.RELEASING);
    expect(await remove()).toMatchObject({
      code: "API_PRECONDITION",
      message: expect.stringContaining("tasks of web") as string,
    });
    expect(await readdir(join(dataDir, "volumes", "db"))).toEqual([]);
    await world.until("it is released", () => world.report(given)?.state === LeaseReport_State.RELEASED);
    expect(await remove()).toBeUndefined();
  });

  test("images are listed with their size and the services that use them, and those that none uses removed", async () => {
    await using rig = await running(1);
    const { world } = rig;
    const old1 = "registry.example/old:1";
    world.machine.images.set(old1, { ref: old1, digest: world.machine.publish(old1).digest });
    const answer = async (what: What): Promise<unknown[]> => {
      const asked = await relay(world, what);
      await asked.ended;
      return asked.up.flatMap(({ message }) =>
        message?.$case === "images"
          ? message.value.images.map((one) => [one.ref, one.services, one.sizeBytes > 0])
          : [],
      );
    };
    const used = [image, ["web"], true];
    const old = ["registry.example/old:1", [], true];
    expect(await answer({ $case: "images", value: {} })).toEqual(expect.arrayContaining([used, old]));
    expect(await answer({ $case: "pruneImages", value: {} })).toEqual([old]);
    expect(await answer({ $case: "images", value: {} })).toEqual([used]);
  });
});

test("the log of a forgotten lease can still be read for a time", async () => {
  await using rig = await running(1);
  const { world } = rig;
  const [a = ""] = rig.ids;
  const [given] = rig.given;
  if (given === undefined) throw new Error("nothing runs");
  world.machine.write(a, "stdout", "last words\n");
  world.release(given);
  await world.until("it is forgotten", () => !world.manager.leases.has(given.key));
  const { up, ended } = await relay(world, logs([a]));
  await ended;
  expect(lines(up)).toEqual([`${a} last words`]);
});

test("a registry is asked whether it accepts a login, and its refusal is the answer", async () => {
  await using rig = await running(1);
  const { world } = rig;
  world.machine.publish("registry.example/private:1", { auth: { username: "me", password: "secret" } });
  const ask = async (password: string): Promise<OpenRelay> => {
    const auth = { username: "me", password };
    const asked = await relay(world, { $case: "registryLogin", value: { registry: "registry.example", auth } });
    await asked.ended;
    return asked;
  };
  expect((await ask("secret")).up.map(({ message }) => message)).toContainEqual({
    $case: "loginAccepted",
    value: true,
  });
  expect(failure((await ask("wrong")).up)).toMatchObject({ code: "API_DENIED" });
});
