import { LeaseReport_State, LeaseState, TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { image, World } from "./fakes/world.ts";

test("an offered lease is prepared and not started; held, it runs", async () => {
  await using world = await World.started();
  const given = world.offer("svc.1");
  await world.untilState(given.task, TaskState.READY);
  await world.pass(60_000);
  expect(world.calls("start")).toBe(0);
  expect(world.report(given)?.state).toBe(LeaseReport_State.OFFERED);
  world.hold(given);
  await world.untilRunning(given);
  expect(world.report(given)?.state).toBe(LeaseReport_State.HELD);
  const status = world.manager.statuses.get(given.task);
  expect(status?.message).toBe("running");
  expect(status?.container).toMatchObject({
    containerId: given.task,
    address: given.lease.address,
    imageDigest: world.machine.publish(image).digest,
  });
  expect(world.network.attached.get(given.task)).toMatchObject({ networks: ["net"], address: given.lease.address });
  expect(world.network.serving("svc")).toEqual([given.lease.address]);
});

test("a released lease leaves names and balancer, then its run is stopped, and it is reported as released (L8)", async () => {
  await using world = await World.started({ leaveMs: 2_000 });
  const given = await world.run("svc.1");
  world.release(given);
  await world.until("it has left", () => world.network.serving("svc").length === 0);
  const left = world.clock.monotonic();
  expect(world.network.backends("svc")).toMatchObject([{ draining: true, weight: 0 }]);
  await world.until("it has its signal", () => world.calls("kill") === 1);
  expect(world.clock.monotonic() - left).toBeGreaterThanOrEqual(1_950);
  await world.until("it is forgotten", () => !world.manager.leases.has(given.key));
  expect(world.report(given)?.state).toBe(LeaseReport_State.RELEASED);
  expect(world.state(given.task)).toBe(TaskState.SHUTDOWN);
  expect(world.network.attached.size).toBe(0);
  expect(world.network.flowsRemoved).toContain(given.lease.address);
  expect(world.network.backends("svc")).toEqual([]);
  expect(world.running()).toEqual([]);
});

test("without a manager runs are restarted by the rules of slot, with the same address (L6, L8)", async () => {
  await using world = await World.started();
  const given = await world.run("svc.1");
  world.manager.disconnect();
  const ids = new Set<string>();
  for (let times = 0; times < 4; times += 1) {
    await world.until("it runs", () => world.running().length === 1);
    const [id = ""] = world.running();
    ids.add(id);
    expect(world.network.attached.get(id)?.address).toBe(given.lease.address);
    world.machine.exit(id, 1);
    await world.until("it has ended", () => world.running().length === 0);
  }
  expect(ids.size).toBe(4);
  world.manager.reconnect();
  await world.until("it is reported", () => (world.report(given)?.runs.length ?? 0) === 5);
  await world.until("the fifth runs", () => world.report(given)?.record?.runs === 5);
  expect(world.report(given)?.record).toMatchObject({ failures: 4 });
  expect(world.network.flowsRemoved.filter((each) => each === given.lease.address)).toHaveLength(4);
});

test("a lease whose rules allow no further run is settled, and stays until it is released (L4)", async () => {
  await using world = new World();
  world.service({ id: "svc", name: "web", restart: { condition: 1 } });
  await world.start();
  const given = await world.run("svc.1");
  world.machine.exit(given.task, 3);
  await world.until("it is settled", () => world.report(given)?.state === LeaseReport_State.SETTLED);
  expect(world.report(given)?.settled).toBe("its restart policy is none");
  await world.pass(60_000);
  expect(world.calls("start")).toBe(1);
  world.release(given);
  await world.until("it is forgotten", () => !world.manager.leases.has(given.key));
});

test("on one node the next lease of a slot starts once the last is released, connected or not (L2)", async () => {
  await using world = new World();
  world.machine.program = (process) => process.onSignal(() => setTimeout(() => process.exit(0)));
  await world.start();
  const old = await world.run("svc.1");
  const next = world.offer("svc.1", { after: old.epoch });
  await world.untilState(next.task, TaskState.READY);
  world.manager.lease({ ...old.lease, state: LeaseState.RELEASING }, { ...next.lease, state: LeaseState.HELD });
  await world.until("it is known here", () => world.network.serving("svc").length === 0);
  world.manager.disconnect();
  let most = 0;
  await world.until("the next one runs", () => {
    most = Math.max(most, world.running("svc.1").length);
    return world.running("svc.1").includes(next.task);
  });
  expect(most).toBe(1);
  expect(world.network.serving("svc")).toEqual([next.lease.address]);
});
