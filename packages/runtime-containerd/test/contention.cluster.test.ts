import type { Runtime } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";

let bed: RuntimeBed;
let runtime: Runtime;
let image: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  image = await bed.push("busy:1");
  await runtime.pull(image);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

/** Processor time that each of them got of what all got, counted by themselves, while all want every core. */
async function sharesOf(reserved: Readonly<Record<string, number | undefined>>): Promise<Record<string, number>> {
  const ids = Object.keys(reserved);
  // Each counts the rounds of its two loops, and says how far it is.
  const loop = "n=0; while :; do n=$((n+1)); [ $((n % 20000)) -eq 0 ] && echo x; done";
  for (const id of ids) {
    const cpuReservation = reserved[id];
    const resources = cpuReservation === undefined ? {} : { cpuReservation };
    await runtime.create({ id, image, command: ["/bin/sh", "-c", `(${loop}) & ${loop}`], resources });
  }
  await Promise.all(ids.map((id) => runtime.start(id)));
  const rounds = async (): Promise<number[]> =>
    Promise.all(
      ids.map(async (id) => {
        let count = 0;
        for await (const _ of runtime.logs(id)) count += 1;
        return count;
      }),
    );
  // What was done before all had begun does not count.
  const before = await rounds();
  const total = (counts: readonly number[]): number => counts.reduce((sum, n, i) => sum + n - (before[i] ?? 0), 0);
  const counts = await until(
    "enough was done to be compared",
    async () => {
      const now = await rounds();
      return total(now) > 150 && now;
    },
    90_000,
  );
  for (const id of ids) await runtime.remove(id);
  return Object.fromEntries(ids.map((id, i) => [id, ((counts[i] ?? 0) - (before[i] ?? 0)) / total(counts)]));
}

test("a container that reserves processor time gets it, whatever one that reserves nothing wants", async () => {
  const shares = await sharesOf({ reserves: 0.5, nothing: undefined });
  expect(shares["reserves"]).toBeGreaterThan(0.85);
});

test("what is reserved is shared in proportion", async () => {
  const { one = 0, two = 0 } = await sharesOf({ one: 0.3, two: 0.9 });
  expect(two / one).toBeGreaterThan(2);
  expect(two / one).toBeLessThan(4.5);
});
