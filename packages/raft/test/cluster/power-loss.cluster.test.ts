/**
 * Nothing is acknowledged before it is on the disks of a majority: a cluster of three processes runs with every write
 * and sync of its disks written down, and then power fails, for all three at once, at every moment of that run.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

import { seededRandom } from "@warren/std/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { openFileDisk, openLogStorage } from "../../src/index.ts";
import { buildDiskJournal, readJournal, ReplayedDisk, type DiskOperation, type Kept } from "./disk-journal.ts";
import { Processes } from "./processes.ts";

interface Acknowledged {
  readonly index: number;
  readonly key: string;
  readonly value: string;
  /** When the member knew, of CLOCK_MONOTONIC. */
  readonly ns: bigint;
}

interface Recording {
  readonly acknowledged: readonly Acknowledged[];
  /** Of all three members, as they happened. */
  readonly operations: readonly (DiskOperation & { readonly id: number })[];
  readonly root: (id: number) => string;
}

const ids = [1, 2, 3];

/** A run of `writes` writes of so many bytes by three clients at once, through a change of leader. */
async function record(processes: Processes, writes: number, valueBytes: number): Promise<Recording> {
  await processes.startAll();
  const acknowledged: Acknowledged[] = [];
  const client = async (name: string): Promise<void> => {
    for (let n = 0, done = 0; done < writes / 3; n++) {
      const [key, value] = [`${name}${n}`, `${name}${n}`.padEnd(valueBytes, "x")];
      const request = { do: "act", operation: n, action: { kind: "put", key, value } } as const;
      try {
        const { index, ns } = (await (await processes.leader()).ask(request)) as { index: number; ns: string };
        acknowledged.push({ index, key, value, ns: BigInt(ns) });
        if (++done === Math.floor(writes / 6) && name === "a") await (await processes.leader()).ask({ do: "transfer" });
      } catch (error) {
        // Leadership moves: nothing is promised of this write.
        if (!/^RAFT_(NOT_LEADER|PROPOSAL_DROPPED|OUTCOME_UNKNOWN|TRANSFER_FAILED)$/u.test((error as Error).message))
          throw error;
      }
    }
  };
  await Promise.all(["a", "b", "c"].map(client));
  await processes.killAll();
  const root = (id: number): string => processes.path(id);
  const journals = ids.map(async (id) => {
    const operations = await readJournal(join(processes.directory, `journal-${id}`), root(id));
    return operations.map((operation) => ({ ...operation, id }));
  });
  const operations = (await Promise.all(journals)).flat().sort((a, b) => (a.ns < b.ns ? -1 : 1));
  return { acknowledged: acknowledged.sort((a, b) => (a.ns < b.ns ? -1 : 1)), operations, root };
}

async function prepare(snapshotEntries: number): Promise<Processes> {
  const library: { path?: string } = {};
  const processes: Processes = await Processes.prepare(3, {
    options: { snapshotEntries, trailingEntries: 4 },
    env: (id) => ({
      LD_PRELOAD: library.path!,
      JOURNAL_ROOT: processes.path(id),
      JOURNAL_FILE: join(processes.directory, `journal-${id}`),
    }),
  });
  library.path = await buildDiskJournal(processes.directory);
  return processes;
}

/** What a member's disk holds: the bytes of its log, by index, and up to where a snapshot stands for it. */
interface Held {
  readonly snapshot: number;
  readonly entries: ReadonlyMap<number, string>;
}

async function open(directory: string, id: number): Promise<Held> {
  const disk = await openFileDisk(directory);
  const storage = await openLogStorage(disk, { clusterId: "cluster", nodeId: id, newIncarnation: () => "new" });
  const [first, last] = [storage.firstIndex(), storage.lastIndex()];
  const entries = storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
  const snapshot = storage.snapshots()[0]?.index ?? 0;
  if (snapshot > 0) for await (const chunk of storage.openSnapshot(snapshot).chunks) void chunk;
  await storage.close();
  return { snapshot, entries: new Map(entries.map(({ index, data }) => [index, Buffer.from(data).toString()])) };
}

