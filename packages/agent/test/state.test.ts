import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseState, Point, SlotRecord, TaskState, TaskStatus, type AssignmentKind } from "@warren/api";
import { assignmentDigestBytes, level, minLevel } from "@warren/api/model";
import { silentLogger, systemClock } from "@warren/std";
import { FakeClock, RecordingLogger, seededRandom } from "@warren/std/testing";
import { describe, expect, test } from "vitest";
import { identityPathOf, readIdentity, writeIdentity, type Identity } from "../src/identity.ts";
import { openLevelState, type AgentState } from "../src/index.ts";
import { LocalRecord, type LeaseRecord } from "../src/local-record.ts";
import { agentStateContract, MemoryDisk } from "../src/testing/index.ts";
import { World } from "./fakes/world.ts";
import { parseRecord, textOf, writeRecord } from "./fixtures/record.ts";

const random = seededRandom(1);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "warren-state-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe.each(agentStateContract)("an agent's state $title", ({ run }) => {
  test("in memory", async () => {
    const disk = new MemoryDisk(random);
    await run({ open: () => Promise.resolve(disk.open()) });
  });
  test("in LevelDB", () => inFolder((folder) => run({ open: () => openLevelState(join(folder, "record")) })));
});

test("what a later program wrote to the identity stays in it", () =>
  inFolder(async (folder) => {
    const record = join(folder, "record");
    await writeIdentity(identityPathOf(record), { nodeId: "n1", opened: 1, zone: "attic" } as Identity);
    const state = await openLevelState(record);
    await state.identify("n1", 2);
    await state.close();
    expect(await readIdentity(identityPathOf(record))).toEqual({ nodeId: "n1", opened: 2, zone: "attic" });
  }));

test("record and identity on disk are for their owner alone", () =>
  inFolder(async (folder) => {
    const state = await openLevelState(join(folder, "record"));
    await state.identify("n", 1);
    expect((await stat(join(folder, "record"))).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, "record.identity"))).mode & 0o777).toBe(0o600);
    await state.close();
  }));

test("a record that another process has open does not count as damaged", () =>
  inFolder(async (folder) => {
    const state = await openLevelState(join(folder, "record"));
    await state.write([{ key: "a", value: bytes("1") }]);
    await expect(openLevelState(join(folder, "record"))).rejects.toThrow();
    await state.close();
    expect(await readdir(folder)).toEqual(["record"]);
  }));

const lease: LeaseRecord = {
  local: { slotId: "svc.1", epoch: { reign: 7, index: 1 }, versionId: "v", address: "10.77.1.2" },
  record: SlotRecord.fromPartial({ runs: 3, failures: 1 }),
};
const key = "svc.1/7-1";
const run = { lease: key, slotId: "svc.1", life: 5, run: 1, serviceName: "web", image: "i" };

/** Runs `work` with a record, and resolves when its changes are on disk. */
async function withRecord(state: AgentState, work: (record: LocalRecord) => void): Promise<void> {
  const record = await LocalRecord.load(state);
  const end = new AbortController();
  const running = record.write({ clock: systemClock, random, log: silentLogger }, end.signal).catch(() => undefined);
  record.begin();
  work(record);
  await record.durable(end.signal);
  end.abort();
  await running;
  await state.identify(record.node?.id ?? "", record.opened);
}

