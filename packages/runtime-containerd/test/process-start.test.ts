import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemBootClock } from "@warren/std";
import { expect, test } from "vitest";
import { processStartMs } from "../src/process-start.ts";

test("a process began between the moments before and after its start, whatever its name", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-start-"));
  // The kernel has the name that a program was started by, in brackets.
  const program = join(folder, "a ) (b");
  await symlink("/bin/sh", program);
  const before = systemBootClock.bootTime().elapsedMs;
  const child = spawn(program, ["-c", "read line"]);
  try {
    await once(child, "spawn");
    const began = await processStartMs(child.pid ?? 0);
    expect(began).toBeGreaterThanOrEqual(before - 20);
    expect(began).toBeLessThanOrEqual(systemBootClock.bootTime().elapsedMs + 20);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
    await rm(folder, { recursive: true });
  }
  expect(await processStartMs(child.pid ?? 0)).toBeUndefined();
});
