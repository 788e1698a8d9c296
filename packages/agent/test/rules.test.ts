/** The rules of slots, leases and runs that bind a worker: each test names its rule. */
import {
  AssignedLease,
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  RestartPolicy_Condition,
  SlotRecord,
  TaskState,
  type AssignmentKind,
} from "@warren/api";
import { encodeAssigned } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import { ignoresSignals, World } from "./fakes/world.ts";

test("L2: the next lease of a slot waits for the last one on this node, also after a restart of the worker without a manager", async () => {
  await using world = new World();
  world.machine.program = ignoresSignals;
  await world.start();
  const old = await world.run("svc.1");
  const next = world.offer("svc.1", { after: old.epoch });
  await world.untilState(next.task, TaskState.READY);
  world.manager.lease({ ...old.lease, state: LeaseState.RELEASING }, { ...next.lease, state: LeaseState.HELD });
  await world.until("the old one has its signal", () => world.calls("kill") === 1);
  world.manager.disconnect();
  world.kill();
  await world.start();
  await world.pass(3_000);
  expect(world.running("svc.1")).toEqual([old.task]);
  await world.until("the next one runs", () => world.running("svc.1").some((id) => id !== old.task));
  expect(world.running("svc.1")).toHaveLength(1);
});

test("L2: a lease whose predecessor never ran waits for the predecessor's predecessor too", async () => {
  await using world = new World();
  world.machine.program = ignoresSignals;
  await world.start();
  const first = await world.run("svc.1");
  const second = world.offer("svc.1", { after: first.epoch });
  world.manager.lease({ ...first.lease, state: LeaseState.RELEASING }, { ...second.lease, state: LeaseState.HELD });
  const third = world.make("svc.1", { after: second.epoch });
  world.manager.lease({ ...second.lease, state: LeaseState.RELEASING }, { ...third.lease, state: LeaseState.HELD });
  await world.until("the second is released", () => world.report(second)?.state === LeaseReport_State.RELEASED);
  await world.pass(5_000);
  expect(world.running("svc.1")).toEqual([first.task]);
  await world.until("the third runs", () => world.running("svc.1").some((id) => id !== first.task));
  expect(world.running("svc.1")).toHaveLength(1);
});

test("L3: without `after` two leases of a slot run side by side", async () => {
  await using world = await World.started();
  const old = world.give("svc.1");
  const next = world.give("svc.1");
  await world.untilRunning(old, next);
  expect(world.running("svc.1")).toHaveLength(2);
});

test("L9: a lease that is held goes on from what the slot's runs have counted by then, and from its own rejections", async () => {
  await using world = new World();
  await world.start();
  const late = "registry.example/late:1";
  const counts = (fields: Partial<SlotRecord>): SlotRecord =>
    SlotRecord.fromPartial({ bootId: "elsewhere", ...fields });
  const initialRecord = counts({ runs: 2, restarts: 1, windowMs: 1_000 });
  const given = world.offer("svc.1", { spec: { container: { image: late } }, initialRecord });
  await world.until("it was rejected twice", () => (world.report(given)?.record?.rejections ?? 0) >= 2);
  world.machine.publish(late);
  await world.until("a run is ready", () => world.report(given)?.runs.at(-1)?.status?.state === TaskState.READY);
  const { rejections = 0 } = world.report(given)?.record ?? {};
  const before = counts({ runs: 9, restarts: 4, windowMs: 7_000, failures: 3, shortRuns: 2 });
  world.manager.lease({ ...given.lease, state: LeaseState.HELD, initialRecord: before });
  await world.until("it runs", () => world.running("svc.1").length === 1);
  const isTold = (): boolean => world.report(given)?.record?.runs === 10;
  await world.until("the run is counted", isTold);
  expect(world.report(given)?.record).toMatchObject({ restarts: 4, failures: 3, shortRuns: 2, rejections });
  expect(world.report(given)?.record?.windowMs).toBeGreaterThanOrEqual(7_000);
  expect(world.report(given)?.record?.windowMs).toBeLessThan(12_000);
  // Held is held: the same said again, as after a lost message, changes nothing.
  world.kill();
  await world.start();
  world.manager.lease({ ...given.lease, state: LeaseState.HELD, initialRecord: counts({ runs: 50 }) });
  await world.pass(5_000);
  expect(world.report(given)?.record).toMatchObject({ runs: 10, restarts: 4 });
});

