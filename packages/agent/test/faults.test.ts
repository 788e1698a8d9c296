/** Any call may fail, and the worker may be closed at any moment: no error is left unhandled. */
import { LeaseReport_State, LeaseState } from "@warren/api";
import { RuntimeError } from "@warren/runtime";
import { afterAll, beforeAll, expect, test } from "vitest";
import { World, type GivenLease } from "./fakes/world.ts";

const unowned: unknown[] = [];
const note = (reason: unknown): void => void unowned.push(reason);
beforeAll(() => void process.on("unhandledRejection", note));
afterAll(() => void process.off("unhandledRejection", note));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Two leases from offer to release; one crashes on the way, the other replaces it; a probed one; a relay. */
async function script(world: World, step: () => Promise<void>): Promise<GivenLease[]> {
  world.machine.program = (process) => {
    if (process.exec !== undefined) process.exit(0);
    else process.onSignal((signal) => void (signal === "SIGKILL" && process.exit(137)));
  };
  const healthCheck = { probe: { $case: "exec" as const, value: { command: ["x"] } }, intervalMs: 500 };
  const http = { probe: { $case: "http" as const, value: { port: 80 } }, intervalMs: 500 };
  await step();
  const one = world.give("svc.1", { spec: { container: { healthCheck, stopGraceMs: 1_000 } } });
  const two = world.give("svc.2", { spec: { container: { healthCheck: http, stopGraceMs: 1_000 } } });
  for (let n = 0; n < 8; n += 1) await step();
  const [running] = world.running("svc.1");
  if (running !== undefined) world.machine.exit(running, 1);
  const value = { taskIds: [two.task], follow: true, since: undefined };
  world.manager.relay({ relayId: "r", what: { $case: "logs", value } });
  for (let n = 0; n < 6; n += 1) await step();
  const three = world.make("svc.1", { after: one.epoch });
  if (world.manager.leases.has(one.key))
    world.manager.lease({ ...one.lease, state: LeaseState.RELEASING }, { ...three.lease, state: LeaseState.HELD });
  world.release(two);
  for (let n = 0; n < 8; n += 1) await step();
  return [one, two, three];
}

const steps = async (world: World): Promise<void> => {
  await world.clock.advanceAsync(250);
  for (let n = 0; n < 3; n += 1) await turn();
};

/** The calls of the script, with their counts. */
async function calls(): Promise<Map<string, number>> {
  await using world = new World({ leaveMs: 500, keepEndedMs: 500 });
  const counts = new Map<string, number>();
  world.fault = (call) => {
    counts.set(call, (counts.get(call) ?? 0) + 1);
    return undefined;
  };
  await world.start();
  await script(world, () => steps(world));
  return counts;
}

test("after a failure of any one call of any seam the worker goes on, and reaches the same end", async () => {
  const errors: readonly (() => Error)[] = [
    () => new Error("scripted"),
    () => new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "scripted"),
  ];
  const counts = await calls();
  expect([...counts.keys()].toSorted()).toEqual(
    expect.arrayContaining(["network.attach", "runtime.exec", "runtime.kill", "session.report", "state.write"]),
  );
  for (const [call, count] of counts)
    for (let nth = 0; nth < Math.min(count, 4); nth += 1)
      for (const error of errors) {
        await using world = new World({ leaveMs: 500, keepEndedMs: 500 });
        let seen = 0;
        world.fault = (each) => (each === call && seen++ === nth ? error() : undefined);
        // A failure of the first read of the record rejects startAgent.
        if (call === "state.load") {
          await expect(world.start()).rejects.toThrow("scripted");
          continue;
        }
        await world.start();
        const [one, two, three] = await script(world, () => steps(world));
        const where = `${call}, time ${nth + 1}`;
        await world
          .until("the first two are released", () =>
            [one, two].every((each) => each && !world.manager.leases.has(each.key)),
          )
          .catch((cause: unknown) => {
            throw new Error(where, { cause });
          });
        if (three !== undefined && world.manager.leases.has(three.key))
          await world.until(
            `the third is held (${where})`,
            () => world.report(three)?.state === LeaseReport_State.HELD && world.running("svc.1").length === 1,
          );
        await world.agent.close();
        await turn();
        expect(unowned, where).toEqual([]);
        expect(world.clock.pending, where).toBe(0);
      }
}, 120_000);

test("a worker that is closed at any moment, also during a stop, leaves no timer and no error", async () => {
  for (let moment = 0; moment < 80; moment += 1) {
    const world = new World({ leaveMs: 500 });
    await world.start();
    let passed = 0;
    const closed = Promise.withResolvers<void>();
    const step = async (): Promise<void> => {
      for (let n = 0; n < 3; n += 1) {
        if (passed++ === moment) world.agent.close().then(closed.resolve, closed.reject);
        await turn();
      }
      await world.clock.advanceAsync(250);
    };
    await script(world, step);
    if (passed <= moment) break;
    await closed.promise;
    await turn();
    expect(unowned, `closed at moment ${moment}`).toEqual([]);
    expect(world.clock.pending, `closed at moment ${moment}`).toBe(0);
  }
}, 60_000);
