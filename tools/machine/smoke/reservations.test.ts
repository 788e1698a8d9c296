/** Reservations and limits of cgroup v2, as tasks get them while others want the same. */
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { create, machineAt, tasks } from "./cluster.ts";

let machine: Machine;
beforeAll(async () => {
  machine = await machineAt("cluster");
});

/** The path of a service's one task's cgroup. */
async function cgroupOf(service: string): Promise<string> {
  const running = (await tasks(machine, service)).find(({ pid }) => pid > 0);
  const path = await machine.ok(`cut -d: -f3 /proc/${running?.pid ?? 0}/cgroup`);
  return `/sys/fs/cgroup${path.trim()}`;
}

/** Processor time, µs, that each cgroup used while all of them wanted all. */
async function used(paths: readonly string[], seconds: number): Promise<readonly number[]> {
  const read = paths.map((path) => `sed -n 's/^usage_usec //p' ${path}/cpu.stat`).join("; ");
  const numbers = (await machine.ok(`${read}; sleep ${seconds}; ${read}`)).trim().split("\n").map(Number);
  return paths.map((_, i) => (numbers[paths.length + i] ?? 0) - (numbers[i] ?? 0));
}

/** Two loops, so that it would take both processors. */
const spin = ["sh", "-c", "while :; do :; done & while :; do :; done"];

test("the machine has cgroup v2 alone", async () => {
  expect(await machine.ok("stat -fc %T /sys/fs/cgroup")).toBe("cgroup2fs\n");
});

test("processor time goes by reservations, and little to a task that reserves none", async () => {
  await create(machine, "reserves", "--reserve-cpu", "0.5", "--", ...spin);
  await create(machine, "twice", "--reserve-cpu", "1", "--", ...spin);
  await create(machine, "nothing", "--", ...spin);
  const paths = [await cgroupOf("reserves"), await cgroupOf("twice"), await cgroupOf("nothing")];
  const [reserves = 0, twice = 0, nothing = 0] = await used(paths, 20);
  expect(twice / reserves).toBeGreaterThan(1.5);
  expect(twice / reserves).toBeLessThan(2.7);
  expect(nothing / reserves).toBeLessThan(0.2);
  await machine.ok("warren service delete reserves twice nothing");
});

test("a task gets no more processor time than its limit", async () => {
  await create(machine, "limited", "--limit-cpu", "0.2", "--", ...spin);
  const [limited = 0] = await used([await cgroupOf("limited")], 10);
  expect(limited).toBeLessThan(3_000_000);
  await machine.ok("warren service delete limited");
});

test("reserved memory stays where another task's pages are taken", async () => {
  // Each fills a file's worth of memory that the kernel may take back, and keeps none of it busy.
  const fill = (mebibytes: number): string[] => [
    "sh",
    "-c",
    `dd if=/dev/zero of=/data/x bs=1M count=${mebibytes} 2>/dev/null; sync; cat /data/x >/dev/null; sleep 1000000`,
  ];
  const volume = (name: string): string[] => ["--mount", `type=volume,src=${name},dst=/data`];
  await create(machine, "kept", "--reserve-memory", "150m", ...volume("kept"), "--", ...fill(100));
  await create(machine, "taken", ...volume("taken"), "--", ...fill(100));
  const [kept, taken] = [await cgroupOf("kept"), await cgroupOf("taken")];
  expect(await machine.ok(`cat ${kept}/memory.low`)).toBe(`${150 * 2 ** 20}\n`);
  const file = `sed -n 's/^file //p' ${kept}/memory.stat ${taken}/memory.stat`;
  const before = (await machine.ok(file)).trim().split("\n").map(Number);
  // The kernel takes from the parent of all tasks what it would take if the machine had so much less.
  await machine.sh(`echo 100M >$(dirname ${kept})/memory.reclaim`);
  const after = (await machine.ok(file)).trim().split("\n").map(Number);
  expect(after[0]).toBeGreaterThan((before[0] ?? 0) * 0.9);
  expect(after[1]).toBeLessThan((before[1] ?? 0) * 0.6);
});

test("a task can't have more processes than its limit", async () => {
  await create(machine, "forks", "--limit-pids", "20", "--", "sleep", "1000000");
  const line = "for n in $(seq 40); do sleep 100 & done; wait";
  expect((await machine.sh(`warren exec forks.1 -- timeout 20 sh -c '${line}'`)).stderr).toMatch(/fork/);
  expect(Number(await machine.ok(`cat ${await cgroupOf("forks")}/pids.max`))).toBe(20);
});
