import { Endpoint, TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { task, World } from "./fakes/world.ts";

test("running tasks are adopted after kill -9: not restarted, and never out of the balancer", async () => {
  await using world = new World();
  await world.start();
  for (let slot = 1; slot <= 3; slot += 1) world.manager.assign(task(`t${slot}`, { slot }));
  await world.until("all serve", () => world.network.serving("svc").length === 3);
  await world.untilState("t3", TaskState.RUNNING);
  await world.pass(1_000);
  const attached = new Map(world.network.attached);
  world.kill();
  world.network.history.length = 0;
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted && world.manager.connected);
  await world.pass(10_000);
  expect(world.network.history.length).toBeGreaterThan(0);
  for (const endpoints of world.network.history) expect(endpoints[0]?.backends).toHaveLength(3);
  expect(world.calls("start")).toBe(3);
  expect(world.calls("create")).toBe(3);
  expect(world.calls("kill")).toBe(0);
  expect(world.network.attached).toEqual(attached);
  expect(world.manager.regressions).toBe(0);
});

test("what ended while the worker was away is told with its exit code, without a manager at first", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  world.manager.assign(task("t2", { slot: 2 }));
  await world.untilState("t1", TaskState.RUNNING);
  await world.untilState("t2", TaskState.RUNNING);
  world.manager.disconnect();
  world.kill();
  world.machine.exit("t1", 7);
  await world.start();
  await world.until("t2 alone serves", () => world.network.serving("svc").length === 1);
  expect(world.agent.connected).toBe(false);
  expect(world.state("t1")).toBe(TaskState.RUNNING);
  world.manager.reconnect();
  await world.untilState("t1", TaskState.FAILED);
  expect(world.manager.statuses.get("t1")?.container?.exitCode).toBe(7);
  expect(world.state("t2")).toBe(TaskState.RUNNING);
  expect(world.calls("start")).toBe(2);
});

test("with no manager the last known assignments go on, with the last known endpoints", async () => {
  await using world = new World();
  world.manager.setEndpoint(
    Endpoint.fromPartial({
      serviceId: "far",
      vip: "10.96.0.2",
      backends: [{ taskId: "x", nodeId: "other", address: "10.77.2.2" }],
    }),
  );
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  await world.until("both are balanced", () => world.network.serving("far").length === 1);
  world.manager.disconnect();
  world.kill();
  world.network.endpoints = [];
  await world.start();
  await world.until("the balancer is set", () => world.network.serving("far").length === 1);
  expect(world.network.serving("svc")).toEqual(["10.77.1.2"]);
  expect(world.network.settings?.nodeSubnet).toBe("10.77.1.0/24");
});

test("orphans of a killed worker go: containers, half-made ones, attachments", async () => {
  await using world = new World();
  const starts = world.machine.hold("start");
  await world.start();
  world.manager.assign(task("t1"));
  await world.until("it is about to start", () => starts.waiting === 1);
  world.kill();
  world.manager.remove("t1");
  world.network.attached.set("ghost", { id: "ghost", address: "10.77.1.9", networks: [], netnsPath: "/x" });
  starts.release();
  await world.start();
  await world.until("nothing is left", () => world.agent.adopted && world.agent.tasks().length === 0);
  await world.until("no container", () => world.machine.containers.size === 0);
  expect(world.network.attached.size).toBe(0);
});

test("a stop that a kill cut short goes on, and is told as what it was", async () => {
  await using world = new World();
  world.machine.program = (process) => process.onSignal(() => undefined);
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  world.manager.desire("t1", TaskState.SHUTDOWN);
  await world.until("it has its signal", () => world.calls("kill") === 1);
  world.kill();
  await world.start();
  await world.untilState("t1", TaskState.SHUTDOWN);
  expect(world.manager.statuses.get("t1")?.container?.exitCode).toBe(137);
});

test("an unhealthy task whose stop a kill cut short is told as unhealthy", async () => {
  await using world = new World();
  let healthy = true;
  world.probes = { http: () => Promise.resolve(healthy ? 200 : 500), tcp: () => Promise.resolve() };
  world.machine.program = (process) => process.onSignal(() => undefined);
  await world.start();
  const healthCheck = { probe: { $case: "http" as const, value: { port: 80 } }, intervalMs: 1_000, retries: 2 };
  world.manager.assign(task("t1", { spec: { container: { healthCheck } } }));
  await world.untilState("t1", TaskState.RUNNING);
  healthy = false;
  await world.until("it has its signal", () => world.calls("kill") === 1);
  world.kill();
  await world.start();
  await world.untilState("t1", TaskState.FAILED);
  expect(world.manager.statuses.get("t1")).toMatchObject({
    code: "AGENT_UNHEALTHY",
    message: "unhealthy: 2 probes in a row failed: GET :80/ answers 500",
  });
});

