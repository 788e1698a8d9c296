import { RestartPolicy_Condition as Condition, TaskState, type Task } from "@warren/api";
import { expect, test } from "vitest";
import { rejectionDelay } from "../src/restarts.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

function states(tasks: readonly Task[]): [TaskState, TaskState][] {
  return tasks.map(({ status, desiredState }) => [status!.state, desiredState]);
}

const { SHUTDOWN, RUNNING, READY, FAILED, COMPLETE, PENDING, REJECTED } = TaskState;

test("a task that fails is followed at once by one that is made ready, and starts five seconds later", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1);
  await world.end(world.running("web")[0]!, FAILED, 3);
  expect(states(world.tasks("web"))).toEqual([
    [FAILED, SHUTDOWN],
    [READY, READY],
  ]);
  expect(world.tasks("web")[0]!.status!.container!.exitCode).toBe(3);
  expect(world.events()).toContain("web.1 failed");
  expect(world.view.list("events").at(-1)!.message).toBe("failed with exit code 3; another starts in 5 s");
  await world.advance(4_999);
  expect(world.running("web")).toHaveLength(0);
  await world.advance(1);
  expect(states(world.tasks("web"))).toEqual([
    [FAILED, SHUTDOWN],
    [RUNNING, RUNNING],
  ]);
  await world.stopLeading();
});

test("a restart's delay goes on under a new leader", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, { task: { restart: { delayMs: 60_000 } } });
  await world.end(world.running("web")[0]!);
  await world.advance(30_000);
  await world.stopLeading();
  await world.advance(20_000);
  world.lead();
  await world.advance(9_999);
  expect(world.running("web")).toHaveLength(0);
  await world.advance(1);
  expect(world.running("web")).toHaveLength(1);
  await world.stopLeading();
});

test("a clock that is set back an hour delays a restart by no more than its delay", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1);
  await world.end(world.running("web")[0]!);
  world.clock.jump(-3_600_000);
  await world.advance(5_000);
  expect(world.running("web")).toHaveLength(1);
  await world.stopLeading();
});

test.each([
  [Condition.NONE, FAILED, "its restart policy is none"],
  [Condition.NONE, COMPLETE, "its restart policy is none"],
  [Condition.ON_FAILURE, COMPLETE, "it completed, and its restart policy is on-failure"],
])("condition %s after state %s: the slot is settled and says why", async (condition, state, why) => {
  const world = await SimulatedCluster.start();
  await world.create("web", 2, { task: { restart: { condition } } });
  await world.end(world.slot("web", 1)[0]!, state);
  await world.advance(60_000);
  expect(states(world.slot("web", 1))).toEqual([[state, SHUTDOWN]]);
  expect(world.slot("web", 1)[0]!.record!.settled).toBe(why);
  expect(world.events().filter((event) => event === "web.1 settled")).toHaveLength(1);
  await world.scale("web", 3);
  expect(world.running("web").map(({ slot }) => slot)).toEqual([2, 3]);
  await world.stopLeading();
});

test.each([
  [Condition.ANY, COMPLETE],
  [Condition.UNSPECIFIED, COMPLETE],
  [Condition.ON_FAILURE, FAILED],
])("condition %s after state %s: it is restarted", async (condition, state) => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, { task: { restart: { condition } } });
  await world.end(world.running("web")[0]!, state);
  await world.advance(5_000);
  expect(world.running("web")).toHaveLength(1);
  await world.stopLeading();
});

test("restarts are counted, and the slot is settled after as many as allowed", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:1", "crash");
  await world.create("web", 1, { task: { restart: { maxAttempts: 7, delayMs: 1_000 } } });
  await world.advance(60_000);
  const tasks = world.tasks("web");
  expect(tasks).toHaveLength(5);
  expect(tasks.at(-1)!.record).toMatchObject({
    run: 8,
    restarts: 7,
    settled: "it was restarted 7 times, as often as its policy allows",
  });
  await world.stopLeading();
});

test("restarts before a window do not count", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, { task: { restart: { maxAttempts: 1, windowMs: 30_000, delayMs: 0 } } });
  await world.end(world.running("web")[0]!);
  await world.advance(40_000);
  await world.end(world.running("web")[0]!);
  expect(world.running("web")).toHaveLength(1);
  await world.advance(20_000);
  await world.end(world.running("web")[0]!);
  await world.advance(20_000);
  expect(world.tasks("web").at(-1)!.record!.settled).toBe(
    "it was restarted once within 30 s, as often as its policy allows",
  );
  await world.stopLeading();
});

test("a slot keeps its last five ended tasks", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:1", "crash");
  await world.create("web", 1, { task: { restart: { delayMs: 10 } } });
  await world.advance(1_000);
  const ended = world.tasks("web").filter(({ status }) => status!.state === FAILED);
  expect(ended).toHaveLength(5);
  const runs = ended.map(({ record }) => record!.run);
  expect(runs).toEqual(Array.from({ length: 5 }, (_, index) => runs[0]! + index));
  await world.stopLeading();
});

test("a history of none keeps only what settles a slot", async () => {
  const world = await SimulatedCluster.start(1, { cluster: { taskHistory: 0 } });
  world.behaviours.set("app:1", "complete");
  await world.create("web", 1, { task: { restart: { condition: Condition.ON_FAILURE } } });
  await world.create("api", 1);
  await world.end(world.running("api")[0] ?? world.tasks("api")[0]!);
  await world.advance(1);
  expect(states(world.tasks("web"))).toEqual([[COMPLETE, SHUTDOWN]]);
  expect(world.tasks("api")).toHaveLength(1);
  await world.stopLeading();
});

test("a rejected task is tried again later each time, is not prepared meanwhile, and says so", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:1", "reject");
  await world.create("web", 1, { task: { restart: { condition: Condition.NONE, maxAttempts: 1 } } });
  const waits: number[] = [];
  for (let tries = 0; tries < 9; tries += 1) {
    const last = world.tasks("web").at(-1)!;
    expect([last.status!.state, last.desiredState]).toEqual([PENDING, PENDING]);
    expect(last.status!.message).toMatch(/^is tried again at \d\d:\d\d:\d\dZ, in /);
    waits.push(last.record!.startAt!.getTime() - world.clock.now());
    await world.advance(waits.at(-1)!);
  }
  for (const [index, wait] of waits.entries()) {
    const step = rejectionDelay(5_000, index + 1);
    expect(wait).toBeGreaterThanOrEqual(step);
    expect(wait).toBeLessThanOrEqual(step * 1.1);
  }
  expect(rejectionDelay(5_000, 2)).toBe(10_000);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(300_000);
  expect(world.view.list("events").at(-1)!.message).toMatch(/^was rejected: no such image; another starts in \d min$/);

  world.behaviours.clear();
  await world.advance(331_000);
  expect(world.running("web")).toHaveLength(1);
  expect(world.tasks("web").filter(({ status }) => status!.state === REJECTED)).toHaveLength(5);
  await world.stopLeading();
});

test("a task that ran puts an end to the back-off", async () => {
  const world = await SimulatedCluster.start();
  world.behaviours.set("app:1", "reject");
  await world.create("web", 1);
  await world.advance(20_000);
  world.behaviours.clear();
  await world.advance(60_000);
  await world.end(world.running("web")[0]!);
  expect(world.tasks("web").at(-1)!.record).toMatchObject({ rejections: 0 });
  await world.stopLeading();
});
