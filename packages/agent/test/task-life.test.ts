import { TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { ignoresSignals, image, World } from "./fakes/world.ts";

test("an assigned task goes through all states to RUNNING, is attached and balanced", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  const status = world.manager.statuses.get(t1.task);
  expect(status?.message).toBe("running");
  expect(status?.container).toMatchObject({
    containerId: t1.task,
    pid: 1000,
    address: "10.77.1.2",
    imageDigest: world.machine.publish(image).digest,
  });
  expect(status?.container?.startedAt).toBeInstanceOf(Date);
  expect(world.network.attached.get(t1.task)).toMatchObject({ networks: ["net"] });
  expect(world.network.serving("svc")).toEqual(["10.77.1.2"]);
  const states = world.manager.states.get(t1.task) ?? [];
  expect(states).toEqual([...states].sort((a, b) => a - b));
  expect(world.manager.description).toMatchObject({
    hostname: "edge-1",
    os: "linux",
    architecture: "amd64",
    cpuNanos: 4e9,
    runtime: "fake 1",
    version: "1",
  });
});

test("a task waits in READY, created and attached, until its lease is held", async () => {
  await using world = await World.started();
  const t1 = world.offer("svc.1");
  await world.untilState(t1.task, TaskState.READY);
  expect(world.machine.containers.get(t1.task)?.state.kind).toBe("created");
  expect(world.network.serving("svc")).toEqual([]);
  world.hold(t1);
  await world.untilState(t1.task, TaskState.RUNNING);
});

test.each([
  [0, TaskState.COMPLETE, "ended with exit code 0", ""],
  [3, TaskState.FAILED, "ended with exit code 3", "AGENT_TASK_EXITED"],
])(
  "a task whose process ends with %i is reported so, detached, and its log kept",
  async (code, state, message, errorCode) => {
    await using world = await World.started({ keepEndedMs: 60_000 });
    const t1 = world.give("svc.1");
    await world.untilState(t1.task, TaskState.RUNNING);
    world.machine.write(t1.task, "stdout", "last words\n");
    world.machine.exit(t1.task, code);
    await world.untilState(t1.task, state);
    const status = world.manager.statuses.get(t1.task);
    expect(status).toMatchObject({ message, code: errorCode });
    expect(status?.container).toMatchObject({ exitCode: code, oomKilled: false, pid: 0 });
    expect(status?.container?.finishedAt?.getTime()).toBe(world.clock.now());
    await world.until("it is detached", () => !world.network.attached.has(t1.task));
    expect(world.network.serving("svc")).toEqual([]);
    expect(world.machine.containers.get(t1.task)?.state.kind).toBe("exited");
    world.manager.unassign("lease", t1.key);
    await world.pass(50_000);
    expect(world.machine.containers.get(t1.task)?.state.kind).toBe("exited");
    await world.until("its log is gone", () => !world.machine.containers.has(t1.task));
  },
);

test("a task that runs out of memory is reported as such, with its limit", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1", { spec: { resources: { memoryLimitBytes: 64 * 2 ** 20 } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  world.machine.outOfMemory(t1.task);
  await world.untilState(t1.task, TaskState.FAILED);
  const status = world.manager.statuses.get(t1.task);
  expect(status?.code).toBe("AGENT_OUT_OF_MEMORY");
  expect(status?.message).toBe("out of memory of 64 MiB: raise its memory limit (exit code 137)");
  expect(status?.container).toMatchObject({ exitCode: 137, oomKilled: true });
});

test("a container whose state is unknown to the runtime fails its task and is removed", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.machine.disconnect();
  world.machine.lose(t1.task);
  world.machine.reconnect();
  await world.untilState(t1.task, TaskState.FAILED);
  expect(world.manager.statuses.get(t1.task)?.code).toBe("AGENT_CONTAINER_LOST");
  await world.until("it is removed", () => !world.machine.containers.has(t1.task));
});

test.each([
  ["a missing image", { container: { image: "registry.example/none:1" } }, "RUNTIME_IMAGE_NOT_FOUND"],
  ["a name that is none", { container: { image: "NO SUCH" } }, "RUNTIME_REFERENCE_INVALID"],
  ["a wrong sysctl's name of a device", { container: { devices: [{ source: "relative" }] } }, "RUNTIME_SPEC_INVALID"],
  [
    "a bind mount of what is not there",
    { container: { mounts: [{ source: { $case: "bind" as const, value: { path: "/no/such/path" } }, target: "/x" }] } },
    "AGENT_BIND_MISSING",
  ],
  ["a label that is ours", { container: { labels: { "warren.task": "x" } } }, "AGENT_SPEC_INVALID"],
])("%s rejects the task with the reason, and leaves nothing", async (_what, spec, code) => {
  await using world = await World.started();
  const t1 = world.give("svc.1", { spec });
  await world.untilState(t1.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t1.task)?.code).toBe(code);
  expect(world.manager.statuses.get(t1.task)?.message).not.toBe("");
  expect(world.machine.containers.size).toBe(0);
  expect(world.network.attached.size).toBe(0);
});

