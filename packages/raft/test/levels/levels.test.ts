/** Every level from `minLevel` on is read, as its fixtures say; what is above is refused by name; nothing unknown is lost. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { systemClock, systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  startRaftNode,
  type Disk,
  type RaftNode,
  type RaftNodeOptions,
  type Transport,
} from "../../src/index.ts";
import { message } from "../../src/core/index.ts";
import { levels, unfit } from "../../src/levels.ts";
import { splitHead, withHead, type SnapshotHead } from "../../src/node/snapshot-head.ts";
import { identityKey, stateKey } from "../../src/storage/keys.ts";
import { seal, unseal } from "../../src/storage/record.ts";
import { programs } from "../../src/testing/simulation/programs.ts";
import { KeyValueMachine, put } from "../node/key-value-machine.ts";
import { expectedDirectory, readFixtures, restoreDirectory } from "../fixtures/fixtures.ts";
import { asJson, makeSamples, readDirectory, readSample } from "../fixtures/samples.ts";

test("there are fixtures of every level that this program reads, and of no other", async () => {
  const folders = (await readdir(join(import.meta.dirname, "../fixtures"))).filter((name) => name.startsWith("level-"));
  const expected = Array.from(
    { length: levels.level - levels.minLevel + 1 },
    (_, at) => `level-${levels.minLevel + at}`,
  );
  expect(folders.sort()).toEqual(expected);
});

for (let level = levels.minLevel; level <= levels.level; level++) {
  describe(`level ${level}`, () => {
    test("messages, entries, proposals and snapshots are read as they were written", async () => {
      const fixtures = await readFixtures(level);
      expect(fixtures.length).toBeGreaterThan(8);
      for (const { sample, expected } of fixtures) {
        expect(JSON.parse(asJson(await readSample(sample))), sample.name).toEqual(JSON.parse(expected));
      }
    });

    test("a member opens a directory that was written then", async () => {
      await using directory = await restoreDirectory(level);
      const found = JSON.parse(asJson(await readDirectory(directory.path))) as unknown;
      expect(found).toEqual(JSON.parse(await expectedDirectory(level)));
    });
  });
}

test("what is written now is byte for byte what the present level's fixtures hold", async () => {
  const fixtures = new Map((await readFixtures(levels.level)).map(({ sample }) => [sample.name, sample.bytes]));
  for (const { name, bytes } of await makeSamples()) {
    if (name.startsWith("directory/")) continue;
    expect(Buffer.from(bytes).equals(fixtures.get(name) ?? Buffer.alloc(0)), name).toBe(true);
  }
});

describe("of two programs", () => {
  const [present, next] = [programs.present, programs.next];
  const told = (level: number, activeLevel: number, minLevel = 1): Parameters<typeof unfit>[1] => ({
    level,
    activeLevel,
    minLevel,
  });

  test.each([
    ["one that reads what is in use", told(1, 1), 1, present, undefined],
    ["a newer one that writes what is in use", told(2, 1), 1, present, undefined],
    [
      "one below the active level",
      told(1, 1),
      2,
      next,
      "member 7 reads no level above 1, and level 2 is in use here; upgrade member 7",
    ],
    [
      "one that writes what this program does not read",
      told(2, 2),
      1,
      present,
      "member 7 uses level 2, and this program reads none above 1; upgrade this member",
    ],
    [
      "one that writes what this program reads no more",
      told(3, 1),
      2,
      { minLevel: 2, level: 3 },
      "member 7 uses level 1, and this program reads none below 2; upgrade member 7",
    ],
    [
      "one that says nothing of levels",
      told(Number.NaN, Number.NaN),
      1,
      present,
      "member 7 reads no level above NaN, and level 1 is in use here; upgrade member 7",
    ],
  ] as const)("%s", (_, theirs, active, ours, expected) => {
    expect(unfit(7, theirs, active, ours)).toBe(expected);
  });

  async function start(
    disk: Disk,
    transport: Transport,
    program: "present" | "next",
    options: RaftNodeOptions = {},
  ): Promise<{ node: RaftNode; fsm: KeyValueMachine }> {
    const formats = programs[program];
    const storage = await openLogStorage(disk, {
      clusterId: "c",
      nodeId: 1,
      newIncarnation: () => "i",
      levels: formats,
    });
    const fsm = new KeyValueMachine();
    const dependencies = { clock: systemClock, random: systemRandom, storage, transport, fsm, formats };
    const node = await startRaftNode(dependencies, { bootstrap: [{ id: 1, address: "a" }], tickMs: 5, ...options });
    return { node, fsm };
  }

  test("the active level is raised, never lowered, stays across restarts, and bars the program that does not read it", async () => {
    const disk = memoryDisk();
    const transport = (): Transport => new MemoryNetwork().transport();
    const { node: old } = await start(disk, transport(), "present");
    expect(old.activeLevel).toBe(1);
    await expect(old.setActiveLevel(2)).rejects.toMatchObject({
      code: "RAFT_LEVEL_UNREADABLE",
      failure: { found: 2, level: 1 },
    });
    await old.close();
    const { node: first } = await start(disk, transport(), "next");
    expect(first.activeLevel).toBe(1);
    await first.setActiveLevel(2);
    await first.setActiveLevel(1);
    expect(first.activeLevel).toBe(2);
    await until("it leads", () => first.leadership().ready);
    await first.propose(put("a", "1"));
    await first.close();
    await expect(start(disk, transport(), "present")).rejects.toMatchObject({
      code: "RAFT_LEVEL_UNREADABLE",
      message:
        "what this directory holds is of level 2, and this program reads level 1 alone; start the one that wrote it, or a newer one",
    });
    const { node: second, fsm } = await start(disk, transport(), "next", { activeLevel: 1 });
    expect(second.activeLevel).toBe(2);
    await second.read();
    expect(fsm.state.get("a")).toBe("1");
    await second.close();
  });

  test("an active level that the program does not read is no option", async () => {
    await expect(
      start(memoryDisk(), new MemoryNetwork().transport(), "present", { activeLevel: 2 }),
    ).rejects.toMatchObject({
      code: "RAFT_OPTIONS_INVALID",
      failure: { option: "activeLevel" },
    });
  });
});

test("fields of a newer program in a snapshot's head go into the next snapshot that this one takes", async () => {
  const disk = memoryDisk();
  const open = () => openLogStorage(disk, { clusterId: "c", nodeId: 1, newIncarnation: () => "i" });
  const first = await open();
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const session = { id: 4, ttlMs: 1e9, usedMs: 0, acknowledged: 0, results: [], owner: "someone" };
  const head = {
    level: 1,
    zones: ["a"],
    members: [{ id: 1, address: "a", zone: "b" }],
    sessions: { nowMs: 1, sessions: [session], limit: 9 },
    genesis: true,
  } as unknown as SnapshotHead;
  async function* empty(): AsyncGenerator<Uint8Array> {}
  await first.saveSnapshot({ index: 5, term: 1, confState }, withHead(head, empty()));
  await first.installSnapshot({ index: 5, term: 1, confState }, { term: 1, vote: 0, commit: 5 });
  await first.close();
  const storage = await open();
  const dependencies = {
    clock: systemClock,
    random: systemRandom,
    storage,
    transport: new MemoryNetwork().transport(),
  };
  const node = await startRaftNode({ ...dependencies, fsm: new KeyValueMachine() }, { tickMs: 5, snapshotEntries: 3 });
  await until("it leads", () => node.leadership().ready);
  for (let i = 0; i < 5; i++) await node.propose(put("a", String(i)));
  const newest = await until("it took a snapshot", () => storage.snapshots().find(({ index }) => index > 5));
  const taken = (await splitHead(storage.openSnapshot(newest.index).chunks)).head;
  expect(taken).toMatchObject({
    zones: ["a"],
    members: [{ zone: "b" }],
    sessions: { sessions: [{ owner: "someone" }], limit: 9 },
    genesis: false,
  });
  await node.close();
});

test("fields of a newer program in the records of the disk, and in what announces a snapshot, stay", async () => {
  const disk = memoryDisk();
  const formats = programs.next;
  const run = async (work: (node: RaftNode) => Promise<void>): Promise<void> => {
    const options = { clusterId: "c", nodeId: 1, newIncarnation: () => "i", levels: formats };
    const storage = await openLogStorage(disk, options);
    const transport = new MemoryNetwork().transport();
    const node = await startRaftNode(
      { clock: systemClock, random: systemRandom, storage, transport, fsm: new KeyValueMachine(), formats },
      { bootstrap: [{ id: 1, address: "a" }], tickMs: 5, trailingEntries: 0 },
    );
    await until("it leads", () => node.leadership().ready);
    await work(node);
    await node.close();
  };
  await run(async (node) => void (await node.propose(put("a", "1"))));
  const kv = await disk.openKeyValue();
  const records = [identityKey, stateKey];
  const read = (): object[] => records.map((key) => unseal(kv.get(key)!) as object);
  const before = read();
  await kv.batch(
    records.map((key, at) => ({ type: "put", key, value: seal({ ...before[at], zone: "attic" }) })),
    { sync: true },
  );
  await run(async (node) => {
    await node.propose(put("a", "2"));
    await node.setActiveLevel(formats.level);
    await node.takeSnapshot();
    await node.compact();
    await node.propose(put("a", "3"));
  });
  const [identity, state] = read();
  expect(identity).toMatchObject({ ...before[0], level: formats.level, zone: "attic" });
  expect(state).toMatchObject({
    zone: "attic",
    compacted: { index: expect.toSatisfy((index) => index > 0) as number },
  });

  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false, zone: "b" };
  const metadata = { index: 5, term: 1, confState, zone: "attic" };
  const announced = message("MsgSnap", { from: 1, to: 2, snapshot: { metadata, data: new Uint8Array(0) } });
  for (const level of [1, formats.level])
    expect(formats.decodeMessages(formats.encodeMessages([announced], level))[0]?.snapshot?.metadata).toEqual(metadata);
});
