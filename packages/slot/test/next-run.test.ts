import { RestartPolicy, RestartPolicy_Condition as Condition, RunEnd, type SlotRecord } from "@warren/api";
import { seededRandom } from "@warren/std/testing";
import { describe, expect, test } from "vitest";
import { emptyRecord, endText, isFailure, nextRun, recordStart, type NextRun } from "../src/index.ts";

const random = seededRandom(1);
const at = (elapsedMs: number) => ({ bootId: "a", elapsedMs });
const failed = (ranMs = 60_000) => RunEnd.create({ exitCode: 1, message: "", ranMs });
const completed = (ranMs = 60_000) => RunEnd.create({ exitCode: 0, complete: true, ranMs });
const rejected = RunEnd.create({ rejected: true, message: "there is no image x" });
const byMachine = RunEnd.create({ byMachine: true, ranMs: 5 });
const policy = (partial: Parameters<typeof RestartPolicy.fromPartial>[0] = {}) => RestartPolicy.fromPartial(partial);

function after(ends: readonly RunEnd[], restart: RestartPolicy | undefined, gapMs = 60_000): NextRun {
  let record: SlotRecord = emptyRecord();
  let next: NextRun = { kind: "run", waitMs: 0, record };
  let ms = 0;
  for (const end of ends) {
    if (next.kind === "settled") throw new Error("no run follows");
    record = recordStart(next.record, at(ms));
    ms += gapMs;
    next = nextRun(restart, record, end, at(ms), random);
  }
  return next;
}

describe("whether another run follows", () => {
  test.each([
    ["any", Condition.ANY, "run", "run"],
    ["none named", Condition.UNSPECIFIED, "run", "run"],
    ["on-failure", Condition.ON_FAILURE, "run", "settled"],
    ["none", Condition.NONE, "settled", "settled"],
  ])("condition %s", (_, condition, onFailure, onCompletion) => {
    expect(after([failed()], policy({ condition })).kind).toBe(onFailure);
    expect(after([completed()], policy({ condition })).kind).toBe(onCompletion);
  });

  test("without a policy a run follows after 5 s", () => {
    expect(after([failed()], undefined)).toMatchObject({ kind: "run", waitMs: 5_000, record: { waitMs: 5_000 } });
  });

  test("L7: an end by the machine is followed at once whatever the policy, and uses up no attempt", () => {
    for (const condition of [Condition.NONE, Condition.ON_FAILURE, Condition.ANY]) {
      const next = after([byMachine, byMachine, byMachine], policy({ condition, maxAttempts: 1 }));
      expect(next).toMatchObject({ kind: "run", waitMs: 0 });
      expect(next.record).toMatchObject({
        runs: 3,
        restarts: 0,
        failures: 0,
        shortRuns: 0,
        lastEnd: { byMachine: true },
      });
      expect(next.record.firstFailure).toBeUndefined();
    }
  });

  test("a rejected run is tried again whatever the policy, after longer waits, which begin anew once a run starts", () => {
    const waits = [1, 2, 3, 9, 20].map((count) => {
      const next = after(Array(count).fill(rejected), policy({ condition: Condition.NONE, delayMs: 0 }));
      if (next.kind === "settled") throw new Error(next.why);
      expect(next.record.rejections).toBe(count);
      return next.waitMs;
    });
    for (const [index, least] of [1_000, 2_000, 4_000, 256_000, 300_000].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(least);
      expect(waits[index]).toBeLessThanOrEqual(least * 1.1);
    }
    expect(after([rejected, rejected, failed()], policy()).record).toMatchObject({ rejections: 0, failures: 1 });
  });

  test("attempts are counted within the window, from its first restart", () => {
    const limited = policy({ maxAttempts: 2, windowMs: 150_000, delayMs: 0 });
    expect(after([failed(), failed()], limited).kind).toBe("run");
    const over = after([failed(), failed(), failed()], limited);
    expect(over).toMatchObject({
      kind: "settled",
      why: "it was restarted 2 times within 2 min 30 s, as often as its policy allows",
      record: { restarts: 2, runs: 3 },
    });
    expect(after([failed(), failed(), failed()], limited, 80_000)).toMatchObject({
      kind: "run",
      record: { restarts: 1 },
    });
    expect(after([failed(), failed()], policy({ maxAttempts: 1 }))).toMatchObject({
      why: "it was restarted once, as often as its policy allows",
    });
  });

  test("a crash loop with a delay of 0 waits 100 ms, doubled up to 5 s, until a run lasts longer", () => {
    const waits = Array.from({ length: 9 }, (_, count) => {
      const next = after(Array(count + 1).fill(failed(50)), policy({ delayMs: 0 }), 50);
      return next.kind === "run" ? next.waitMs : undefined;
    });
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    expect(after([completed(50), completed(50)], policy({ delayMs: 0 }))).toMatchObject({ waitMs: 200 });
    expect(after([failed(50), failed(20_000)], policy({ delayMs: 0 }))).toMatchObject({ waitMs: 0 });
    expect(after([failed(50)], policy({ delayMs: 7_000 }))).toMatchObject({ waitMs: 7_000 });
  });

  test("L9: failures in a row are counted; a completed run sets the count to 0, and after a long run it begins anew", () => {
    expect(after([failed(), failed(), failed()], policy()).record.failures).toBe(3);
    expect(after([failed(), completed()], policy()).record.failures).toBe(0);
    expect(after([failed(), failed(), failed(300_000)], policy()).record.failures).toBe(1);
  });

  test("the first failure stays, the last end changes", () => {
    const { record } = after([failed(1), failed(2), byMachine, completed(3)], policy());
    expect(record.firstFailure?.ranMs).toBe(1);
    expect(record.lastEnd?.ranMs).toBe(3);
  });
});

test("completion is a failure where the policy keeps the task running, and only there", () => {
  expect(isFailure(undefined, completed())).toBe(true);
  expect(isFailure(policy({ condition: Condition.ON_FAILURE }), completed())).toBe(false);
  expect(isFailure(policy({ condition: Condition.NONE }), completed())).toBe(false);
  expect(isFailure(policy({ condition: Condition.NONE }), failed())).toBe(true);
  expect(isFailure(policy(), rejected)).toBe(true);
  expect(isFailure(policy(), byMachine)).toBe(false);
});

test.each([
  [failed(), "failed with exit code 1"],
  [RunEnd.create({ message: "ended with exit code 7", exitCode: 7 }), "failed: ended with exit code 7"],
  [RunEnd.create({ message: "it was unhealthy" }), "failed: it was unhealthy"],
  [rejected, "was rejected: there is no image x"],
  [completed(), "completed"],
  [RunEnd.create({ oomKilled: true, exitCode: 137 }), "ran out of memory"],
  [byMachine, "ended with its machine"],
])("an end as text: %#", (end, text) => {
  expect(endText(end)).toBe(text);
});
