/** The contract of the core's `Storage`, on the one in memory and on the log of members. */
import { describe, test } from "vitest";

import { MemoryStorage } from "../../src/core/index.ts";
import { memoryDisk, openLogStorage } from "../../src/index.ts";
import { coreStorageContract, type CoreStorageUnderTest } from "../../src/testing/index.ts";

function inMemory(): CoreStorageUnderTest {
  const storage = new MemoryStorage();
  return {
    storage,
    async write(entries, hardState) {
      storage.append(entries);
      if (hardState !== undefined) storage.setHardState(hardState);
    },
    snapshot: async ({ index, confState }) => void storage.createSnapshot(index, confState, new Uint8Array(0)),
    compact: async (index) => storage.compact(index),
    install: async (metadata) => storage.applySnapshot({ metadata, data: new Uint8Array(0) }),
  };
}

async function* state(): AsyncGenerator<Uint8Array, void, void> {
  yield Buffer.from("state");
}

/** @param cacheBytes of entries that are kept in memory */
async function onDisk(cacheBytes: number): Promise<CoreStorageUnderTest> {
  const identity = { clusterId: "c", nodeId: 1, newIncarnation: () => "i", cacheBytes };
  const storage = await openLogStorage(memoryDisk(), identity);
  return {
    storage,
    write: (entries, hardState) => storage.write({ entries, ...(hardState !== undefined && { hardState }) }),
    snapshot: (metadata) => storage.saveSnapshot(metadata, state()),
    compact: (index) => storage.compact(index),
    async install(metadata) {
      await storage.saveSnapshot(metadata, state());
      await storage.installSnapshot(metadata, undefined);
    },
  };
}

describe.each(coreStorageContract)("a storage $title", ({ run }) => {
  test("in memory", () => run(inMemory()));
  test("on a disk", async () => run(await onDisk(1024 * 1024)));
  test("on a disk, with no entry in memory", async () => run(await onDisk(1)));
});
