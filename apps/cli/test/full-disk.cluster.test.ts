/** A manager on a disk that fills up: it ends, the command line says why, and it has room to start again. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect } from "@warren/api/client";
import { until } from "@warren/std/testing";
import { expect, test } from "vitest";

const run = promisify(execFile);
const program = join(import.meta.dirname, "../bin/warren.js");

test("a manager whose disk is full ends and says so, and starts again with the room that was kept back", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-full-"));
  const [dataDir, runDir] = [join(folder, "data"), join(folder, "run")];
  await mkdir(dataDir);
  // Small, but with room for the ballast four times over.
  await run("mount", ["-t", "tmpfs", "-o", "size=96m", "warren-test", dataDir]);
  const log = await open(join(folder, "log"), "a");
  const socket = join(runDir, "manager.sock");
  const env = { ...process.env, WARREN_HOST: `unix:${socket}`, FORCE_COLOR: "0" };
  const client = connect({ socket });
  const start = (): ChildProcess => {
    const folders = ["--data-dir", dataDir, "--run-dir", runDir, "--metrics-addr", "off"];
    return spawn(process.execPath, [program, "manager", ...folders], { stdio: ["ignore", log.fd, log.fd], env });
  };
  const warren = async (...args: string[]): Promise<string> => {
    const done = await run(process.execPath, [program, ...args], { env }).catch((error: unknown) => error);
    const { stdout, stderr } = done as { stdout: string; stderr: string };
    return stdout + stderr;
  };
  let manager = start();
  try {
    await until("it answers", async () => (await warren("cluster", "info")).includes("no cluster"), 30_000);
    await client.clusters.init({});
    const { bavail, bsize } = await statfs(dataDir);
    await writeFile(join(dataDir, "filler"), Buffer.alloc(bavail * bsize - 65_536));
    const ended = once(manager, "exit");
    const fill = async (): Promise<void> => {
      for (let i = 0; manager.exitCode === null; i += 1)
        await client.networks.create({ spec: { name: `n${i}`, labels: { filling: "x".repeat(4_000) } } });
    };
    await Promise.race([fill().catch(() => undefined), ended]);
    const [code] = (await ended) as [number];
    expect(code).toBe(1);
    const missed = await warren("service", "list");
    expect(missed).toContain("no manager answers");
    expect(missed).toMatch(/the manager ended by itself: .*(ENOSPC|No space left).*make room on the disk of/s);
    expect(missed).toContain("the room that was kept back for this is free now");
    manager = start();
    await until("it serves again", async () => (await warren("network", "list")).includes("default"), 30_000);
    await client.networks.create({ spec: { name: "after", labels: {} } });
    expect(await warren("service", "list")).not.toContain("ended by itself");
  } finally {
    client.close();
    manager.kill("SIGKILL");
    if (manager.exitCode === null && manager.signalCode === null) await once(manager, "exit");
    await log.close();
    await run("umount", [dataDir]);
    await rm(folder, { recursive: true });
  }
}, 120_000);
