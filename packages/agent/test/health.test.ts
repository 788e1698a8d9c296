import { Health, HealthCheck, TaskState } from "@warren/api";
import { probeTimes } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import type { ImageHealthcheck } from "@warren/runtime";
import { healthOf, HealthTracker } from "../src/health.ts";
import { image, World } from "./fakes/world.ts";

const times = { intervalMs: 1_000, timeoutMs: 500, retries: 3, startPeriodMs: 5_000 };

/** Records failures with the tracker's gaps; returns when it became unhealthy. */
function unhealthyAt(tracker: HealthTracker, atMs = 0): number {
  for (let now = atMs; now < 1_000_000; now += tracker.nextGapMs()) {
    tracker.record(false, now);
    if (tracker.unhealthy) return now;
  }
  return Number.POSITIVE_INFINITY;
}

describe("a health tracker", () => {
  test("has Docker's defaults for what is left out, but 10 s between probes and 5 s for one", () => {
    expect(probeTimes(HealthCheck.create())).toEqual({
      intervalMs: 10_000,
      timeoutMs: 5_000,
      retries: 3,
      startPeriodMs: 0,
    });
  });

  test("counts no failure of the start period, then one an interval", () => {
    expect(unhealthyAt(new HealthTracker(times, false))).toBeGreaterThanOrEqual(7_000);
    expect(unhealthyAt(new HealthTracker(times, false))).toBeLessThan(8_500);
  });

  test("without a start period gives as many intervals as there are retries", () => {
    const at = unhealthyAt(new HealthTracker({ ...times, startPeriodMs: 0 }, false));
    expect(at).toBeGreaterThanOrEqual(3_000);
    expect(at).toBeLessThan(4_500);
  });

  test("probes sooner than the interval until one has passed, never later", () => {
    const tracker = new HealthTracker(times, false);
    const gaps = Array.from({ length: 6 }, () => tracker.nextGapMs());
    expect(gaps).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    tracker.record(true, 100);
    expect(tracker.nextGapMs()).toBe(1_000);
  });

  test("counts failures in a row once one has passed, even in the start period", () => {
    const tracker = new HealthTracker(times, false);
    tracker.record(true, 0);
    for (const healthy of [false, false, true, false, false]) tracker.record(healthy, 100);
    expect(tracker.unhealthy).toBe(false);
    tracker.record(false, 100);
    expect(tracker.unhealthy).toBe(true);
  });
});

const http = {
  probe: { $case: "http" as const, value: { port: 8080, path: "/ready" } },
  intervalMs: 1_000,
  retries: 2,
};

test("a task is STARTING and not balanced until its first passed probe", async () => {
  await using world = new World();
  const asked: unknown[] = [];
  let status = 503;
  world.probes = {
    http: (target) => (asked.push(target), Promise.resolve(status)),
    tcp: () => Promise.reject(new Error("not asked for")),
  };
  await world.start();
  const t1 = world.give("svc.1", { spec: { container: { healthCheck: { ...http, startPeriodMs: 60_000 } } } });
  await world.untilState(t1.task, TaskState.STARTING);
  await world.pass(30_000);
  expect(world.state(t1.task)).toBe(TaskState.STARTING);
  expect(world.manager.statuses.get(t1.task)?.message).toBe("not yet healthy: GET :8080/ready answers 503");
  expect(world.network.serving("svc")).toEqual([]);
  expect(asked[0]).toEqual({ address: "10.77.1.2", port: 8080, path: "/ready" });
  status = 302;
  await world.untilState(t1.task, TaskState.RUNNING);
  expect(world.manager.statuses.get(t1.task)).toMatchObject({
    message: "running and healthy",
    container: { health: Health.HEALTHY },
  });
  expect(world.network.serving("svc")).toEqual(["10.77.1.2"]);
});

