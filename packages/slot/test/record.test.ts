import { RestartPolicy, RunEnd } from "@warren/api";
import type { BootTime } from "@warren/std";
import { seededRandom } from "@warren/std/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  adoptRecord,
  durationText,
  emptyRecord,
  nextRun,
  recordAt,
  recordStart,
  remainingWait,
  windowElapsed,
} from "../src/index.ts";

/** Events of a machine, in ms where they take time. */
const event = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("uptime" as const), ms: fc.integer({ min: 0, max: 40_000 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("reboot" as const), bootMs: fc.integer({ min: 0, max: 9_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wall clock" as const), by: fc.integer() }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("crash" as const) }) },
);

/** A machine whose boot clock begins anew at each reboot, and whose wall clock is anything. */
class Machine {
  wall = Date.UTC(2026, 0, 1);
  boot = 0;
  ms = 0;
  /** The sum of all uptimes: a stopwatch that stands still while the power is off. */
  uptime = 0;

  get now(): BootTime {
    return { bootId: `boot-${this.boot}`, elapsedMs: this.ms };
  }

  pass(ms: number): void {
    this.ms += ms;
    this.uptime += ms;
    this.wall += ms;
  }

  reboot(bootMs: number): void {
    this.boot += 1;
    this.ms = bootMs;
    this.uptime += bootMs;
    this.wall += 86_400_000;
  }
}

describe("L7: windows and waits over reboots, power-off and wrong wall clocks", () => {
  const policy = RestartPolicy.fromPartial({ delayMs: 0, maxAttempts: 3, windowMs: 60_000 });
  const crash = RunEnd.create({ exitCode: 1, ranMs: 20_000 });

  test("restarts are counted as by a stopwatch that runs while the machine does", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const machine = new Machine();
        const random = seededRandom(1);
        let record = recordStart(emptyRecord(), machine.now);
        let windowFrom = 0;
        let restarts = 0;
        for (const each of events) {
          if (each.kind === "uptime") machine.pass(each.ms);
          if (each.kind === "wall clock") machine.wall += each.by;
          if (each.kind === "reboot") {
            record = recordAt(record, machine.now); // A checkpoint, as an orderly shutdown makes it.
            machine.reboot(each.bootMs);
            const next = nextRun(policy, record, RunEnd.create({ byMachine: true }), machine.now, random);
            expect(next).toMatchObject({ kind: "run", waitMs: 0 });
            record = recordStart(next.record, machine.now);
          }
          if (each.kind === "crash") {
            const next = nextRun(policy, record, crash, machine.now, random);
            const expired = restarts === 0 || machine.uptime - windowFrom >= 60_000;
            expect(next.kind).toBe(expired || restarts < 3 ? "run" : "settled");
            if (expired) windowFrom = machine.uptime;
            if (next.kind === "run") {
              restarts = expired ? 1 : restarts + 1;
              record = recordStart(next.record, machine.now);
            }
          }
          expect(record.restarts).toBe(restarts);
          if (restarts > 0) expect(windowElapsed(record, machine.now)).toBe(machine.uptime - windowFrom);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("without a checkpoint a reboot loses at most the uptime since the last record", () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(100_000), fc.nat(100_000), (before, lost, after) => {
        const first = nextRun(policy, recordStart(emptyRecord(), at(0)), crash, at(0), seededRandom(1)).record;
        const checkpoint = recordAt(first, at(before));
        const elapsed = windowElapsed(checkpoint, { bootId: "b", elapsedMs: after });
        expect(elapsed).toBe(before + after);
        expect(elapsed).toBeLessThanOrEqual(before + lost + after);
      }),
    );
  });

  test("a wait shrinks with boot time, is over after a reboot, and never exceeds the decided length", () => {
    fc.assert(
      fc.property(fc.nat(600_000), fc.array(fc.nat(200_000), { maxLength: 5 }), (delayMs, steps) => {
        const slow = RestartPolicy.fromPartial({ delayMs });
        const next = nextRun(slow, emptyRecord(), crash, at(1_000), seededRandom(1));
        if (next.kind === "settled") throw new Error(next.why);
        let { record } = next;
        let ms = 1_000;
        for (const step of steps) {
          ms += step;
          if (step % 2 === 0) record = recordAt(record, at(ms));
          expect(remainingWait(record, at(ms))).toBe(Math.max(0, delayMs - (ms - 1_000)));
        }
        expect(remainingWait(record, { bootId: "b", elapsedMs: 0 })).toBe(0);
      }),
    );
  });

  test("a boot clock that seems to go back lengthens neither window nor wait", () => {
    const { record } = nextRun(policy, emptyRecord(), crash, at(9_000), seededRandom(1));
    expect(windowElapsed({ ...record, windowMs: 7 }, at(3))).toBe(7);
    expect(remainingWait({ ...record, waitMs: 50 }, at(3))).toBe(50);
  });
});

test("L9: the record moves with the slot to another node, whose uptime is not part of its window", () => {
  const policy = RestartPolicy.fromPartial({ maxAttempts: 1, windowMs: 60_000 });
  const crash = RunEnd.create({ exitCode: 1, ranMs: 20_000 });
  const { record } = nextRun(policy, recordStart(emptyRecord(), at(10)), crash, at(20), seededRandom(1));
  const adopted = adoptRecord(record, { bootId: "other", elapsedMs: 9_000_000 });
  expect(adopted).toMatchObject({ runs: 1, restarts: 1, windowMs: 0, waitMs: 0 });
  expect(nextRun(policy, adopted, crash, { bootId: "other", elapsedMs: 9_059_999 }, seededRandom(1)).kind).toBe(
    "settled",
  );
  expect(nextRun(policy, adopted, crash, { bootId: "other", elapsedMs: 9_060_000 }, seededRandom(1)).kind).toBe("run");
  expect(adoptRecord(record, at(3_020)).waitMs).toBe(2_000);
});

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [1_001, "2 s"],
  [120_000, "2 min"],
  [150_000, "2 min 30 s"],
  [3_600_001, "60 min 1 s"],
  [7_200_000, "2 h"],
  [7_260_000, "2 h 1 min"],
  [172_800_000, "2 d"],
  [172_800_001, "2 d 1 h"],
])("%i ms are %s", (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

function at(ms: number): BootTime {
  return { bootId: "a", elapsedMs: ms };
}
