import { Endpoint, LeaseReport_State, TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { ignoresSignals, World } from "./fakes/world.ts";

test("running tasks are adopted after kill -9: not restarted, and never out of the balancer", async () => {
  await using world = await World.started();
  const given = [1, 2, 3].map((slot) => world.give(`svc.${slot}`));
  await world.untilRunning(...given);
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

test("a task that ended while the worker was away is reported with its exit code, also if no manager answers at first", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  const t2 = world.give("svc.2");
  await world.untilState(t1.task, TaskState.RUNNING);
  await world.untilState(t2.task, TaskState.RUNNING);
  world.manager.disconnect();
  world.kill();
  world.machine.exit(t1.task, 7);
  await world.start();
  await world.until("t2 alone serves", () => world.network.serving("svc").length === 1);
  expect(world.agent.connected).toBe(false);
  expect(world.state(t1.task)).toBe(TaskState.RUNNING);
  world.manager.reconnect();
  await world.untilState(t1.task, TaskState.FAILED);
  expect(world.manager.statuses.get(t1.task)?.container?.exitCode).toBe(7);
  expect(world.state(t2.task)).toBe(TaskState.RUNNING);
  expect(world.calls("start")).toBe(2);
});

test("without a manager the recorded assignments go on, with the recorded endpoints", async () => {
  await using world = new World();
  world.manager.assign("endpoint", "far", Endpoint.fromPartial({ serviceId: "far", vip: "10.96.0.2" }));
  world.manager.assign("backend", "far.1/7-1", { address: 0x0a4d0202, nodeId: "other", weight: 100 });
  await world.start();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  await world.until("both are balanced", () => world.network.serving("far").length === 1);
  world.manager.disconnect();
  world.kill();
  world.network.endpoints = [];
  await world.start();
  await world.until("the balancer is set", () => world.network.serving("far").length === 1);
  expect(world.network.serving("svc")).toEqual(["10.77.1.2"]);
  expect(world.network.settings?.nodeSubnet).toBe("10.77.1.0/24");
});

test.each(["kept", "lost"])("a task's own DNS upstreams outlive the worker, its record %s", async (record) => {
  await using world = await World.started();
  const t1 = world.give("svc.1", { spec: { container: { dns: { servers: ["9.9.9.9"] } } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  expect(world.network.attached.get(t1.task)?.nameServers).toEqual(["9.9.9.9"]);
  world.kill();
  if (record === "lost") world.disk.entries.clear();
  const expected: string[] = [];
  world.network.onOpen = (tasks) => expected.push(...tasks.flatMap(({ nameServers }) => nameServers));
  await world.start();
  await world.until("the network is open again", () => expected.length > 0);
  expect(expected).toEqual(["9.9.9.9"]);
});

test("orphans of a killed worker are removed: containers, incomplete ones, attachments", async () => {
  await using world = new World();
  const starts = world.machine.hold("start");
  await world.start();
  const t1 = world.give("svc.1");
  await world.until("it is about to start", () => starts.waiting === 1);
  world.kill();
  world.manager.unassign("lease", t1.key);
  world.network.attached.set("ghost", {
    id: "ghost",
    address: "10.77.1.9",
    networks: [],
    nameServers: [],
    netnsPath: "/x",
  });
  starts.release();
  await world.start();
  await world.until("nothing is left", () => world.agent.adopted && world.running().length === 0);
  await world.until("no interface", () => world.network.attached.size === 0);
  expect(world.calls("kill", t1.task)).toBe(1);
  expect(world.network.attached.size).toBe(0);
});

test("a stop that was interrupted by a kill goes on, and is reported with its reason", async () => {
  await using world = new World();
  world.machine.program = ignoresSignals;
  await world.start();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.release(t1);
  await world.until("it has its signal", () => world.calls("kill") === 1);
  world.kill();
  await world.start();
  await world.untilState(t1.task, TaskState.SHUTDOWN);
  expect(world.manager.statuses.get(t1.task)?.container?.exitCode).toBe(137);
});

test("an unhealthy task whose stop was interrupted by a kill is reported as unhealthy", async () => {
  await using world = new World();
  let healthy = true;
  world.probes = { http: () => Promise.resolve(healthy ? 200 : 500), tcp: () => Promise.resolve() };
  world.machine.program = ignoresSignals;
  await world.start();
  const healthCheck = { probe: { $case: "http" as const, value: { port: 80 } }, intervalMs: 1_000, retries: 2 };
  const t1 = world.give("svc.1", { spec: { container: { healthCheck } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  healthy = false;
  await world.until("it has its signal", () => world.calls("kill") === 1);
  world.kill();
  await world.start();
  await world.untilState(t1.task, TaskState.FAILED);
  expect(world.manager.statuses.get(t1.task)).toMatchObject({
    code: "AGENT_UNHEALTHY",
    message: "unhealthy: 2 probes in a row failed: GET :80/ answers 500",
  });
});

test("a healthy task counts as healthy for the next worker, and fails after the usual retries", async () => {
  await using world = new World();
  let healthy = true;
  world.probes = { http: () => Promise.resolve(healthy ? 200 : 500), tcp: () => Promise.resolve() };
  await world.start();
  const healthCheck = { probe: { $case: "http" as const, value: { port: 80 } }, intervalMs: 10_000, retries: 2 };
  const t1 = world.give("svc.1", { spec: { container: { healthCheck } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  await world.pass(1_000);
  world.kill();
  healthy = false;
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted && world.manager.connected);
  await world.pass(5_000);
  expect(world.network.serving("svc")).toHaveLength(1);
  expect(world.manager.statuses.get(t1.task)?.message).toBe("runs, but a probe failed: GET :80/ answers 500");
  await world.pass(6_000);
  expect(world.state(t1.task)).toBe(TaskState.FAILED);
});

test("an end that can't be written is still reported, after a delay", async () => {
  await using world = await World.started();
  const pulls = world.machine.hold("pull");
  const t1 = world.give("svc.1", { spec: { container: { image: "registry.example/none:1" } } });
  await world.until("it is asked for", () => pulls.waiting === 1);
  world.disk.failures = 1_000_000;
  pulls.release();
  await world.pass(4_000);
  expect(world.state(t1.task) ?? 0).toBeLessThan(TaskState.RUNNING);
  await world.untilState(t1.task, TaskState.REJECTED);
  world.kill();
  world.disk.failures = 0;
  world.machine.publish("registry.example/none:1");
  await world.start();
  await world.until("it is adopted", () => world.agent.adopted && world.manager.connected);
  await world.pass(20_000);
  // The next worker lacks the end that was not written, and makes a run of its own.
  await world.until("another run runs", () => world.running("svc.1").length === 1);
  expect(world.running("svc.1")).not.toEqual([t1.task]);
});

test("a missing interface is created again with the same address", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.kill();
  world.network.attached.clear();
  await world.start();
  await world.until("it is attached", () => world.network.attached.get(t1.task)?.address === "10.77.1.2");
  expect(world.calls("start")).toBe(1);
});

test("a worker that lost its record rebuilds its leases from their containers, and ends none of them (L12)", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  const t2 = world.offer("svc.2");
  await world.untilState(t1.task, TaskState.RUNNING);
  await world.untilState(t2.task, TaskState.READY);
  world.kill();
  world.disk.entries.clear();
  world.manager.mute = true;
  const { nodeId } = world.manager;
  await world.start();
  await world.pass(60_000);
  expect(world.running()).toEqual([t1.task]);
  expect(world.calls("kill")).toBe(0);
  world.manager.mute = false;
  world.kill();
  await world.start();
  await world.until("it is taken up", () => world.report(t1)?.state === LeaseReport_State.HELD);
  expect(world.manager.nodeId).toBe(nodeId);
  world.hold(t2);
  await world.until("the other runs", () => world.running("svc.2").length === 1);
  expect(world.running("svc.1")).toEqual([t1.task]);
  expect(world.calls("kill")).toBe(0);
  await world.until("it serves", () => world.network.serving("svc").length === 2);
});

test("a run that is rebuilt from its container has address, start and duration (L12)", async () => {
  await using world = await World.started();
  const t1 = await world.run("svc.1");
  const { address, startedAt, containerId } = world.manager.statuses.get(t1.task)?.container ?? {};
  expect(address).toBe(t1.lease.address);
  await world.pass(20_000);
  world.kill();
  world.disk.entries.clear();
  world.manager.statuses.clear();
  await world.start();
  await world.until("it serves", () => world.network.serving("svc").length === 1);
  await world.until("it is reported", () => world.state(t1.task) === TaskState.RUNNING);
  const found = world.manager.statuses.get(t1.task)?.container;
  expect(found).toMatchObject({ address, containerId });
  expect(Math.abs((found?.startedAt?.getTime() ?? 0) - (startedAt?.getTime() ?? 0))).toBeLessThan(1_000);
  await world.pass(20_000);
  world.machine.exit(t1.task, 3);
  await world.until("its end is reported", () => world.report(t1)?.record?.lastEnd?.exitCode === 3);
  expect(world.report(t1)?.record?.lastEnd?.ranMs).toBeGreaterThan(39_000);
});

test("a record that was set back, with more runs of a lease than are kept, has each run concluded (L12)", async () => {
  await using world = await World.started();
  world.give("svc.1");
  const endRuns = async (count: number): Promise<void> => {
    for (let ended = 0; ended < count; ended += 1) {
      await world.until("it runs", () => world.running("svc.1").length === 1);
      world.machine.exit(world.running("svc.1")[0] ?? "", 1);
      await world.until("it has ended", () => world.running("svc.1").length === 0);
    }
    await world.until("it runs again", () => world.running("svc.1").length === 1);
    await world.pass(100);
  };
  await endRuns(6);
  const image = world.disk.image();
  await endRuns(3);
  const before = world.running("svc.1");
  world.kill();
  world.disk.setBack(image);
  await world.start();
  await world.pass(10_000);
  expect(world.log.records.filter(({ event }) => event === "failed, and is tried again")).toEqual([]);
  expect(world.running("svc.1")).toEqual(before);
});

test("containers of another node, which this machine was before, go on until a COMPLETE message, and then end", async () => {
  await using world = await World.started();
  const t1 = await world.run("svc.1");
  world.kill();
  const { nodeId } = world.manager;
  world.disk.entries.clear();
  world.disk.identity = undefined;
  world.manager.unassign("lease", t1.key);
  world.manager.mute = true;
  world.manager.reports.clear();
  await world.start({ wait: false });
  await world.until("it is taken up", () => world.agent.adopted && world.manager.connected);
  await world.pass(60_000);
  expect(world.manager.nodeId).not.toBe(nodeId);
  expect(world.running()).toEqual([t1.task]);
  // Its address belongs to the other node, and may be another task's.
  expect(world.network.serving("svc")).toEqual([]);
  expect(world.network.attached.size).toBe(0);
  world.manager.mute = false;
  world.kill();
  await world.start();
  await world.until("it has ended", () => world.running().length === 0);
  await world.pass(5_000);
  expect(world.manager.reports.size).toBe(0);
});

test("closing the worker stops no task and leaves no timer", async () => {
  const world = new World({ keepEndedMs: 60_000 });
  await world.start();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.machine.images.set("registry.example/old:1", { ref: "registry.example/old:1", digest: "sha256:0" });
  const t2 = world.give("svc.2");
  await world.untilState(t2.task, TaskState.RUNNING);
  world.manager.unassign("lease", t2.key);
  await world.until("images and logs wait to be removed", () => world.running().length === 1);
  await world.pass(1_000);
  await world.agent.close();
  expect(world.machine.containers.get(t1.task)?.state.kind).toBe("running");
  expect(world.clock.pending).toBe(0);
  expect(world.manager.connected).toBe(false);
});

test("a written state that was not reported is reported by the next worker, also without a further change", async () => {
  await using world = await World.started();
  const t1 = world.offer("svc.1");
  await world.untilState(t1.task, TaskState.READY);
  world.manager.refuseReports = true;
  world.hold(t1);
  await world.until("it runs", () => world.agent.tasks()[0]?.status.state === TaskState.RUNNING);
  await world.pass(1_000);
  world.kill();
  world.manager.refuseReports = false;
  await world.start();
  await world.untilRunning(t1);
});

test("an end that a killed worker had not reported is reported by the next", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.manager.refuseReports = true;
  world.machine.exit(t1.task, 4);
  await world.until("it has ended", () => world.agent.tasks()[0]?.status.state === TaskState.FAILED);
  await world.pass(1_000);
  world.kill();
  world.manager.refuseReports = false;
  await world.start();
  await world.untilState(t1.task, TaskState.FAILED);
  expect(world.manager.statuses.get(t1.task)?.container?.exitCode).toBe(4);
});

test("on a full disk nothing new starts and running tasks go on; with room the start goes on too", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.disk.failures = 1_000_000;
  const t2 = world.give("svc.2");
  await world.untilState(t2.task, TaskState.STARTING);
  await world.pass(60_000);
  expect(world.calls("start")).toBe(1);
  expect(world.state(t1.task)).toBe(TaskState.RUNNING);
  world.disk.failures = 0;
  await world.untilState(t2.task, TaskState.RUNNING);
});