test("a task whose interface can't be created is rejected with the reason, and its container is removed", async () => {
  await using world = await World.started();
  world.network.failures.push({ call: "attach", message: "all addresses are in use" });
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t1.task)?.message).toBe(
    "its interface with address 10.77.1.2 can't be made: all addresses are in use",
  );
  await world.until("it is removed", () => !world.machine.containers.has(t1.task));
});

test("a program that can't be started rejects its task", async () => {
  await using world = await World.started();
  world.machine.fail("start", { code: "RUNTIME_SPEC_INVALID", field: "command" });
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.REJECTED);
  await world.until("it is removed", () => !world.machine.containers.has(t1.task));
  expect(world.network.attached.size).toBe(0);
});

test("a container that the runtime loses during its start is replaced by another run, which is no failure", async () => {
  await using world = new World();
  const starts = world.machine.hold("start");
  await world.start();
  const t1 = world.give("svc.1");
  await world.until("it is about to start", () => starts.waiting === 1);
  world.machine.lose(t1.task);
  starts.release();
  await world.untilState(t1.task, TaskState.SHUTDOWN);
  await world.until("another runs", () => world.running().length === 1);
  await world.until("it is in use", () => world.network.serving("svc").length === 1);
  expect(world.running()).not.toEqual([t1.task]);
  expect(world.calls("create")).toBe(2);
  expect(world.report(t1)?.record).toMatchObject({ failures: 0, restarts: 0, rejections: 0 });
  expect(world.network.attached.size).toBe(1);
  expect(world.network.serving("svc")).toHaveLength(1);
});

test("an image that is present is used while its registry can't be reached", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.machine.fail("pull", { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: "registry.example" });
  const t2 = world.give("svc.2");
  await world.untilState(t2.task, TaskState.RUNNING);
  world.machine.fail("pull", { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: "registry.example" });
  world.machine.publish("registry.example/other:1");
  const t3 = world.give("svc.3", { spec: { container: { image: "registry.example/other:1" } } });
  await world.untilState(t3.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t3.task)?.code).toBe("RUNTIME_REGISTRY_UNREACHABLE");
});

test("an image is pulled with the login of its registry, or with the one that its version names", async () => {
  await using world = new World();
  const auth = { username: "u", password: "right" };
  world.machine.publish("private.example/app:1", { auth });
  await world.start();
  const spec = { container: { image: "private.example/app:1" } };
  const t1 = world.give("svc.1", { spec });
  await world.untilState(t1.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t1.task)?.code).toBe("RUNTIME_REGISTRY_UNAUTHORIZED");
  world.manager.assign("registry", "other.example", { registry: "other.example", auth });
  const t2 = world.give("svc.2", { spec: { ...spec, registryLogin: "other.example" } });
  await world.untilState(t2.task, TaskState.RUNNING);
  world.machine.images.clear();
  world.manager.assign("registry", "private.example", { registry: "private.example", auth });
  const t3 = world.give("svc.3", { spec });
  await world.untilState(t3.task, TaskState.RUNNING);
  world.machine.images.clear();
  world.manager.assign("registry", "other.example", {
    registry: "other.example",
    auth: { username: "u", password: "wrong" },
  });
  const t4 = world.give("svc.4", { spec: { ...spec, registryLogin: "other.example" } });
  await world.untilState(t4.task, TaskState.REJECTED);
  // A local image is used, whatever the registry answers.
  const t5 = world.give("svc.5", { spec });
  await world.untilState(t5.task, TaskState.RUNNING);
  world.manager.unassign("registry", "private.example");
  const t6 = world.give("svc.6", { spec });
  await world.untilState(t6.task, TaskState.RUNNING);
  world.machine.images.clear();
  const t7 = world.give("svc.7", { spec });
  await world.untilState(t7.task, TaskState.REJECTED);
});

