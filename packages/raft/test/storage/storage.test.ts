import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { memoryDisk, openFileDisk, openLogStorage } from "../../src/index.ts";
import { storageContract } from "../../src/testing/index.ts";

describe("storage on a disk in memory", () => {
  for (const { title, ...one } of storageContract) test(title, () => one.run(memoryDisk()));
});

describe.for([true, false])("storage on LevelDB and files, with a journal: %s", (journal) => {
  for (const { title, ...one } of storageContract) {
    test(title, async () => {
      const directory = await mkdtemp(join(tmpdir(), "raft-storage-"));
      try {
        await one.run(await openFileDisk(directory, { journal }));
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  }
});

test("a snapshot with a flipped bit is never read to its end", async () => {
  const disk = memoryDisk();
  const storage = await openLogStorage(disk, { clusterId: "c", nodeId: 1, newIncarnation: () => "i" });
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const state = async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("state");
  };
  await storage.saveSnapshot({ index: 1, term: 1, confState }, state());
  const bytes = Buffer.from((await disk.read("snapshot-1.body"))!);
  bytes[9]! ^= 1;
  await disk.overwrite("snapshot-1.body", bytes, { sync: true });
  const read = async (): Promise<number> => {
    let length = 0;
    for await (const chunk of storage.openSnapshot(1).chunks) length += chunk.length;
    return length;
  };
  await expect(read()).rejects.toMatchObject({ code: "RAFT_SNAPSHOT_CORRUPT" });
});