test("L4: a release that was acknowledged is not reverted", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.release(given);
  await world.until("it is acknowledged", () => world.report(given)?.state === LeaseReport_State.RELEASING);
  world.hold(given);
  await world.until("it is released", () => world.report(given)?.state === LeaseReport_State.RELEASED);
  expect(world.running()).toEqual([]);
  expect(world.calls("start")).toBe(1);
});

test("L4: a release that was acknowledged is completed by the next worker, also if it was reverted meanwhile", async () => {
  await using world = new World();
  world.machine.program = ignoresSignals;
  await world.start();
  const t1 = await world.run("svc.1");
  world.release(t1);
  await world.until("it is acknowledged", () => world.report(t1)?.state === LeaseReport_State.RELEASING);
  world.hold(t1);
  await world.pass(500);
  world.kill();
  await world.start();
  await world.until("it is released", () => world.report(t1)?.state === LeaseReport_State.RELEASED);
  expect(world.calls("start")).toBe(1);
});

test("L4: a withdrawn offer is released, and nothing of it is left", async () => {
  await using world = await World.started();
  const given = world.offer("svc.1");
  await world.untilState(given.task, TaskState.READY);
  world.release(given);
  await world.until("it is forgotten", () => !world.manager.leases.has(given.key));
  expect(world.machine.containers.size).toBe(0);
  expect(world.network.attached.size).toBe(0);
  expect(world.manager.statuses.get(given.task)).toMatchObject({
    state: TaskState.SHUTDOWN,
    message: "stopped before it ran",
  });
});

test("L6: only the life that received the offer makes run (0, 1)", async () => {
  await using world = await World.started();
  const given = world.offer("svc.1");
  await world.untilState(given.task, TaskState.READY);
  world.kill();
  await world.start();
  world.hold(given);
  await world.until("it runs", () => world.running("svc.1").length === 1);
  await world.until("it is reported", () => world.report(given)?.runs.at(-1)?.status?.state === TaskState.RUNNING);
  expect(world.running("svc.1")).not.toEqual([given.task]);
  expect(world.report(given)?.runs.map(({ life, run }) => [life > 0, run])).toEqual([
    [false, 1],
    [true, 1],
  ]);
  expect(world.manager.statuses.get(given.task)).toMatchObject({
    state: TaskState.SHUTDOWN,
    code: "AGENT_NOT_STARTED",
  });
  expect(world.report(given)?.record).toMatchObject({ failures: 0, restarts: 0, rejections: 0 });
});

test("L6: a lease that arrives as held has run (0, 1) only if it was offered to this life", async () => {
  await using world = await World.started();
  const mine = world.make("svc.1");
  const before = world.make("svc.2");
  world.manager.lease({ ...mine.lease, state: LeaseState.HELD });
  world.manager.lease({ ...before.lease, state: LeaseState.HELD, offeredLife: 5 });
  await world.until("both run", () => world.running().length === 2);
  expect(world.running("svc.1")).toEqual([mine.task]);
  expect(world.running("svc.2")).not.toEqual([before.task]);
});

test("L6: a disk that is set back makes no id twice", async () => {
  await using world = new World();
  const starts = new Map<string, number>();
  world.machine.program = ({ container: { id } }) => void starts.set(id, (starts.get(id) ?? 0) + 1);
  await world.start();
  const given = world.offer("svc.1");
  await world.untilState(given.task, TaskState.READY);
  await world.pass(100);
  const image = world.disk.image();
  for (let times = 0; times < 4; times += 1) {
    world.hold(given);
    await world.until("it runs", () => world.running("svc.1").length === 1);
    world.machine.exit(world.running("svc.1")[0] ?? "", 1);
    await world.pass(2_000);
    world.powerCut();
    world.machine.containers.clear();
    world.disk.setBack(image);
    await world.start();
  }
  expect(starts.size).toBeGreaterThanOrEqual(4);
  expect([...starts.values()].every((count) => count === 1)).toBe(true);
});

test("L6: runs start at the same times with and without a manager", async () => {
  const times = async (connected: boolean): Promise<number[]> => {
    await using world = new World();
    const starts: number[] = [];
    world.machine.program = (process) => {
      starts.push(Math.round(world.clock.monotonic() / 100));
      process.exit(1);
    };
    await world.start();
    world.give("svc.1");
    await world.until("it runs", () => starts.length === 1);
    if (!connected) world.manager.disconnect();
    await world.pass(60_000);
    return starts;
  };
  expect(await times(false)).toEqual(await times(true));
});