const holds = ({ snapshot, entries }: Held, { index, key }: Acknowledged): boolean =>
  index <= snapshot || entries.get(index)?.includes(`"${key}"`) === true;

/** Power fails at every moment of a recording; what was acknowledged by then and is not on the disks of a majority. */
async function lost({ acknowledged, operations, root }: Recording, kept: Kept): Promise<ReadonlySet<string>> {
  // In memory: what is looked at here was synced once already.
  const directory = await mkdtemp("/dev/shm/raft-power-loss-");
  const random = seededRandom(1);
  const disks = new Map(ids.map((id) => [id, new ReplayedDisk()]));
  const held = new Map<number, Held>();
  const missing = new Set<string>();
  for (const [moment, operation] of operations.entries()) {
    const disk = disks.get(operation.id)!;
    const { version } = disk;
    disk.apply(operation, root(operation.id));
    // With nothing unsynced kept, only a sync changes what is left.
    if (kept === "none" && disk.version === version) continue;
    await disk.leave(directory, kept, random);
    held.set(operation.id, await open(directory, operation.id));
    await rm(directory, { recursive: true });
    // A moment lasts until the next operation.
    const until = operations[moment + 1]?.ns;
    for (const write of acknowledged) {
      if (until !== undefined && write.ns >= until) break;
      if ([...held.values()].filter((one) => holds(one, write)).length < 2) missing.add(write.key);
    }
  }
  await rm(directory, { recursive: true, force: true });
  return missing;
}

describe("power fails for all three members at once", () => {
  let processes: Processes;
  let recording: Recording;
  beforeAll(async () => {
    processes = await prepare(12);
    recording = await record(processes, 36, 10);
  });
  afterAll(() => processes[Symbol.asyncDispose]());

  test.for<Kept>(["none", "some", "all"])(
    "at every write of a run: what was acknowledged is on the disks of a majority; of the unsynced, %s is left",
    async (kept) => {
      expect(recording.acknowledged.length).toBe(36);
      expect(recording.operations.length).toBeGreaterThan(300);
      expect(await lost(recording, kept)).toEqual(new Set());
    },
  );

  test("so it is of more than the journal holds, between two snapshots", async () => {
    await using longer = await prepare(1_000);
    // Three at once are as large as a record may be; some twenty-four fill a half.
    const { operations, ...rest } = await record(longer, 90, 5_000);
    expect(operations.filter(({ kind, path }) => kind === "write" && path === "journal").length).toBeGreaterThan(
      3 * 30,
    );
    expect(await lost({ operations, ...rest }, "none")).toEqual(new Set());
  });

  test("had the log's syncs done nothing, writes would be found lost", async () => {
    const first = recording.acknowledged[0]!.ns;
    const idle = ({ kind, path, ns }: DiskOperation): boolean =>
      kind === "sync-end" && (path === "journal" || path.endsWith(".log")) && ns > first;
    const operations = recording.operations.filter((operation) => !idle(operation));
    expect((await lost({ ...recording, operations }, "none")).size).toBeGreaterThan(10);
  });

  test("a cluster started on what is left has every acknowledged write", async () => {
    for (const acknowledged of [5, 20, recording.acknowledged.length]) {
      const { ns: moment } = recording.acknowledged[acknowledged - 1]!;
      const count = recording.operations.filter(({ ns }) => ns <= moment).length;
      for (const id of ids) {
        const disk = new ReplayedDisk();
        for (const operation of recording.operations.slice(0, count)) {
          if (operation.id === id) disk.apply(operation, recording.root(id));
        }
        await rm(processes.path(id), { recursive: true });
        await disk.leave(processes.path(id), "none", seededRandom(count));
      }
      await processes.startAll();
      const state = new Map((await (await processes.leader()).ask({ do: "dump" })) as [string, string][]);
      for (const { key, value } of recording.acknowledged.slice(0, acknowledged))
        expect(state.get(key), key).toBe(value);
      await processes.killAll();
    }
  });
});
