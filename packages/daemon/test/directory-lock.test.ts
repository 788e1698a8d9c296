import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockDirectory } from "@warren/daemon";
import { expect, onTestFinished, test } from "vitest";

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "warren-lock-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Another process that holds the lock; and a child of it, which must not. */
async function holder(directory: string): Promise<ChildProcess> {
  const program = `
    import { spawn } from "node:child_process";
    import { lockDirectory } from "@warren/daemon";
    await lockDirectory(${JSON.stringify(directory)});
    const child = spawn("sleep", ["60"], { stdio: "ignore", detached: true });
    process.stdout.write(String(child.pid) + "\\n");
    process.stdin.resume();
  `;
  const flags = ["--conditions=warren-source", "--input-type=module-typescript", "--eval", program];
  const cwd = new URL("..", import.meta.url);
  const child = spawn(process.execPath, flags, { cwd, stdio: ["pipe", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const grandchild = Number(line.toString());
  onTestFinished(() => {
    child.kill("SIGKILL");
    process.kill(grandchild, "SIGKILL");
  });
  return child;
}

test("one holder locks a directory, another can once it is released, and a missing directory is created", async () => {
  const directory = join(await folder(), "data/manager");
  {
    await using lock = await lockDirectory(directory);
    expect(lock.directory).toBe(directory);
    const refused = lockDirectory(directory);
    await expect(refused).rejects.toMatchObject({ failure: { code: "DAEMON_ALREADY_RUNS", pid: process.pid } });
    await expect(refused).rejects.toThrow(/--data-dir/);
  }
  expect(existsSync(join(directory, "daemon.lock"))).toBe(false);
  await using again = await lockDirectory(directory);
  await again[Symbol.asyncDispose]();
});

test("the refusal names the process that holds the lock, which survives the removal of its files and ends with the process", async () => {
  const directory = await folder();
  const other = await holder(directory);
  await expect(lockDirectory(directory)).rejects.toMatchObject({ failure: { pid: other.pid } });
  await rm(join(directory, "daemon.lock"));
  await expect(lockDirectory(directory)).rejects.toThrow(/^another process runs on/);
  await writeFile(join(directory, "daemon.lock"), "garbage");
  await expect(lockDirectory(directory)).rejects.toMatchObject({ failure: { pid: undefined } });
  other.kill("SIGKILL");
  await once(other, "exit");
  // What the killed process started still runs, and does not hold the lock.
  await using lock = await lockDirectory(directory);
  expect(lock.directory).toBe(directory);
});

test("what can't be locked is refused with the reason", async () => {
  const file = join(await folder(), "file");
  await writeFile(file, "");
  await expect(lockDirectory(file)).rejects.toMatchObject({ code: "DAEMON_LOCK_FAILED" });
  await expect(lockDirectory(join(file, "below"))).rejects.toThrow(/ENOTDIR/);
});
