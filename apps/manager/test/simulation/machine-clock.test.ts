import { bootClockContract, clockContract, FakeClock } from "@warren/std/testing";
import { test } from "vitest";
import { MachineClock } from "./machine-clock.ts";
import { Process } from "./process.ts";

test.each(clockContract)("a simulated process's clock $title", ({ run }) => {
  const world = new FakeClock();
  const machine = new MachineClock("edge-1", world);
  machine.setWallOffset(-1_000_000);
  return run({ clock: new Process().clock(machine), pass: (ms) => world.advanceAsync(ms) });
});

test.each(bootClockContract)("a simulated machine's clock $title", ({ run }) => {
  const world = new FakeClock();
  return run({ clock: new MachineClock("edge-1", world), pass: (ms) => world.advanceAsync(ms) });
});
