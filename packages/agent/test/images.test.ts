import { RestartPolicy_Condition, TaskState } from "@warren/api";
import { RuntimeError } from "@warren/runtime";
import { FakeMachine, FakeRuntime } from "@warren/runtime/testing";
import { FakeClock, RecordingLogger } from "@warren/std/testing";
import { expect, test } from "vitest";
import { Images } from "../src/images.ts";
import { image, World } from "./fakes/world.ts";

test("an image is removed when no task has used it for a while, and not before", async () => {
  await using world = new World({ imageGraceMs: 60_000, keepEndedMs: 0 });
  world.machine.publish("registry.example/two:1");
  await world.start();
  const t1 = world.give("svc.1");
  const t2 = world.give("svc.2", { spec: { container: { image: "registry.example/two:1" } } });
  await world.untilRunning(t1, t2);
  world.manager.unassign("lease", t2.key);
  world.manager.unassign("version", t2.lease.versionId);
  await world.until("it is gone", () => world.agent.tasks().length === 1);
  await world.pass(59_000);
  expect(world.machine.images.size).toBe(2);
  await world.pass(2_000);
  expect([...world.machine.images.keys()]).toEqual(["registry.example/web:1"]);
});

test("a settled lease keeps its image; an image that is used again is kept", async () => {
  await using world = new World({ imageGraceMs: 60_000, keepEndedMs: 0 });
  world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
  await world.start();
  const t1 = await world.run("svc.1");
  world.machine.exit(t1.task, 0);
  await world.untilState(t1.task, TaskState.COMPLETE);
  await world.pass(120_000);
  expect(world.machine.images.size).toBe(1);
  world.manager.unassign("lease", t1.key);
  world.manager.unassign("version", t1.lease.versionId);
  await world.pass(30_000);
  await world.run("svc.1");
  await world.pass(120_000);
  expect(world.machine.images.size).toBe(1);
});

test("a version with an image digest runs that image, wherever its tag leads now, and asks no registry again", async () => {
  await using world = new World();
  const { digest } = world.machine.publish(image);
  await world.start();
  const given = await world.run("svc.1", { imageDigest: digest });
  expect(world.manager.statuses.get(given.task)?.container?.imageDigest).toBe(digest);
  const { digest: next } = world.machine.publish(image, { digest: `sha256:${"2".repeat(64)}` });
  expect(next).not.toBe(digest);
  world.machine.exit(given.task, 1);
  await world.until("it runs again", () => world.running("svc.1").length === 1);
  await world.until("it is reported", () => world.report(given)?.runs.at(-1)?.status?.state === TaskState.RUNNING);
  expect(world.report(given)?.runs.map(({ status }) => status?.container?.imageDigest)).toEqual([digest, digest]);
  expect(world.report(given)?.imageDigest).toBe(digest);
  // Without a digest the registry resolves the tag.
  const other = await world.run("svc.2");
  expect(world.manager.statuses.get(other.task)?.container?.imageDigest).toBe(next);
});

test("images that are unused when the worker starts are collected too", async () => {
  await using world = new World({ imageGraceMs: 60_000, keepEndedMs: 0 });
  world.machine.images.set("registry.example/old:1", { ref: "registry.example/old:1", digest: "sha256:0" });
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted);
  await world.pass(61_000);
  expect(world.machine.images.size).toBe(0);
});

test("a pull that does not fit on the disk removes unused images at once, and is tried once more", async () => {
  await using world = new World();
  world.machine.images.set("registry.example/old:1", { ref: "registry.example/old:1", digest: "sha256:0" });
  await world.start();
  await world.until("it is connected", () => world.manager.connected);
  world.machine.fail("pull", { code: "RUNTIME_DISK_FULL" });
  await world.run("svc.1");
  expect([...world.machine.images.keys()]).toEqual(["registry.example/web:1"]);
  world.machine.publish("registry.example/big:1");
  world.machine.fail("pull", { code: "RUNTIME_DISK_FULL" });
  const t2 = world.give("svc.2", { spec: { container: { image: "registry.example/big:1" } } });
  await world.untilState(t2.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t2.task)?.code).toBe("RUNTIME_DISK_FULL");
});

