import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { systemBootClock } from "@warren/std";
import { FakeClock } from "@warren/std/testing";

test("the system's boot time is the kernel's", () => {
  expect(systemBootClock.bootTime().bootId).toBe(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
  const kernelMs = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1_000;
  expect(Math.abs(systemBootClock.bootTime().elapsedMs - kernelMs)).toBeLessThan(5_000);
});

describe("FakeClock", () => {
  test("suspended time counts for the boot and the wall, not for timers", () => {
    const clock = new FakeClock(1_000);
    let fired = false;
    clock.setTimeout(() => (fired = true), 100);
    clock.suspend(5_000);
    expect([clock.now(), clock.monotonic(), clock.bootTime().elapsedMs]).toEqual([6_000, 0, 5_000]);
    expect(fired).toBe(false);
    clock.advance(100);
    expect(fired).toBe(true);
    expect(clock.bootTime().elapsedMs).toBe(5_100);
  });

  test("a reboot begins another boot at 0, ends timers, and leaves the wall clock going", () => {
    const clock = new FakeClock(1_000);
    clock.setTimeout(() => expect.unreachable(), 100);
    clock.advance(50);
    const before = clock.bootTime();
    clock.reboot(2_000);
    expect(clock.bootTime().elapsedMs).toBe(0);
    expect(clock.bootTime().bootId).not.toBe(before.bootId);
    expect([clock.now(), clock.pending]).toEqual([3_050, 0]);
    clock.advance(70);
    expect(clock.bootTime().elapsedMs).toBe(70);
  });

  test("the wall clock can be set wrong without anything else noticing", () => {
    const clock = new FakeClock();
    clock.advance(10);
    clock.setWall(0);
    expect([clock.now(), clock.monotonic(), clock.bootTime().elapsedMs]).toEqual([0, 10, 10]);
    clock.advance(5);
    expect(clock.now()).toBe(5);
  });
});