test("a record that is loaded again has all entries, with unknown kinds and fields", async () => {
  const disk = new MemoryDisk(random);
  const network = { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" };
  const unknownField = Buffer.from([0xfa, 0x3f, 2, 1, 2]);
  await withRecord(disk.open(), (record) => {
    record.setNode({ id: "n", network });
    record.setLastApplied(Point.fromPartial({ reign: 3, version: 9 }));
    record.assign(99 as AssignmentKind, "a/b", unknownField);
    const ofALaterLevel = { ofALaterLevel: { kept: true } };
    record.addLease({ ...lease, local: { ...lease.local, ...ofALaterLevel } });
    record.addLease({ ...lease, local: { ...lease.local, slotId: "svc.2" } });
    record.setLease(key, { held: true, stage: "releasing" });
    record.setLease(key, { stage: undefined });
    record.setSlotRecord(
      key,
      SlotRecord.decode(Buffer.concat([SlotRecord.encode(lease.record).finish(), unknownField])),
    );
    record.addRun("t", run, TaskStatus.create());
    record.addRun("gone", { ...run, run: 2 }, TaskStatus.create());
    record.setStatus("t", TaskStatus.fromPartial({ state: TaskState.RUNNING, at: new Date(5) }));
    record.setRun("t", { verdict: { kind: "failed", code: "C", message: "m" }, netnsPath: "/n" });
    record.setRun("t", { netnsPath: undefined });
    record.deleteRun("gone");
    record.deleteLease("svc.2/7-1");
  });
  const again = await LocalRecord.load(disk.open());
  expect(again.damage).toEqual([]);
  expect(again.node).toEqual({ id: "n", network });
  expect(again.lastApplied).toMatchObject({ reign: 3, version: 9 });
  expect([...again.leases.keys()]).toEqual([key]);
  expect(again.lease(key).local).toEqual({ ...lease.local, held: true, ofALaterLevel: { kept: true } });
  expect(Buffer.from(SlotRecord.encode(again.lease(key).record).finish()).includes(unknownField)).toBe(true);
  expect([...again.runs.values()]).toMatchObject([
    { id: "t", status: { state: TaskState.RUNNING }, local: { ...run, verdict: { message: "m" } } },
  ]);
  expect(again.run("t").local).not.toHaveProperty("netnsPath");
  expect(again.assigned.held().length).toBe(assignmentDigestBytes);
});

const levels = Array.from({ length: level - minLevel + 1 }, (_, at) => minLevel + at);

test.each(levels)("a record of level %i is read whole", async (each) => {
  const path = join(import.meta.dirname, `fixtures/level-${each}/record.txt`);
  const disk = new MemoryDisk(random);
  disk.setBack({ entries: parseRecord(await readFile(path, "utf8")), identity: { nodeId: "node", opened: 1 } });
  const record = await LocalRecord.load(disk.open());
  expect(record.damage).toEqual([]);
  expect(record.node).toMatchObject({ id: "node", clusterId: "cluster" });
  expect(record.lease(key).local).toMatchObject({ address: "10.77.1.2", held: true, stage: "releasing" });
  expect(record.runs.size).toBeGreaterThan(0);
  for (const kind of ["lease", "version", "service", "registry", "endpoint", "backend"] as const)
    expect(record.assigned.of(kind).size, kind).toBeGreaterThan(0);
});

test("entries of this level equal its fixtures: `tools/fixtures agent` after a change of the format", async () => {
  const path = join(import.meta.dirname, `fixtures/level-${level}/record.txt`);
  expect(textOf(await writeRecord())).toBe(await readFile(path, "utf8"));
});

test("a write that fails is logged and tried again, and durable() waits for it", async () => {
  const disk = new MemoryDisk(random);
  const record = await LocalRecord.load(disk.open());
  const end = new AbortController();
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const running = record.write({ clock, random, log }, end.signal).catch(() => undefined);
  disk.failures = 3;
  record.setNode({ id: "n" });
  let durable = false;
  const waiting = record.durable(end.signal).then(() => (durable = true));
  await clock.advanceAsync(50);
  expect(durable).toBe(false);
  record.setNode({ id: "newer" });
  for (let step = 0; step < 40; step += 1) await clock.advanceAsync(50);
  await waiting;
  expect(log.records.filter(({ level }) => level === "error")).toHaveLength(3);
  expect((await LocalRecord.load(disk.open())).node?.id).toBe("newer");
  end.abort();
  await running;
});

test("a record of another level is refused with the remedy; one within the range is read", async () => {
  const disk = new MemoryDisk(random);
  await withRecord(disk.open(), (record) => record.setNode({ id: "n" }));
  await expect(LocalRecord.load(disk.open(), { level: 3, minLevel: 2 })).rejects.toMatchObject({
    code: "AGENT_RECORD_UNREADABLE",
    failure: { level: 1 },
  });
  expect((await LocalRecord.load(disk.open(), { level: 2, minLevel: 1 })).node?.id).toBe("n");
});

test("a worker of a later level writes entries of the cluster's level", async () => {
  const disk = new MemoryDisk(random);
  const levels = { level: 2, minLevel: 1 };
  const record = await LocalRecord.load(disk.open(), levels);
  const end = new AbortController();
  const running = record.write({ clock: systemClock, random, log: silentLogger }, end.signal).catch(() => undefined);
  record.writeLevel(1);
  record.setNode({ id: "n" });
  await record.durable(end.signal);
  expect((await LocalRecord.load(disk.open())).node?.id).toBe("n");
  record.writeLevel(2);
  record.setNode({ id: "n", clusterId: "c" });
  await record.durable(end.signal);
  await expect(LocalRecord.load(disk.open())).rejects.toThrow("has level 2");
  end.abort();
  await running;
});

describe("damage is detected, and the rest is kept", () => {
  const write = (disk: MemoryDisk): Promise<void> =>
    withRecord(disk.open(), (record) => {
      record.setNode({ id: "n" });
      record.addLease(lease);
      record.addRun("t", run, TaskStatus.create());
      record.setLastApplied(Point.fromPartial({ version: 9 }));
    });

  test("every bit of every entry", async () => {
    const disk = new MemoryDisk(random);
    await write(disk);
    for (const [name, value] of disk.entries) {
      for (let bit = 0; bit < value.length * 8; bit += 7) {
        const flipped = Uint8Array.from(value);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const other = new MemoryDisk(random);
        other.setBack({ entries: new Map(disk.entries).set(name, flipped), identity: disk.identity });
        const record = await LocalRecord.load(other.open());
        expect(record.incomplete, `${name}, bit ${bit}`).toBe(true);
        expect(record.damage.join()).toContain(name);
      }
    }
  });

  test("every entry that is missing, cut short or under another key", async () => {
    const disk = new MemoryDisk(random);
    await write(disk);
    for (const [name, value] of disk.entries) {
      const change = async (to: Map<string, Uint8Array>): Promise<LocalRecord> => {
        const other = new MemoryDisk(random);
        other.setBack({ entries: to, identity: disk.identity });
        return LocalRecord.load(other.open());
      };
      const gone = new Map(disk.entries);
      gone.delete(name);
      expect((await change(gone)).incomplete, `${name} is gone`).toBe(true);
      for (const length of [0, 3, 5, value.length - 1].filter((each) => each < value.length))
        expect((await change(new Map(disk.entries).set(name, value.subarray(0, length)))).incomplete).toBe(true);
      expect((await change(gone.set(`${name}x`, value))).incomplete, `${name} moved`).toBe(true);
    }
  });

  test("a record that is older than the identity beside it", async () => {
    const disk = new MemoryDisk(random);
    await write(disk);
    const { entries } = disk.image();
    await withRecord(disk.open(), (record) => record.deleteLease(key));
    disk.entries = entries;
    expect((await LocalRecord.load(disk.open())).damage).toEqual(["what was written last is missing"]);
  });
});

/** A node with one lease and its record in LevelDB, started again after `harm` to one of its files. */
async function afterHarm(
  harm: (path: string) => Promise<void>,
  pick: (files: string[]) => string,
): Promise<{
  readonly nodeId: string;
  readonly before: string;
  readonly refused: string | undefined;
}> {
  const folder = await mkdtemp(join(tmpdir(), "warren-sweep-"));
  try {
    await using world = new World();
    const directory = join(folder, "record");
    const start = async (wait = true): Promise<AgentState> => {
      const state = await openLevelState(directory);
      world.place = state;
      await world.start({ wait });
      return state;
    };
    let state = await start();
    await world.until("it is connected", () => world.manager.connected);
    const given = await world.run("svc.1");
    const before = world.agent.nodeId;
    await world.agent.close();
    await state.close();
    // Twice, so that there is more than one file of tables.
    state = await start();
    await world.until("it is connected", () => world.manager.connected);
    await world.pass(500);
    await world.agent.close();
    await state.close();
    const files = (await readdir(directory)).filter((name) => name !== "LOCK").map((name) => `record/${name}`);
    await harm(join(folder, pick([...files, "record.identity"])));
    world.manager.disconnect();
    let refused: string | undefined;
    try {
      state = await start(false);
      await world.pass(60_000);
      expect(world.running()).toEqual([given.task]);
      world.manager.reconnect();
      await world.until("it is connected", () => world.manager.connected);
      await world.pass(10_000);
      expect(world.running()).toEqual([given.task]);
      await world.until("it serves", () => world.network.serving("svc").join() === given.lease.address);
      expect(world.manager.leases.get(given.key)?.state).toBe(LeaseState.HELD);
      await world.agent.close();
      await state.close();
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error)) throw error;
      refused = String(error.code);
      await world.place?.close();
      world.kill();
    }
    return { nodeId: refused === undefined ? world.manager.nodeId : before, before, refused };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const harms: readonly (readonly [string, (path: string) => Promise<void>])[] = [
  ["deleted", (path) => rm(path)],
  ["emptied", (path) => truncate(path, 0)],
  ["cut in half", async (path) => truncate(path, Math.floor((await stat(path)).size / 2))],
  ...[0, 0.3, 0.6, 0.9].map(
    (at) =>
      [
        `flipped at ${at}`,
        async (path: string): Promise<void> => {
          const content = await readFile(path);
          const index = Math.floor(content.length * at);
          content[index] = (content[index] ?? 0) ^ 0x10;
          await writeFile(path, content);
        },
      ] as const,
  ),
];

describe.each(harms)("a file of the record that is %s", (_how, harm) => {
  test.each(["CURRENT", "MANIFEST", ".log", ".ldb", "LOG", "identity"])(
    "makes no second node and ends no task: %s",
    async (name) => {
      const { nodeId, before, refused } = await afterHarm(
        harm,
        (files) => files.find((file) => file.includes(name)) ?? "record.identity",
      );
      expect(refused).toBeUndefined();
      expect(nodeId).toBe(before);
    },
  );
});

test("a damaged record without its identity is refused with the remedy", () =>
  inFolder(async (folder) => {
    await using world = new World();
    world.place = await openLevelState(join(folder, "record"));
    await world.start();
    await world.until("it is connected", () => world.manager.connected);
    await world.agent.close();
    await world.place.close();
    await rm(join(folder, "record.identity"));
    await rm(join(folder, "record", "CURRENT"));
    await cp(join(folder, "record"), join(folder, "copy"), { recursive: true });
    world.place = await openLevelState(join(folder, "record"));
    await expect(world.start()).rejects.toMatchObject({ code: "AGENT_IDENTITY_LOST" });
    await world.place.close();
    world.kill();
    // It was set aside, not overwritten.
    expect(await readdir(folder)).toContain("record.damaged-1");
  }));

test("identity and record of different nodes are refused", async () => {
  await using world = await World.started();
  await world.pass(500);
  await world.agent.close();
  world.kill();
  world.disk.identity = { nodeId: "another", opened: 1 };
  await expect(world.start()).rejects.toMatchObject({ code: "AGENT_IDENTITY_CONFLICT" });
});