test("a pull goes on while a task waits for it, and is aborted with the last one", async () => {
  const machine = new FakeMachine();
  machine.publish("registry.example/a:1");
  const runtime = new FakeRuntime(machine);
  const images = new Images(
    { runtime, clock: new FakeClock(), log: new RecordingLogger() },
    1_000,
    () => [],
    async () => 0,
  );
  const hold = machine.hold("pull");
  const [first, second] = [new AbortController(), new AbortController()];
  const pull = (signal: AbortSignal): Promise<unknown> => images.pull("registry.example/a:1", undefined, signal);
  const one = pull(first.signal);
  const two = pull(second.signal);
  first.abort(new Error("first has gone"));
  await expect(one).rejects.toThrow("first has gone");
  const three = pull(new AbortController().signal);
  second.abort(new Error("second has gone"));
  await expect(two).rejects.toThrow("second has gone");
  hold.release();
  await expect(three).resolves.toMatchObject({ ref: "registry.example/a:1" });
  expect(machine.calls).toHaveLength(1);
  const last = new AbortController();
  const again = machine.hold("pull");
  const four = pull(last.signal);
  last.abort(new Error("nobody is left"));
  await expect(four).rejects.toThrow("nobody is left");
  await new Promise((resolve) => setImmediate(resolve));
  expect(again.waiting).toBe(0);
});

test.each(["pull", "create"] as const)(
  "where the disk is full in a %s, what is kept for its log goes first, then unused images",
  async (call) => {
    await using world = new World();
    const other = "registry.example/two:1";
    world.machine.publish(other);
    await world.start();
    const [gone, crashed] = [world.give("svc.1", { spec: { container: { image: other } } }), world.give("svc.2")];
    await world.untilRunning(gone, crashed);
    world.manager.unassign("lease", gone.key);
    world.manager.unassign("version", gone.lease.versionId);
    await world.until(
      "its container is kept for its log",
      () => world.machine.containers.get(gone.task)?.state.kind === "exited",
    );
    world.machine.exit(crashed.task, 1);
    await world.until("another run is there", () => world.running("svc.2").length === 1);
    expect(world.machine.containers.size).toBe(3);
    let full = true;
    world.fault = (made) => {
      if (made !== `runtime.${call}` || !full) return undefined;
      full = world.machine.containers.has(gone.task) || world.machine.images.has(other);
      return full ? new RuntimeError({ code: "RUNTIME_DISK_FULL" }, "no space left on device") : undefined;
    };
    world.machine.publish("registry.example/new:1");
    await world.run("svc.3", { spec: { container: { image: "registry.example/new:1" } } });
    expect([...world.machine.images.keys()].toSorted()).toEqual(["registry.example/new:1", image]);
    // Running containers, and the newest run of each lease, are kept.
    expect(world.running("svc.2")).toHaveLength(1);
    expect(world.machine.containers.size).toBe(2);
  },
);

test("how far a pull is, is reported for each task that waits for it, from time to time, and no longer once it has run", async () => {
  await using world = new World();
  const hold = world.machine.hold("pull");
  await world.start();
  const tasks = [world.give("svc.1").task, world.give("svc.2").task];
  await world.until("it pulls", () => hold.waiting === 1 && world.machine.pulling.size === 1);
  const pulls = (): unknown[] => tasks.map((task) => world.manager.statuses.get(task)?.pull);
  world.machine.pulled({ doneBytes: 1, totalBytes: 9 });
  await world.pass(1_000);
  expect(pulls()).toEqual([undefined, undefined]);
  world.machine.pulled({ doneBytes: 2, totalBytes: 9 });
  world.machine.pulled({ doneBytes: 3, totalBytes: 9 });
  const reported = { doneBytes: 2, totalBytes: 9 };
  await world.until("it is reported", () => pulls().every((pull) => pull !== undefined));
  expect(pulls()).toEqual([expect.objectContaining(reported), expect.objectContaining(reported)]);
  hold.release();
  for (const task of tasks) await world.untilState(task, TaskState.RUNNING);
  expect(pulls()).toEqual([undefined, undefined]);
});

test("a task that was refused its image is tried again as soon as there is another login, and not before its time without", async () => {
  await using world = new World();
  const auth = { username: "me", password: "secret" };
  world.machine.publish("registry.example/private:1", { auth });
  await world.start();
  const restart = { delayMs: 600_000 };
  const given = world.give("svc.1", { spec: { container: { image: "registry.example/private:1" }, restart } });
  await world.untilState(given.task, TaskState.REJECTED);
  const runs = (): number =>
    [...world.machine.containers.values()].filter(({ state }) => state.kind === "running").length;
  world.manager.assign("registry", "registry.example", {
    registry: "registry.example",
    auth: { ...auth, password: "wrong" },
  });
  const pulls = (): number => world.machine.calls.filter(({ call }) => call === "pull").length;
  await world.until("it is tried with that", () => pulls() === 2);
  expect(runs()).toBe(0);
  world.manager.assign("registry", "other.example", { registry: "other.example", auth });
  world.manager.assign("registry", "registry.example", { registry: "registry.example", auth });
  await world.until("it runs", () => runs() === 1);
  expect(pulls()).toBe(3);
});