test("L7: a power cut is no failure and uses up no attempt: a service without restarts runs again", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
  await world.start();
  const given = await world.run("svc.1");
  for (let times = 0; times < 3; times += 1) {
    world.powerCut(3_600_000);
    world.manager.disconnect();
    await world.start();
    await world.until("it runs", () => world.running("svc.1").length === 1);
    expect(world.network.attached.get(world.running("svc.1")[0] ?? "")?.address).toBe(given.lease.address);
    world.manager.reconnect();
    await world.until("it is known", () => world.report(given)?.record?.runs === times + 2);
  }
  expect(world.manager.statuses.get(given.task)).toMatchObject({
    state: TaskState.SHUTDOWN,
    code: "AGENT_MACHINE_RESTARTED",
  });
  expect(world.report(given)?.record).toMatchObject({ failures: 0, restarts: 0, runs: 4 });
  expect(world.report(given)?.record?.lastEnd).toMatchObject({ byMachine: true });
});

test("L7: a run that failed before the machine went down has failed", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
  await world.start();
  const given = await world.run("svc.1");
  world.machine.exit(given.task, 1);
  await world.untilState(given.task, TaskState.FAILED);
  world.powerCut();
  await world.start();
  await world.pass(60_000);
  expect(world.running()).toEqual([]);
  expect(world.report(given)?.state).toBe(LeaseReport_State.SETTLED);
});

test("L7: waits are in boot time: neither a wrong wall clock nor a killed worker changes one; a reboot ends it", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { delayMs: 60_000 } });
  await world.start();
  const given = await world.run("svc.1");
  world.machine.exit(given.task, 1);
  const ended = world.clock.monotonic();
  await world.untilState(given.task, TaskState.FAILED);
  world.clock.jump(-10 * 365 * 86_400_000);
  await world.pass(20_000);
  world.kill();
  world.clock.jump(20 * 365 * 86_400_000);
  await world.start();
  await world.pass(20_000);
  expect(world.running()).toEqual([]);
  await world.until("it runs again", () => world.running().length === 1);
  expect(world.clock.monotonic() - ended).toBeGreaterThan(59_900);
  expect(world.clock.monotonic() - ended).toBeLessThan(61_000);
  world.machine.exit(world.running()[0] ?? "", 1);
  await world.until("it waits", () => world.report(given)?.record?.failures === 2);
  await world.pass(1_000);
  world.powerCut();
  await world.start();
  await world.pass(5_000);
  expect(world.running()).toHaveLength(1);
});

test.each([-1, 1])(
  "L7: how long a run lasted does not hang on a wall clock that is set meanwhile (%i day)",
  async (days) => {
    await using world = new World();
    world.service({ id: "svc", name: "web", restart: { delayMs: 100 } });
    await world.start();
    const given = await world.run("svc.1");
    await world.pass(20_000);
    world.clock.jump(days * 86_400_000);
    world.machine.exit(given.task, 1);
    await world.until("its end is counted", () => world.report(given)?.record?.failures === 1);
    const record = world.report(given)?.record;
    expect(record?.lastEnd?.ranMs).toBeGreaterThanOrEqual(19_900);
    expect(record?.lastEnd?.ranMs).toBeLessThan(25_000);
    expect(record?.shortRuns).toBe(0);
  },
);

test("L7: attempts and their window outlive worker and machine", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { delayMs: 100, maxAttempts: 3, windowMs: 600_000 } });
  world.machine.program = (process) => process.exit(1);
  await world.start();
  const given = world.offer("svc.1");
  await world.untilState(given.task, TaskState.READY);
  world.manager.disconnect();
  world.manager.setState(given.key, LeaseState.HELD);
  world.manager.reconnect();
  for (let times = 0; times < 3; times += 1) {
    await world.pass(200);
    if (times === 1) world.powerCut();
    else world.kill();
    await world.start();
  }
  await world.until("it is settled", () => world.report(given)?.state === LeaseReport_State.SETTLED);
  expect(world.report(given)?.settled).toBe("it was restarted 3 times within 10 min, as often as its policy allows");
  expect(world.report(given)?.record).toMatchObject({ restarts: 3, failures: 4 });
});

