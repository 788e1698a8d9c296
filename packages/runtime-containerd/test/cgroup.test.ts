import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cgroups } from "../src/cgroup.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "warren-cgroup-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

test("version 2 is read as the kernel writes it", async () => {
  write({
    "cgroup.controllers": "cpu memory",
    "w/a/cpu.stat": "usage_usec 1234567\nuser_usec 1\n",
    "w/a/memory.current": "5000\n",
    "w/a/memory.stat": "anon 1\ninactive_file 2000\nactive_file 7\n",
    "w/a/memory.max": "max\n",
    "w/a/memory.events": "low 0\nmax 3\noom 1\noom_kill 2\n",
    "w/a/pids.current": "4\n",
    "w/a/io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
  });
  const cgroups = new Cgroups(root);
  expect([cgroups.version, cgroups.limitsSwap]).toEqual([2, true]);
  expect(await cgroups.stats("w/a")).toEqual({
    cpuUsageNs: 1_234_567_000n,
    memoryBytes: 3000,
    memoryLimitBytes: undefined,
    pids: 4,
    readBytes: 11n,
    writeBytes: 22n,
  });
  expect(await cgroups.outOfMemory("w/a")).toBe(true);
  write({ "w/a/memory.max": "8192\n", "w/a/memory.events": "oom 1\noom_kill 0\n" });
  expect(await cgroups.stats("w/a")).toMatchObject({ memoryLimitBytes: 8192 });
  expect(await cgroups.outOfMemory("w/a")).toBe(false);
});

test("version 1 is read as the kernel writes it", async () => {
  write({
    "cpuacct/w/a/cpuacct.usage": "987654321\n",
    "memory/memory.memsw.limit_in_bytes": "1\n",
    "memory/w/a/memory.usage_in_bytes": "5000\n",
    "memory/w/a/memory.stat": "inactive_file 1\ntotal_inactive_file 1000\n",
    "memory/w/a/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/w/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids/w/a/pids.current": "2\n",
    "blkio/w/a/blkio.throttle.io_service_bytes": "8:0 Read 100\n8:0 Write 50\n8:0 Total 150\n8:16 Read 1\nTotal 151\n",
  });
  const cgroups = new Cgroups(root);
  expect([cgroups.version, cgroups.limitsSwap]).toEqual([1, true]);
  expect(await cgroups.stats("w/a")).toEqual({
    cpuUsageNs: 987_654_321n,
    memoryBytes: 4000,
    memoryLimitBytes: undefined,
    pids: 2,
    readBytes: 101n,
    writeBytes: 50n,
  });
  expect(await cgroups.outOfMemory("w/a")).toBe(true);
});

test("the parent's weight is that of all cores, and its protected memory what its containers reserve", async () => {
  const parent = { "w/cpu.weight": "100", "w/memory.low": "0", "w/cgroup.subtree_control": "" };
  write({ "cgroup.controllers": "cpu memory", "cgroup.subtree_control": "", ...parent });
  const cgroups = new Cgroups(root);
  await cgroups.prepareParent("w", 4);
  const at = (path: string): string => readFileSync(join(root, path), "utf8");
  expect([at("w/cpu.weight"), at("w/memory.low")]).toEqual(["400", "0"]);
  write({ "w/a/memory.low": "4096\n", "w/b/memory.low": "8192\n", "w/c/memory.low": "max\n" });
  await cgroups.reservationsChanged("w");
  expect(at("w/memory.low")).toBe("12288");
  rmSync(join(root, "w/b"), { recursive: true });
  await cgroups.reservationsChanged("w");
  expect(at("w/memory.low")).toBe("4096");
});

test("of version 1 the parent's shares are those of all cores", async () => {
  write({ "cpu/w/cpu.shares": "1024" });
  await new Cgroups(root).prepareParent("w", 2);
  expect(readFileSync(join(root, "cpu/w/cpu.shares"), "utf8")).toBe("2048");
});

test("a cgroup that is gone has no usage and no memory kill, and leftovers are removed where they are empty", async () => {
  write({ "cgroup.controllers": "" });
  const cgroups = new Cgroups(root);
  expect(await cgroups.stats("w/gone")).toBeUndefined();
  expect(await cgroups.outOfMemory("w/gone")).toBe(false);
  for (const name of ["kept", "left"]) mkdirSync(join(root, "w", name), { recursive: true });
  await cgroups.removeLeftovers("w", (name) => name === "kept");
  expect(readdirSync(join(root, "w"))).toEqual(["kept"]);
});
