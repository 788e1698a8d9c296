import { spawn } from "node:child_process";
import { once } from "node:events";
import { systemBootClock } from "@warren/std";
import { expect, test } from "vitest";
import { processStartMs } from "../src/process-start.ts";

test("a process began between the moments before and after its start, whatever its name", async () => {
  const before = systemBootClock.bootTime().elapsedMs;
  const child = spawn("sh", ["-c", "read line"], { argv0: "a ) (b" });
  try {
    await once(child, "spawn");
    const began = await processStartMs(child.pid ?? 0);
    expect(began).toBeGreaterThanOrEqual(before - 20);
    expect(began).toBeLessThanOrEqual(systemBootClock.bootTime().elapsedMs + 20);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  expect(await processStartMs(child.pid ?? 0)).toBeUndefined();
});