describe("L12: a lease whose record was lost", () => {
  const forget = (world: World): void => {
    world.kill();
    world.disk.entries.clear();
  };

  test("counts no end before its restart policy is known", async () => {
    await using world = new World();
    world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.ON_FAILURE, delayMs: 100 } });
    await world.start();
    const given = await world.run("svc.1");
    await world.pass(20_000);
    world.manager.disconnect();
    forget(world);
    world.machine.exit(given.task, 0);
    await world.start({ wait: false });
    await world.pass(60_000);
    world.manager.reconnect();
    await world.until("it is settled", () => world.report(given)?.state === LeaseReport_State.SETTLED);
    await world.pass(60_000);
    expect(world.calls("start")).toBe(1);
    expect(world.report(given)?.settled).toBe("it completed, and its restart policy is on-failure");
  });

  test("goes on from the reported record: earlier runs count once, and waits are kept", async () => {
    await using world = new World();
    world.service({ id: "svc", name: "web", restart: { delayMs: 10_000, maxAttempts: 3, windowMs: 600_000 } });
    await world.start();
    const given = await world.run("svc.1");
    for (let restarts = 1; restarts <= 2; restarts += 1) {
      world.machine.exit(world.running()[0] ?? "", 1);
      await world.until("it runs again", () => world.running().length === 1);
      await world.pass(1_000);
    }
    world.machine.exit(world.running()[0] ?? "", 1);
    await world.pass(2_000);
    expect(world.report(given)?.record).toMatchObject({ runs: 3, restarts: 3, failures: 3 });
    forget(world);
    await world.start();
    await world.pass(4_000);
    // Six of ten seconds have passed.
    expect(world.running()).toEqual([]);
    await world.pass(5_000);
    expect(world.running()).toHaveLength(1);
    expect(world.report(given)?.record).toMatchObject({ runs: 4, restarts: 3, failures: 3 });
    world.machine.exit(world.running()[0] ?? "", 1);
    await world.until("it is settled", () => world.report(given)?.state === LeaseReport_State.SETTLED);
  });

  test("stays settled if managers have it as settled", async () => {
    await using world = new World();
    world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
    await world.start();
    const given = await world.run("svc.1");
    world.machine.exit(given.task, 1);
    await world.until("it is settled", () => world.report(given)?.state === LeaseReport_State.SETTLED);
    forget(world);
    await world.start();
    await world.pass(60_000);
    expect(world.calls("start")).toBe(1);
    expect(world.report(given)).toMatchObject({ state: LeaseReport_State.SETTLED, record: { runs: 1, failures: 1 } });
  });
});

test("L10: a report is bounded, whatever happened since the last one", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { delayMs: 10 } });
  await world.start();
  const given = world.offer("svc.1", { spec: { container: { image: `registry.example/${"x".repeat(200)}:1` } } });
  await world.untilState(given.task, TaskState.REJECTED);
  world.hold(given);
  await world.until("it is known", () => world.report(given)?.state === LeaseReport_State.HELD);
  world.manager.disconnect();
  world.machine.publish(`registry.example/${"x".repeat(200)}:1`);
  let runs = 0;
  world.machine.program = (process) => {
    runs += 1;
    process.exit(1);
  };
  await world.until("it has run often", () => runs > 60);
  world.manager.reconnect();
  await world.until("it is reported", () => (world.report(given)?.record?.runs ?? 0) > 60);
  const report = world.report(given) as LeaseReport;
  expect(report.runs.length).toBeLessThanOrEqual(5);
  expect(LeaseReport.encode(report).finish().length).toBeLessThan(4_000);
  expect(report.record?.firstFailure?.taskId).toBe(given.task);
  // The node's record is bounded too.
  expect(world.agent.tasks().length).toBeLessThanOrEqual(6);
  expect(world.machine.containers.size).toBeLessThanOrEqual(6);
});

