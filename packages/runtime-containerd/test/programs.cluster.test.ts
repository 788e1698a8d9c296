import { channel } from "node:diagnostics_channel";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ContainerState, Runtime } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";

let bed: RuntimeBed;
let runtime: Runtime;
let image: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  image = await bed.push("counted:1", { config: { Volumes: { "/data": {} } } });
  await runtime.pull(image);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

test("a worker starts one program, and none for a container, an exec or a removal", async () => {
  const started: string[] = [];
  const note = (message: unknown): void => {
    const { spawnfile, spawnargs } = (message as { process: { spawnfile: string; spawnargs: string[] } }).process;
    started.push(`${spawnfile} ${spawnargs.slice(1).join(" ")}`);
  };
  // It is published before the program's name is known, so it is looked at in the next turn.
  const later = (message: unknown): void => void setImmediate(() => note(message));
  channel("child_process").subscribe(later);
  try {
    const ids = Array.from({ length: 5 }, (_, i) => `n${i}`);
    for (const id of ids) {
      await runtime.create({ id, image, command: ["sleep", "3600"], user: "web" });
      await runtime.start(id);
      const process = await runtime.exec(id, { args: ["true"], user: "web" });
      expect((await process.exit).code).toBe(0);
    }
    for (const id of ids) await runtime.remove(id);
  } finally {
    channel("child_process").unsubscribe(later);
  }
  expect(started.length).toBeLessThanOrEqual(1);
  for (const line of started) expect(line).toMatch(/warren-runtime serve$/);
});

test("a helper that dies fails the calls that wait for it, and the next call begins another", async () => {
  const lines = execFileSync("ps", ["--ppid", String(process.pid), "-o", "pid=,args="], { encoding: "utf8" }).split(
    "\n",
  );
  const own = lines.find((line) => line.endsWith("warren-runtime serve"));
  const helper = (): number | undefined => (own === undefined ? undefined : Number.parseInt(own, 10));
  const pid = helper();
  expect(pid).toBeDefined();
  process.kill(pid ?? 0, "SIGSTOP");
  const waiting = runtime.create({ id: "waits", image, command: ["true"] }).catch((error: unknown) => error);
  await until("it is asked for something", () =>
    runtime.list().then(() => existsSync(join(bed.options.runDir, "containers/waits"))),
  );
  process.kill(pid ?? 0, "SIGKILL");
  expect(await waiting).toMatchObject({ code: "RUNTIME_FAILED", retryable: true });
  await runtime.create({ id: "waits", image, command: ["true"] });
  await runtime.remove("waits");
});

test("how a container ended is known after a reboot, and of what ran it is told that the machine took it", async () => {
  for (const [id, text] of [
    ["ended", "exit 7"],
    ["running", "sleep 3600"],
  ] as const) {
    await runtime.create({ id, image, command: ["/bin/sh", "-c", text] });
    await runtime.start(id);
  }
  expect(await runtime.wait("ended")).toMatchObject({ code: 7 });
  await runtime.create({ id: "fresh", image, command: ["true"] });
  const known = await runtime.list();
  const pid = (id: string): number => {
    const state = known.find((status) => status.id === id)?.state;
    return state?.kind === "running" ? state.pid : 0;
  };
  // As a machine that goes down does: processes, and all that is on a tmpfs.
  await bed.containerd.kill();
  const shims = execFileSync("pgrep", ["-f", `containerd-shim.*-address ${bed.containerd.address}`], {
    encoding: "utf8",
  });
  for (const shim of shims.trim().split("\n")) process.kill(Number(shim), "SIGKILL");
  process.kill(pid("running"), "SIGKILL");
  const { directory } = bed.containerd;
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  const own = mounts.filter((path) => path.startsWith(`${directory}/`));
  if (own.length > 0) execFileSync("umount", ["-l", ...own]);
  rmSync(join(directory, "state"), { recursive: true });
  rmSync(bed.options.runDir, { recursive: true });
  await bed.containerd.restart();
  const state = async (): Promise<Record<string, ContainerState>> =>
    Object.fromEntries((await runtime.list()).map((status) => [status.id, status.state]));
  expect(await state()).toMatchObject({
    ended: { kind: "exited", exit: { code: 7, oomKilled: false } },
    // This machine has not really been started again.
    running: { kind: "unknown", cause: "lost" },
    fresh: { kind: "unknown", cause: "lost" },
  });
  expect(await runtime.wait("ended")).toMatchObject({ code: 7 });
  // It has now, for one that looks where another start's number stands.
  const look = join(import.meta.dirname, "list-worker.ts");
  const script = `echo 00000000-0000-4000-8000-000000000000 > ${directory}/boot && mount --bind ${directory}/boot /proc/sys/kernel/random/boot_id && exec "$@"`;
  const command = [process.execPath, "--conditions=warren-source", look, JSON.stringify(bed.options)];
  const told = execFileSync("unshare", ["--mount", "sh", "-c", script, "sh", ...command], { encoding: "utf8" });
  expect(JSON.parse(told)).toMatchObject({
    ended: { kind: "exited", exit: { code: 7 } },
    running: { kind: "unknown", cause: "reboot" },
    fresh: { kind: "unknown", cause: "reboot" },
  });
  for (const id of ["ended", "running", "fresh"]) await runtime.remove(id);
});
