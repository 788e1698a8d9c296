import { machineNode } from "@warren/agent/machine";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

import { identityPathOf, writeIdentity } from "../src/identity.ts";

test("a machine's node is the last written identity; undefined before the first, and if it is damaged", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-machine-"));
  try {
    const record = join(folder, "worker", "record");
    const node = machineNode(record);
    expect(node()).toBeUndefined();
    await writeIdentity(identityPathOf(record), { nodeId: "n1", opened: 1 });
    expect(node()).toBe("n1");
    // A worker that was set up anew is another node.
    await writeIdentity(identityPathOf(record), { nodeId: "n2", opened: 1 });
    expect(node()).toBe("n2");
    await appendFile(identityPathOf(record), "x");
    expect(node()).toBeUndefined();
  } finally {
    await rm(folder, { recursive: true });
  }
});