test("L10: a report that is refused, as another node has the lease, is logged once and delays no other", async () => {
  await using world = await World.started();
  world.manager.refusedSlots.add("svc.1");
  const theirs = world.give("svc.1");
  await world.run("svc.2");
  expect(world.report(theirs)).toBeUndefined();
  await world.pass(1_000);
  const { length } = world.manager.batches;
  await world.pass(60_000);
  expect(world.manager.batches).toHaveLength(length);
  const said = world.log.records.filter(({ event }) => event === "a manager refuses the report of a lease");
  expect(said.at(-1)?.fields).toMatchObject({ slotId: "svc.1", why: "another node has it" });
  world.manager.unassign("lease", theirs.key);
  await world.until("it is forgotten", () => world.running().length === 1);
});

test("L12: with a damaged record nothing starts before a COMPLETE message, and all does after it", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.kill();
  // The last write is lost.
  world.disk.entries.delete(`lease/${given.key}/record`);
  world.machine.exit(given.task, 1);
  world.manager.disconnect();
  await world.start();
  await world.pass(60_000);
  expect(world.calls("start")).toBe(1);
  expect(world.log.records.some(({ event }) => event.startsWith("a part of the worker's record was lost"))).toBe(true);
  world.manager.reconnect();
  await world.until("it runs again", () => world.running("svc.1").length === 1);
});

test("L13: a session names the last applied point; equal or later points are applied, also with no assignments", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  expect(world.manager.request?.lastApplied).toBeUndefined();
  world.kill();
  const point = world.manager.pointNow();
  await world.start();
  expect(world.manager.request?.lastApplied).toMatchObject(point);
  // A leader of a later term, at the same version.
  world.manager.disconnect();
  world.manager.point.reign = 8;
  world.manager.reconnect();
  await world.until("it is connected", () => world.manager.connected);
  expect(world.running()).toEqual([given.task]);
  world.manager.disconnect();
  world.manager.objects.clear();
  world.manager.leases.clear();
  world.manager.point.version += 1;
  world.manager.reconnect();
  await world.until("nothing runs", () => world.running().length === 0);
});

test.each([
  ["an earlier point of the same history", { version: -1 }, "it is at version"],
  [
    "a lower incarnation",
    { counter: -1 },
    "it is of incarnation 0 of the cluster, and this node has applied incarnation 1",
  ],
  ["another history of the same count", { id: "other" }, "it is of another history: incarnation 1 with id other"],
])("L13, L14: %s is not applied, and is logged", async (_what, change, why) => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.manager.disconnect();
  const { point } = world.manager;
  const before = structuredClone(point);
  const completes = world.manager.completes.length;
  if ("version" in change && change.version !== undefined) point.version += change.version;
  if ("counter" in change && change.counter !== undefined) point.incarnation.counter += change.counter;
  if ("id" in change && change.id !== undefined) point.incarnation.id = change.id;
  world.manager.objects.clear();
  world.manager.leases.clear();
  world.manager.reconnect();
  const said = (): boolean =>
    world.log.records.some(({ fields }) => String((fields?.["error"] as Error | undefined)?.message).includes(why));
  await world.until("it is named", said);
  await world.pass(60_000);
  expect(world.running()).toEqual([given.task]);
  expect(world.manager.completes).toHaveLength(completes);
  Object.assign(point, before);
  await world.until("it is applied", () => world.running().length === 0);
});

test("L13: assignments of a leader that was deposed meanwhile are not applied", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.manager.point.version -= 5;
  world.manager.unassign("lease", given.key);
  await world.pass(1_000);
  expect(world.running()).toEqual([given.task]);
  world.manager.point.version += 5;
  await world.until("the next message is applied", () => world.running().length === 0);
});

test("L13: states that were reported to a manager without the history are reported again to the next one with it", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
  await world.start();
  const given = await world.run("svc.1");
  world.manager.disconnect();
  world.manager.historyLost = "it was set back";
  world.manager.reconnect();
  await world.until("it is connected", () => world.manager.connected);
  world.machine.exit(given.task, 1);
  await world.untilState(given.task, TaskState.FAILED);
  world.manager.disconnect();
  world.manager.statuses.clear();
  world.manager.historyLost = "";
  world.manager.reconnect();
  await world.untilState(given.task, TaskState.FAILED);
});

test("L13: a subnet from a manager that has lost history is ignored", async () => {
  await using world = await World.started();
  await world.until("the network is open", () => world.network.settings !== undefined);
  world.manager.disconnect();
  world.manager.historyLost = "it was set back";
  world.manager.subnet = "10.77.9.0/24";
  world.manager.reconnect();
  await world.until("it is connected", () => world.manager.connected);
  await world.pass(1_000);
  world.kill();
  await world.start();
  await world.pass(1_000);
  expect(world.manager.connected).toBe(true);
  expect(world.network.settings?.nodeSubnet).toBe("10.77.1.0/24");
});