test("a task whose lease is released leaves the balancer, then gets its stop signal, and ends as SHUTDOWN", async () => {
  await using world = new World({ keepEndedMs: 5_000 });
  const seen: { readonly signal: string; readonly serving: string[]; readonly draining: number }[] = [];
  world.machine.program = (process) =>
    process.onSignal((signal) => {
      const backends = world.network.endpoints.flatMap((endpoint) => endpoint.backends);
      seen.push({
        signal,
        serving: world.network.serving("svc"),
        draining: backends.filter(({ draining }) => draining).length,
      });
      process.exit(0);
    });
  await world.start();
  const t1 = world.give("svc.1", { spec: { container: { stopSignal: "SIGQUIT" } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  world.release(t1);
  await world.untilState(t1.task, TaskState.SHUTDOWN);
  expect(seen).toEqual([{ signal: "SIGQUIT", serving: [], draining: 1 }]);
  expect(world.manager.statuses.get(t1.task)).toMatchObject({
    message: "stopped on request, with exit code 0",
    code: "",
  });
  await world.until("it is detached", () => !world.network.attached.has(t1.task));
  expect(world.network.endpoints.flatMap((endpoint) => endpoint.backends)).toEqual([]);
  expect(world.machine.containers.get(t1.task)?.state.kind).toBe("exited");
  await world.until("its log is gone", () => !world.machine.containers.has(t1.task));
});

test("a task that ignores its stop signal is killed when its grace is over, not before", async () => {
  await using world = new World();
  world.machine.program = ignoresSignals;
  await world.start();
  const t1 = world.give("svc.1", { spec: { container: { stopGraceMs: 3_000 } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  world.release(t1);
  await world.until("it has its signal", () => world.calls("kill") === 1);
  await world.pass(2_900);
  expect(world.calls("kill")).toBe(1);
  await world.pass(200);
  expect(world.state(t1.task)).toBe(TaskState.SHUTDOWN);
  expect(world.manager.statuses.get(t1.task)?.container?.exitCode).toBe(137);
  expect(world.manager.statuses.get(t1.task)?.message).toBe("killed: did not stop within 3 s of its stop signal");
});

test("a task is stopped after a delay if the balancer can't be set", async () => {
  await using world = await World.started({ balancerWaitMs: 2_000 });
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  const held = Promise.withResolvers<void>();
  world.network.hold = held.promise;
  world.release(t1);
  await world.pass(1_900);
  expect(world.calls("kill")).toBe(0);
  await world.untilState(t1.task, TaskState.SHUTDOWN);
  held.resolve();
});

test("a task is reported as RUNNING only once the balancer has it, or after a delay if it can't be set", async () => {
  await using world = await World.started({ balancerWaitMs: 2_000 });
  await world.until("the balancer is set", () => world.network.history.length > 0);
  const held = Promise.withResolvers<void>();
  world.network.hold = held.promise;
  const t1 = world.give("svc.1");
  await world.until("it has started", () => world.machine.containers.get(t1.task)?.state.kind === "running");
  await world.pass(1_500);
  expect(world.state(t1.task)).toBe(TaskState.STARTING);
  await world.untilState(t1.task, TaskState.RUNNING);
  held.resolve();
});

test("a task whose lease is released before it runs never runs", async () => {
  await using world = new World();
  const pulls = world.machine.hold("pull");
  await world.start();
  const t1 = world.give("svc.1");
  await world.until("it is pulling", () => pulls.waiting === 1);
  world.release(t1);
  await world.untilState(t1.task, TaskState.SHUTDOWN);
  expect(world.manager.statuses.get(t1.task)?.message).toBe("stopped before it ran");
  const creates = world.machine.hold("create");
  pulls.release();
  const t2 = world.give("svc.1");
  await world.until("it is being made", () => creates.waiting === 1);
  world.manager.unassign("lease", t2.key);
  creates.release();
  await world.until("it is gone", () => world.agent.tasks().length === 0);
  expect(world.calls("start")).toBe(0);
  expect(world.machine.containers.size).toBe(0);
});

test("a lease that is unassigned while it runs is stopped with its grace, and then removed", async () => {
  await using world = await World.started({ keepEndedMs: 10_000 });
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.manager.unassign("lease", t1.key);
  await world.until("it is gone", () => world.agent.tasks().length === 0);
  expect(world.calls("kill", t1.task)).toBe(1);
  expect(world.machine.containers.size).toBe(0);
  expect(world.network.attached.size).toBe(0);
  await world.until("its record is gone", () =>
    [...world.disk.entries.keys()].every((key) => !key.startsWith("run/") && !key.startsWith("lease/")),
  );
});

test("thirty tasks share one pull, and at most eight containers are created at once", async () => {
  await using world = new World();
  const pulls = world.machine.hold("pull");
  const creates = world.machine.hold("create");
  await world.start();
  for (let slot = 1; slot <= 30; slot += 1) world.give(`svc.${slot}`);
  await world.until("they are known", () => world.agent.tasks().length === 30);
  pulls.release();
  await world.until("some are being made", () => creates.waiting >= 8);
  expect(creates.waiting).toBe(8);
  creates.release();
  await world.until("all run", () => world.agent.tasks().every(({ status }) => status.state === TaskState.RUNNING));
  expect(world.calls("pull")).toBe(1);
  expect(world.network.serving("svc")).toHaveLength(30);
  // Applied together, not one after the other.
  expect(world.network.history.length).toBeLessThan(15);
  expect(world.metrics.values.get("warren_agent_leases")).toBe(30);
  expect(world.metrics.observations.get("warren_agent_task_start_seconds")).toHaveLength(30);
});

test("a runtime that does not answer is waited for, and its completed calls are not repeated", async () => {
  await using world = new World();
  world.machine.disconnect();
  await world.start();
  expect(world.agent.adopted).toBe(false);
  world.machine.reconnect();
  await world.until("the worker is connected", () => world.manager.completes.length === 1);
  world.machine.fail("pull", { code: "RUNTIME_UNAVAILABLE" }, 3);
  world.unheard.push("create", "start");
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  expect(world.manager.statuses.get(t1.task)?.container?.pid).toBe(1000);
});
