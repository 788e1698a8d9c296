import { TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { World } from "./fakes/world.ts";

test("reports are kept until a manager has stored them, the newest of each lease, in batches", async () => {
  await using world = await World.started();
  await world.until("it is connected", () => world.manager.connected);
  world.manager.refuseReports = true;
  for (let slot = 1; slot <= 20; slot += 1) world.give(`svc.${slot}`);
  await world.until(
    "all run",
    () => world.agent.tasks().filter(({ status }) => status.state === TaskState.RUNNING).length === 20,
  );
  expect(world.manager.statuses.size).toBe(0);
  world.manager.refuseReports = false;
  await world.until("all are reported", () => world.manager.statuses.size === 20);
  expect([...world.manager.states.values()].every((states) => states.length === 1)).toBe(true);
  expect(world.manager.batches).toEqual([20]);
});

test("a manager that does not answer is tried again with back-off, from 100 ms to 8 s", async () => {
  await using world = new World();
  world.manager.disconnect();
  await world.start();
  await world.until("it has tried", () => world.log.records.some(({ event }) => event === "no session with a manager"));
  await world.pass(60_000);
  const tries = world.log.records.filter(({ event }) => event === "no session with a manager").length;
  expect(tries).toBeGreaterThan(12);
  expect(tries).toBeLessThan(22);
  world.manager.reconnect();
  await world.pass(8_000);
  expect(world.manager.connected).toBe(true);
  expect(world.metrics.values.get("warren_agent_connected")).toBe(1);
});

test("after a session that lasted the next is opened soon; after a short one with back-off", async () => {
  await using world = new World();
  world.manager.disconnect();
  await world.start();
  await world.pass(30_000);
  world.manager.reconnect();
  await world.until("it is connected", () => world.manager.heartbeats === 1);
  world.manager.disconnect();
  world.manager.reconnect();
  await world.pass(1_000);
  expect(world.manager.connected).toBe(false);
  await world.until("it is connected", () => world.manager.connected);
  await world.pass(6_000);
  world.manager.disconnect();
  world.manager.reconnect();
  await world.pass(200);
  expect(world.manager.connected).toBe(true);
});

test("heartbeats have the manager's period", async () => {
  await using world = new World();
  world.manager.periodMs = 2_000;
  await world.start();
  await world.until("it beats", () => world.manager.heartbeats === 1);
  await world.pass(10_000);
  expect(world.manager.heartbeats).toBe(6);
  expect(world.manager.sessions).toBe(1);
});

test("after a heartbeat without an answer another session is opened", async () => {
  await using world = await World.started();
  await world.until("it is connected", () => world.manager.heartbeats === 1);
  world.manager.silent = true;
  await world.pass(10_200);
  world.manager.silent = false;
  await world.until("there is another session", () => world.manager.sessions === 2);
  await world.until("it beats", () => world.manager.heartbeats >= 2);
});

test("after a missed message the stream is opened again, and brings the missed changes", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  const t2 = world.make("svc.2");
  world.manager.assignLost("lease", t2.key, t2.lease);
  await world.pass(1_000);
  expect(world.report(t2)).toBeUndefined();
  world.give("svc.3");
  await world.until("it is prepared", () => world.report(t2)?.runs.at(-1)?.status?.state === TaskState.READY);
  await world.until("the other runs", () => world.running("svc.3").length === 1);
  expect(world.manager.sessions).toBe(1);
});

test("objects that a COMPLETE message drops are removed", async () => {
  await using world = await World.started({ keepEndedMs: 10_000 });
  const t1 = world.give("svc.1");
  const auth = { username: "u", password: "p" };
  world.manager.assign("registry", "private.example", { registry: "private.example", auth });
  await world.untilState(t1.task, TaskState.RUNNING);
  world.manager.disconnect();
  world.manager.unassign("lease", t1.key);
  world.manager.unassign("endpoint", "svc");
  world.manager.unassign("registry", "private.example");
  world.manager.unassign("service", "svc");
  world.manager.unassign("version", t1.lease.versionId);
  world.manager.reconnect();
  await world.until("it is gone", () => world.agent.tasks().length === 0);
  const left = (): string => [...world.disk.entries.keys()].toSorted().join();
  await world.until("its record is gone", () => left() === "last-applied,meta,node");
  expect(world.network.endpoints).toEqual([]);
});

test("the node's id is made once and kept; its network is opened when a manager sends it", async () => {
  await using world = new World();
  world.manager.subnet = "";
  await world.start();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.PREPARING);
  const id = world.agent.nodeId;
  expect(id).toMatch(/^[0-9a-z]{25}$/);
  expect(world.network.settings).toBeUndefined();
  world.manager.subnet = "10.77.3.0/24";
  world.manager.sendNode();
  await world.untilState(t1.task, TaskState.RUNNING);
  expect(world.network.settings).toEqual({
    nodeSubnet: "10.77.3.0/24",
    taskPool: "10.77.0.0/16",
    vipPool: "10.96.0.0/16",
  });
  world.kill();
  await world.start();
  expect(world.agent.nodeId).toBe(id);
});

test("another subnet takes effect at the next start: running tasks keep their addresses", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  world.manager.subnet = "10.77.9.0/24";
  world.manager.sendNode();
  await world.until("it is logged", () =>
    world.log.records.some(({ event }) => event === "the node's network has changed: restart the worker to take it up"),
  );
  expect(world.network.settings?.nodeSubnet).toBe("10.77.1.0/24");
  await world.pass(1_000);
  world.kill();
  await world.start();
  await world.until("it is open", () => world.network.settings?.nodeSubnet === "10.77.9.0/24");
});

test("a network that can't be opened is tried again while tasks wait", async () => {
  await using world = new World();
  for (let times = 0; times < 5; times += 1) world.network.failures.push({ call: "open", message: "no nft here" });
  await world.start();
  const t1 = world.give("svc.1");
  await world.untilState(t1.task, TaskState.RUNNING);
  expect(world.network.failures).toEqual([]);
});