test("L14: a lease of an earlier incarnation neither stops nor starts until the present one has assigned it", async () => {
  await using world = await World.started();
  const runs = world.give("svc.1");
  const ends = world.give("svc.2");
  const offered = world.offer("svc.3");
  await world.untilRunning(runs, ends);
  await world.untilState(offered.task, TaskState.READY);
  world.manager.disconnect();
  // A cluster that was restored from a backup without these leases.
  world.manager.point.incarnation = { counter: 2, id: "restored" };
  world.manager.point.version = 1;
  for (const { key } of [runs, ends, offered]) {
    world.manager.objects.delete(`lease/${key}`);
    world.manager.leases.delete(key);
  }
  world.manager.reports.clear();
  world.manager.reconnect();
  await world.until("they are reported as they are", () => world.manager.reports.size === 3);
  world.machine.exit(ends.task, 1);
  await world.untilState(ends.task, TaskState.FAILED);
  world.kill();
  await world.start();
  await world.pass(60_000);
  expect(world.running()).toEqual([runs.task]);
  expect(world.calls("kill")).toBe(0);
  expect(world.report(runs)?.state).toBe(LeaseReport_State.HELD);
  // Reconciled: one lease goes on, one ends.
  world.manager.lease({ ...ends.lease, state: LeaseState.HELD });
  await world.until("it runs again", () => world.running("svc.2").length === 1);
  world.manager.lease({ ...runs.lease, state: LeaseState.RELEASING });
  await world.until("it has ended", () => world.running("svc.1").length === 0);
  world.manager.lease({ ...offered.lease, state: LeaseState.HELD });
  await world.until("the offer runs", () => world.running("svc.3").length === 1);
});

test("L14: a lease that the present incarnation has unchanged goes on under it", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.manager.disconnect();
  world.manager.point.incarnation = { counter: 2, id: "restored" };
  world.manager.reconnect();
  await world.until("it is connected", () => world.manager.connected);
  world.machine.exit(given.task, 1);
  await world.until("it runs again", () => world.running("svc.1").length === 1);
});

test("kinds and fields of a later level survive a restart, and are not sent again when a session resumes", async () => {
  await using world = await World.started();
  const given = world.offer("svc.1");
  const later = Buffer.from([0xfa, 0x3f, 2, 1, 2]); // field 1023, two bytes
  const bytes = Buffer.concat([encodeAssigned("lease", { ...given.lease, state: LeaseState.HELD }), later]);
  const change = { kind: 1 as AssignmentKind, key: given.key, object: bytes };
  world.manager.objects.set(`lease/${given.key}`, change);
  world.manager.objects.set("99/key/with/slashes", {
    kind: 99 as AssignmentKind,
    key: "key/with/slashes",
    object: later,
  });
  world.manager.send([...world.manager.objects.values()]);
  await world.until("it runs", () => world.running("svc.1").length === 1);
  await world.pass(1_000);
  world.kill();
  await world.start();
  expect(world.manager.completes.at(-1)).toBe(0);
  expect(AssignedLease.decode(bytes)._unknownFields?.[8186]).toHaveLength(1);
  const held = [...world.disk.entries.keys()].filter((key) => key.startsWith("assigned/99/"));
  expect(held).toEqual(["assigned/99/key/with/slashes"]);
});

describe("L15: a node that the cluster has removed", () => {
  test("ends its tasks, starts nothing again, and logs why", async () => {
    await using world = await World.started();
    const [t1, t2] = [world.give("svc.1"), world.offer("svc.2")];
    await world.untilRunning(t1);
    world.manager.removed = "node edge-1 was removed";
    world.manager.disconnect();
    world.manager.reconnect();
    await world.until("it has ended", () => world.running().length === 0);
    await world.until("its interfaces are gone", () => world.network.attached.size === 0);
    world.hold(t2);
    await world.pass(60_000);
    expect(world.running()).toEqual([]);
    expect(world.log.records.find(({ level }) => level === "error")?.fields).toMatchObject({
      why: "node edge-1 was removed",
    });
    // The next worker, too.
    world.kill();
    await world.start({ wait: false });
    await world.pass(60_000);
    expect(world.running()).toEqual([]);
  });

  test("accepts its removal from managers of its own history only", async () => {
    await using world = await World.started();
    const t1 = await world.run("svc.1");
    await world.pass(1_000);
    world.manager.removed = "node edge-1 was removed";
    for (const lost of ["a part of the history was lost", ""]) {
      world.manager.historyLost = lost;
      if (lost === "") world.manager.point = { ...world.manager.point, version: 1 };
      world.manager.disconnect();
      world.manager.reconnect();
      await world.pass(60_000);
      expect(world.running()).toEqual([t1.task]);
    }
  });
});

