import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

interface Measured {
  readonly applied: number;
  readonly restored: number;
  readonly slots: number;
  readonly tasks: number;
}

/** In a process of its own: heap is measured after collections, with nothing else in it. */
async function measured(services: number, slotsPerService: number): Promise<Measured> {
  const script = new URL("measure.ts", import.meta.url).pathname;
  const flags = ["--expose-gc", "--conditions=warren-source"];
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...flags,
    script,
    String(services),
    String(slotsPerService),
  ]);
  return JSON.parse(stdout) as Measured;
}

test("10,000 running tasks of 1,000 services cost under 20 MB of heap, as applied and as restored", async () => {
  const { applied, restored, slots, tasks } = await measured(1_000, 10);
  expect([slots, tasks]).toEqual([10_000, 10_000]);
  expect(applied).toBeLessThan(20e6);
  expect(restored).toBeLessThan(20e6);
}, 180_000);