test("an unhealthy task leaves the balancer at once, is stopped, and fails with the reason", async () => {
  await using world = new World();
  let healthy = true;
  world.probes = {
    tcp: () => (healthy ? Promise.resolve() : Promise.reject(new Error("connect ECONNREFUSED"))),
    http: () => Promise.reject(new Error("not asked for")),
  };
  const seen: number[] = [];
  world.machine.program = (process) =>
    process.onSignal(() => {
      seen.push(world.network.endpoints.flatMap(({ backends }) => backends).length);
      process.exit(0);
    });
  await world.start();
  const healthCheck = { probe: { $case: "tcp" as const, value: { port: 80 } }, intervalMs: 1_000, retries: 3 };
  const t1 = world.give("svc.1", { spec: { container: { healthCheck } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  await world.pass(5_000);
  healthy = false;
  await world.until(
    "a probe failed",
    () => world.manager.statuses.get(t1.task)?.container?.health === Health.UNHEALTHY,
  );
  expect(world.state(t1.task)).toBe(TaskState.RUNNING);
  expect(world.network.serving("svc")).toHaveLength(1);
  await world.untilState(t1.task, TaskState.FAILED);
  expect(seen).toEqual([0]);
  expect(world.manager.statuses.get(t1.task)).toMatchObject({
    code: "AGENT_UNHEALTHY",
    message: "unhealthy: 3 probes in a row failed: connect ECONNREFUSED",
    container: { health: Health.UNHEALTHY, exitCode: 0 },
  });
  expect(world.metrics.values.get("warren_agent_probe_failures_total")).toBe(3);
});

test("a probe that gets no answer in time has failed", async () => {
  await using world = new World();
  world.probes = {
    http: (_target, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    tcp: () => Promise.resolve(),
  };
  await world.start();
  const t1 = world.give("svc.1", { spec: { container: { healthCheck: { ...http, timeoutMs: 700, retries: 1 } } } });
  await world.untilState(t1.task, TaskState.FAILED);
  expect(world.manager.statuses.get(t1.task)?.message).toBe("unhealthy: a probe failed: no answer within 700 ms");
});

test("a task that never becomes healthy fails after its start period and retries", async () => {
  await using world = new World();
  world.probes = { http: () => Promise.resolve(500), tcp: () => Promise.resolve() };
  await world.start();
  const healthCheck = { ...http, startPeriodMs: 4_000 };
  const t1 = world.give("svc.1", { spec: { container: { healthCheck } } });
  await world.untilState(t1.task, TaskState.STARTING);
  await world.pass(4_500);
  expect(world.state(t1.task)).toBe(TaskState.STARTING);
  expect(world.manager.statuses.get(t1.task)?.container?.health).toBe(Health.STARTING);
  await world.pass(2_500);
  expect(world.manager.statuses.get(t1.task)).toMatchObject({
    state: TaskState.FAILED,
    code: "AGENT_UNHEALTHY",
    container: { health: Health.UNHEALTHY },
  });
  expect(world.network.history.every(([endpoint]) => endpoint?.backends.length === 0)).toBe(true);
});

test("an exec probe runs in the container; its output is reported, and one that hangs is killed", async () => {
  await using world = new World();
  let behaviour: "pass" | "fail" | "hang" = "pass";
  const killed: string[] = [];
  world.machine.program = (process) => {
    if (process.exec === undefined) return;
    expect(process.args).toEqual(["check", "--quick"]);
    if (behaviour === "pass") process.exit(0);
    else if (behaviour === "fail") void process.write("stderr", "no\n db\n").then(() => process.exit(4));
    else {
      const exit = process.exit.bind(process);
      process.exit = (code) => (killed.push(String(code)), exit(code));
    }
  };
  await world.start();
  const healthCheck = {
    probe: { $case: "exec" as const, value: { command: ["check", "--quick"] } },
    intervalMs: 1_000,
    timeoutMs: 500,
    retries: 2,
  };
  const tasks: string[] = [];
  for (const what of ["fail", "hang"] as const) {
    behaviour = "pass";
    const given = world.give("svc.1", { spec: { container: { healthCheck } } });
    tasks.push(given.task);
    await world.untilRunning(given);
    behaviour = what;
    await world.untilState(given.task, TaskState.FAILED);
    world.release(given);
    await world.until("it is forgotten", () => !world.manager.leases.has(given.key));
  }
  const [failed = "", hung = ""] = tasks;
  expect(world.manager.statuses.get(failed)?.message).toBe(
    "unhealthy: 2 probes in a row failed: check exits with 4: no db",
  );
  expect(world.manager.statuses.get(hung)?.message).toBe(
    "unhealthy: 2 probes in a row failed: no answer within 500 ms",
  );
  expect(killed).toEqual(["137", "137"]);
});

test("a runtime that does not answer makes no task unhealthy", async () => {
  await using world = new World();
  world.machine.program = (process) => void (process.exec !== undefined && process.exit(0));
  await world.start();
  const healthCheck = { probe: { $case: "exec" as const, value: { command: ["x"] } }, intervalMs: 1_000, retries: 1 };
  const t1 = world.give("svc.1", { spec: { container: { healthCheck } } });
  await world.untilState(t1.task, TaskState.RUNNING);
  world.machine.disconnect();
  await world.pass(60_000);
  world.machine.reconnect();
  await world.pass(5_000);
  expect(world.state(t1.task)).toBe(TaskState.RUNNING);
});

test("a health check without a probe fails its task", async () => {
  await using world = await World.started();
  const t1 = world.give("svc.1", { spec: { container: { healthCheck: { intervalMs: 1_000 } } } });
  await world.untilState(t1.task, TaskState.REJECTED);
  expect(world.manager.statuses.get(t1.task)?.code).toBe("AGENT_SPEC_INVALID");
  expect(world.calls("start")).toBe(0);
});

describe("an image's health check", () => {
  const ofImage: ImageHealthcheck = { kind: "command", command: ["/bin/sh", "-c", "check"] };

  test.each([
    ["is made where the spec says nothing, by Docker's times", undefined, ofImage, [30_000, 30_000, 3, 0]],
    [
      "has its own times",
      undefined,
      { ...ofImage, intervalMs: 1, timeoutMs: 2, retries: 4, startPeriodMs: 5 } as const,
      [1, 2, 4, 5],
    ],
    ["gives way to the spec's", HealthCheck.fromPartial(http), ofImage, [1_000, 5_000, 2, 0]],
  ] as const)("%s", (_title, asked, image, expected) => {
    const wanted = healthOf(asked, image);
    const { intervalMs, timeoutMs, retries, startPeriodMs } = wanted?.times ?? times;
    expect([intervalMs, timeoutMs, retries, startPeriodMs]).toEqual(expected);
    expect(wanted?.ofImage).toBe(asked === undefined);
    expect(wanted?.check.probe).toEqual(
      asked?.probe ?? { $case: "exec", value: { command: ["/bin/sh", "-c", "check"] } },
    );
  });

  test.each([
    ["NONE of the image", undefined, { kind: "none" }],
    ["none of the spec", HealthCheck.fromPartial({ probe: { $case: "none", value: {} } }), ofImage],
    ["an image that says nothing", undefined, undefined],
    ["one without a command", undefined, { kind: "command", command: [] }],
  ] as const)("is not made with %s", (_title, asked, image) => {
    expect(healthOf(asked, image)).toBeUndefined();
  });

  test("is probed before the task counts as running, and by the next worker too", async () => {
    await using world = new World();
    let code = 1;
    world.machine.publish(image, { config: { healthcheck: { ...ofImage, intervalMs: 1_000, retries: 2 } } });
    world.machine.program = (process) => {
      if (process.exec === undefined) return;
      expect(process.args).toEqual(["/bin/sh", "-c", "check"]);
      process.exit(code);
    };
    await world.start();
    const t1 = world.give("svc.1");
    await world.untilState(t1.task, TaskState.STARTING);
    await world.until("it has been probed", () => world.calls("exec", t1.task) > 2);
    expect(world.state(t1.task)).toBe(TaskState.STARTING);
    code = 0;
    await world.untilState(t1.task, TaskState.RUNNING);
    world.kill();
    code = 1;
    await world.start();
    await world.untilState(t1.task, TaskState.FAILED);
    expect(world.manager.statuses.get(t1.task)).toMatchObject({
      code: "AGENT_UNHEALTHY",
      message: expect.stringContaining("of its image's health check failed: /bin/sh exits with 1"),
    });
  });
});