describe("L7: when the machine goes down", () => {
  test("runs leave the balancer, end by their own grace, none starts, and none of it is a failure of theirs", async () => {
    await using world = new World();
    world.service({ id: "svc", name: "web", restart: { condition: RestartPolicy_Condition.NONE } });
    const signals: string[] = [];
    world.machine.program = (process) =>
      process.onSignal((signal) => {
        signals.push(`${signal} while ${world.network.serving("svc").length} serve`);
        if (process.container.command?.[0] === "polite") process.exit(7);
      });
    await world.start();
    const [first, second] = [
      world.give("svc.1", { spec: { container: { command: ["polite"] } } }),
      world.give("svc.2", { spec: { container: { stopGraceMs: 30_000 } } }),
    ];
    const third = world.offer("svc.3");
    await world.untilRunning(first, second);
    await world.untilState(third.task, TaskState.READY);

    const begin = world.clock.monotonic();
    let mostMs = 0;
    let isDown = false;
    const down = world.agent.endWithMachine(async (ms) => void (mostMs = ms)).then(() => (isDown = true));
    world.hold(third);
    await world.until("it may go down", () => isDown);
    await down;
    expect(world.running()).toEqual([]);
    expect(signals).toEqual(["SIGTERM while 0 serve", "SIGTERM while 0 serve"]);
    const tookMs = world.clock.monotonic() - begin;
    expect(tookMs).toBeGreaterThan(30_000);
    expect(tookMs).toBeLessThan(mostMs);
    expect(mostMs).toBeLessThan(60_000);
    const stopped = { state: TaskState.SHUTDOWN, code: "AGENT_MACHINE_STOPPED" };
    expect(world.manager.statuses.get(first.task)).toMatchObject({
      ...stopped,
      message: "stopped as its machine went down, with exit code 7",
      container: { exitCode: 7 },
    });
    expect(world.manager.statuses.get(second.task)).toMatchObject({
      ...stopped,
      message: "stopped as its machine went down, and killed after its grace of 30 s",
    });

    world.powerCut();
    world.manager.disconnect();
    await world.start();
    await world.until("all run again", () => world.running().length === 3);
    world.manager.reconnect();
    for (const given of [first, second, third]) {
      await world.until("it is known", () => world.report(given)?.record?.runs !== undefined);
      expect(world.report(given)).toMatchObject({ record: { failures: 0, restarts: 0, rejections: 0 } });
      expect(world.report(given)?.settled).toBe("");
    }
  });

  test("a worker that has only just begun first takes up what runs, then ends it", async () => {
    await using world = new World();
    await world.start();
    const given = world.give("svc.1");
    await world.untilRunning(given);
    world.kill();
    await world.start({ wait: false });
    let isDown = false;
    const down = world.agent.endWithMachine(() => Promise.resolve()).then(() => (isDown = true));
    await world.until("it may go down", () => isDown);
    await down;
    expect(world.running()).toEqual([]);
    expect(world.calls("kill", given.task)).toBe(1);
  });

  test("a run that had failed before, and waits for what it counts for, has failed", async () => {
    await using world = new World();
    await world.start();
    const given = world.give("svc.1");
    await world.untilRunning(given);
    world.machine.exit(given.task, 3);
    await world.untilState(given.task, TaskState.FAILED);
    let isDown = false;
    const down = world.agent.endWithMachine(() => Promise.resolve()).then(() => (isDown = true));
    await world.until("it may go down", () => isDown);
    await down;
    await world.pass(10_000);
    expect(world.running()).toEqual([]);
    expect(world.manager.statuses.get(given.task)).toMatchObject({ state: TaskState.FAILED });
  });
});
