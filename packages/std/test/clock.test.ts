import { describe, expect, test } from "vitest";
import { delay } from "@warren/std";
import { FakeClock } from "@warren/std/testing";

describe("FakeClock", () => {
  test("fires timers in the order of their deadlines, then of their creation", () => {
    const clock = new FakeClock();
    const fired: string[] = [];
    clock.setTimeout(() => fired.push("late"), 20);
    clock.setTimeout(() => fired.push("first of two"), 10);
    clock.setTimeout(() => fired.push("second of two"), 10);
    clock.advance(19);
    expect(fired).toEqual(["first of two", "second of two"]);
    expect(clock.nextAt).toBe(20);
    clock.advance(1);
    expect(fired.at(-1)).toBe("late");
    expect(clock.pending).toBe(0);
  });

  test("a cancelled timer never fires, and a timer set while another fires does within the same advance", () => {
    const clock = new FakeClock();
    const fired: number[] = [];
    const cancelled = clock.setTimeout(() => fired.push(-1), 5);
    cancelled.cancel();
    clock.setTimeout(() => clock.setTimeout(() => fired.push(clock.monotonic()), 5), 5);
    clock.advance(10);
    expect(fired).toEqual([10]);
  });

  test("a jump moves wall time and leaves intervals alone", () => {
    const clock = new FakeClock(1_000);
    clock.advance(10);
    clock.jump(-500);
    expect(clock.now()).toBe(510);
    expect(clock.monotonic()).toBe(10);
  });

  test("advanceAsync lets a chain of delays run to its end", async () => {
    const clock = new FakeClock();
    const chain = (async () => {
      for (let step = 0; step < 3; step++) await delay(clock, 10);
      return clock.monotonic();
    })();
    await clock.advanceAsync(30);
    expect(await chain).toBe(30);
  });
});

describe("delay", () => {
  test("rejects with the signal's reason as soon as it is aborted, and leaves no timer", async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const waiting = delay(clock, 1_000, abort.signal);
    abort.abort(new Error("no longer wanted"));
    await expect(waiting).rejects.toThrow("no longer wanted");
    expect(clock.pending).toBe(0);
    await expect(delay(clock, 1, abort.signal)).rejects.toThrow("no longer wanted");
  });
});
