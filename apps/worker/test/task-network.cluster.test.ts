import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { taskNetworkContract } from "@warren/agent/testing";
import { test } from "vitest";

const run = promisify(execFile);
const program = join(import.meta.dirname, "fakes/network-case.ts");

test.each(taskNetworkContract)("the node's network $title", async ({ title }) => {
  const node = [process.execPath, "--conditions=warren-source", program, title];
  await run("unshare", ["--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", ...node]);
});
