import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { seededRandom } from "@warren/std/testing";
import { describe, expect, test, vi } from "vitest";

import { memoryDisk, openFileDisk, openLogStorage, RaftError } from "../../src/index.ts";
import { storageContract } from "../../src/testing/index.ts";
import { SimulatedDisk } from "../../src/testing/simulation/disk.ts";
import { Process, Scheduler } from "../../src/testing/simulation/scheduler.ts";

// LevelDB and its syncs wait for whatever else the machine does.
vi.setConfig({ testTimeout: 60_000 });

/** Time passes wherever something waits for it. */
async function passTime(scheduler: Scheduler, over: () => boolean): Promise<void> {
  while (!over()) {
    await scheduler.run(Number.POSITIVE_INFINITY, over);
    await new Promise(setImmediate);
  }
}

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

describe.for([
  ["no journal", undefined],
  ["a small journal", { halfBytes: 4_096, largestRecordBytes: 1_024 }],
  ["a journal of the usual size", { halfBytes: 128 * 1_024, largestRecordBytes: 16 * 1_024 }],
] as const)("storage on a simulated disk with %s", ([, journal]) => {
  for (const { title, ...one } of storageContract) {
    test(title, async () => {
      const scheduler = new Scheduler();
      const disk = new SimulatedDisk(scheduler, seededRandom(1), journal, {
        durable: () => undefined,
        notDurable: (key) => expect.unreachable(`${key} is not durable`),
        failed: () => undefined,
        powerCut: () => false,
        cutAt: () => undefined,
      });
      let over = false;
      const work = one.run(disk.mount(new Process())).finally(() => (over = true));
      await Promise.all([work, passTime(scheduler, () => over)]);
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

test(
  "a vote that was given is remembered or its loss is seen, whichever sector of the journal is damaged",
  { timeout: 60_000 },
  async () => {
    const [directory, copy] = await Promise.all(["", ""].map(() => mkdtemp(join(tmpdir(), "raft-vote-"))));
    const identity = { clusterId: "c", nodeId: 1, newIncarnation: () => "i" };
    try {
      const storage = await openLogStorage(await openFileDisk(directory!), identity);
      for (let term = 1; term <= 3; term++)
        await storage.write({ hardState: { term, vote: term, commit: 0 }, entries: [] });
      const sectorBytes = 512;
      const written = (await readFile(join(directory!, "journal"))).length / sectorBytes;
      let damaged = 0;
      for (let sector = 1; sector < written; sector++) {
        await rm(copy!, { recursive: true });
        // As the power leaves it: what is in memory is not there.
        await cp(directory!, copy!, { recursive: true, filter: (name) => !name.endsWith("LOCK") });
        const journal = await readFile(join(copy!, "journal"));
        const at = sector * sectorBytes;
        if (journal.subarray(at, at + sectorBytes).every((byte) => byte === 0)) continue;
        damaged++;
        journal[at + 20]! ^= 1;
        await writeFile(join(copy!, "journal"), journal);
        const opened = await openFileDisk(copy!)
          .then((disk) => openLogStorage(disk, identity))
          .catch((error: unknown) => error as RaftError);
        if (opened instanceof RaftError) {
          expect(opened.code).toBe("RAFT_JOURNAL_CORRUPT");
        } else {
          expect(opened.initialState().hardState).toMatchObject({ term: 3, vote: 3 });
          await opened.close();
        }
      }
      expect(damaged).toBeGreaterThan(4);
      await storage.close();
    } finally {
      await Promise.all([directory, copy].map((path) => rm(path!, { recursive: true })));
    }
  },
);

test("a snapshot that is saved twice is one", async () => {
  const disk = memoryDisk();
  const storage = await openLogStorage(disk, { clusterId: "c", nodeId: 1, newIncarnation: () => "i" });
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const saved = async (text: string): Promise<void> => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(text);
    }
    await storage.saveSnapshot({ index: 1, term: 1, confState }, chunks());
  };
  await saved("first");
  const files = (await disk.list()).sort();
  // Between the body's rename and the head's there is nothing that a crash could leave.
  const before = await disk.read("snapshot-1.body");
  await saved("again, in other bytes");
  expect(await disk.read("snapshot-1.body")).toEqual(before);
  expect((await disk.list()).sort()).toEqual(files);
});
