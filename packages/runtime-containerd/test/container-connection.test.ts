import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { connectTo } from "../src/container-connection.ts";

test("a caller that has gone before the connection is begun leaves no process", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-connection-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const program = join(folder, "program");
  const begun = join(folder, "begun");
  await writeFile(program, `#!/bin/sh\n: > ${begun}\nprintf x\nexec sleep 5\n`, { mode: 0o755 });
  const target = { id: "c", netnsPath: "/proc/self/ns/net", port: 80 };
  await expect(connectTo(program, target, AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
  expect(existsSync(begun)).toBe(false);
});
