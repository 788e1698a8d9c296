/** What every `Clock` and every `BootClock` must do. */
import type { BootClock } from "../boot-clock.ts";
import type { Clock } from "../clock.ts";
import { assert } from "../error.ts";
import type { ContractCase } from "./contract.ts";

export interface ClockUnderTest {
  readonly clock: Clock;
  /** Lets at least `ms` pass; resolves once what fell due in them has happened. */
  readonly pass: (ms: number) => Promise<void>;
}

export interface BootClockUnderTest {
  readonly clock: BootClock;
  /** Lets at least `ms` pass. */
  readonly pass: (ms: number) => Promise<void>;
}

/** What a process that waits for a processor may add to a period, ms. */
const patienceMs = 10_000;

function work(steps: number): number {
  let sum = 0;
  for (let step = 0; step < steps; step += 1) sum += Math.sqrt(step);
  return sum;
}

/** Run each on a clock that nothing else sets timers on. */
export const clockContract: readonly ContractCase<ClockUnderTest>[] = [
  {
    title: "measures what passes, and never goes back",
    async run({ clock, pass }) {
      const [monotonic, wall] = [clock.monotonic(), clock.now()];
      assert(clock.monotonic() >= monotonic, "it does not go back between two readings");
      await pass(30);
      const passed = clock.monotonic() - monotonic;
      assert(passed >= 30 && passed < patienceMs, `about 30 ms have passed, not ${passed}`);
      const difference = Math.abs(clock.now() - wall - passed);
      assert(difference <= 5, `the wall clock, which nobody set, moved with it, not by ${difference} ms more or less`);
    },
  },
  {
    title: "fires a timer once, not within the call that sets it, and never before its time",
    async run({ clock, pass }) {
      // Real timers count whole milliseconds: many, begun at many parts of one.
      for (let round = 0; round < 60; round += 1) {
        work(round * 10_000);
        const delayMs = round % 4;
        const deadline = clock.monotonic() + delayMs;
        const fired: number[] = [];
        clock.setTimeout(() => fired.push(clock.monotonic()), delayMs);
        assert(fired.length === 0, "it has not fired when the call returns");
        await pass(delayMs + 3);
        while (fired.length === 0) await pass(1);
        const [at = 0] = fired;
        assert(at >= deadline, `a timer of ${delayMs} ms fired ${deadline - at} ms early`);
        await pass(2);
        assert(fired.length === 1, "it fires once");
      }
    },
  },
  {
    title: "fires timers in the order of their deadlines, and those of one deadline in the order of their making",
    async run({ clock, pass }) {
      const fired: number[] = [];
      // Deadlines are measured: a process that waits for a processor may set two timers long after each other.
      const deadlines = [30, 10, 0, 10, 30].map((delayMs, at) => {
        const deadline = clock.monotonic() + delayMs;
        clock.setTimeout(() => fired.push(at), delayMs);
        return deadline;
      });
      const order = [...deadlines.keys()].toSorted((a, b) => (deadlines[a] ?? 0) - (deadlines[b] ?? 0));
      await pass(40);
      while (fired.length < order.length) await pass(1);
      assert(fired.join() === order.join(), `the order is ${fired.join()}, not ${order.join()}`);
    },
  },
  {
    title: "does not fire what was cancelled, were it by another timer that fires at the same time",
    async run({ clock, pass }) {
      const fired: string[] = [];
      const late = clock.setTimeout(() => fired.push("cancelled before"), 5);
      late.cancel();
      late.cancel();
      clock.setTimeout(() => {
        second.cancel();
        fired.push("first");
      }, 5);
      const second = clock.setTimeout(() => fired.push("cancelled by the first"), 5);
      await pass(20);
      while (fired.length === 0) await pass(1);
      await pass(10);
      second.cancel();
      assert(fired.join() === "first", `what fired is ${fired.join()}`);
    },
  },
  {
    title: "fires what is set while another timer fires, and one whose time is past as soon as it can",
    async run({ clock, pass }) {
      const fired: string[] = [];
      clock.setTimeout(() => {
        clock.setTimeout(() => fired.push("at once"), -1_000);
        clock.setTimeout(() => fired.push("after"), 5);
        fired.push("first");
      }, 5);
      await pass(20);
      while (fired.length < 3) await pass(1);
      assert(fired.join() === "first,at once,after", `what fired is ${fired.join()}`);
    },
  },
  {
    title: "holds a delay of months, which fires none the sooner",
    async run({ clock, pass }) {
      let fired = false;
      const timer = clock.setTimeout(() => (fired = true), 2 ** 33);
      await pass(10);
      timer.cancel();
      assert(!fired, "it has not fired");
    },
  },
];

export const bootClockContract: readonly ContractCase<BootClockUnderTest>[] = [
  {
    title: "names a boot alike in two readings, which differ by the time between them",
    async run({ clock, pass }) {
      const before = clock.bootTime();
      await pass(30);
      const after = clock.bootTime();
      assert(before.bootId !== "" && after.bootId === before.bootId, "the boot has a name, and keeps it");
      const passed = after.elapsedMs - before.elapsedMs;
      // The kernel's resolution is 10 ms.
      assert(passed >= 20 && passed < patienceMs, `about 30 ms have passed, not ${passed}`);
    },
  },
];