test("a task that was healthy is taken to be so by the next worker, and fails by the usual count", async () => {
  await using world = new World();
  let healthy = true;
  world.probes = { http: () => Promise.resolve(healthy ? 200 : 500), tcp: () => Promise.resolve() };
  await world.start();
  const healthCheck = { probe: { $case: "http" as const, value: { port: 80 } }, intervalMs: 10_000, retries: 2 };
  world.manager.assign(task("t1", { spec: { container: { healthCheck } } }));
  await world.untilState("t1", TaskState.RUNNING);
  await world.pass(1_000);
  world.kill();
  healthy = false;
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted && world.manager.connected);
  await world.pass(5_000);
  expect(world.network.serving("svc")).toHaveLength(1);
  expect(world.manager.statuses.get("t1")?.message).toBe("runs, but a probe failed: GET :80/ answers 500");
  await world.pass(6_000);
  expect(world.state("t1")).toBe(TaskState.FAILED);
});

test("an end that can't be written is told all the same, and is the end whatever becomes of the worker", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1", { spec: { container: { image: "registry.example/none:1" } } }));
  await world.until("it is asked for", () => world.calls("pull") === 1);
  world.disk.failures = 1_000_000;
  await world.pass(4_000);
  expect(world.state("t1") ?? 0).toBeLessThan(TaskState.RUNNING);
  await world.untilState("t1", TaskState.REJECTED);
  world.kill();
  world.disk.failures = 0;
  world.machine.publish("registry.example/none:1");
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted && world.manager.connected);
  await world.pass(20_000);
  expect(world.agent.tasks().map(({ status }) => status.state > TaskState.RUNNING)).toEqual([true]);
  expect(world.machine.containers.size).toBe(0);
  expect(world.network.attached.size).toBe(0);
});

test("an interface that is gone is made again with the same address where it can be", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  world.kill();
  world.network.attached.clear();
  await world.start();
  await world.until("it is attached", () => world.network.attached.get("t1")?.address === "10.77.1.2");
  expect(world.calls("start")).toBe(1);
});

test("a worker that lost its record starts over what had not started, and tells of what is gone", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  world.manager.assign(task("t2", { slot: 2, desiredState: TaskState.READY }));
  await world.untilState("t1", TaskState.RUNNING);
  await world.untilState("t2", TaskState.READY);
  world.kill();
  world.disk.entries.clear();
  await world.start();
  await world.untilState("t1", TaskState.FAILED);
  expect(world.manager.statuses.get("t1")?.code).toBe("AGENT_CONTAINER_LOST");
  world.manager.desire("t2", TaskState.RUNNING);
  await world.untilState("t2", TaskState.RUNNING);
});

test("to close the worker stops no task and leaves no timer", async () => {
  const world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  world.machine.images.set("registry.example/old:1", { ref: "registry.example/old:1", digest: "sha256:0" });
  world.manager.assign(task("t2"));
  await world.untilState("t2", TaskState.RUNNING);
  world.manager.remove("t2");
  await world.until("an image waits to be removed", () => world.agent.tasks().length === 1);
  await world.pass(1_000);
  await world.agent.close();
  expect(world.machine.containers.get("t1")?.state.kind).toBe("running");
  expect(world.clock.pending).toBe(0);
  expect(world.manager.connected).toBe(false);
});

test("what a killed worker had not told yet is told by the next", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  world.manager.refuseStatuses = true;
  world.machine.exit("t1", 4);
  await world.until("it has ended", () => world.agent.tasks()[0]?.status.state === TaskState.FAILED);
  await world.pass(1_000);
  world.kill();
  world.manager.refuseStatuses = false;
  await world.start();
  await world.untilState("t1", TaskState.FAILED);
  expect(world.manager.statuses.get("t1")?.container?.exitCode).toBe(4);
});

test("a full disk starts nothing new, and what runs goes on; then the start goes on too", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  world.disk.failures = 1_000_000;
  world.manager.assign(task("t2", { slot: 2 }));
  await world.untilState("t2", TaskState.READY);
  await world.pass(60_000);
  expect(world.calls("start")).toBe(1);
  expect(world.state("t1")).toBe(TaskState.RUNNING);
  world.disk.failures = 0;
  await world.untilState("t2", TaskState.RUNNING);
});
