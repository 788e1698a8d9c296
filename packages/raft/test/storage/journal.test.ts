import { constants } from "node:fs";
import { mkdir, mkdtemp, open, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Random } from "@warren/std";
import { seededRandom, until } from "@warren/std/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { memoryDisk, openFileDisk, openLogStorage, type KeyValue, type KeyValueOp } from "../../src/index.ts";
import { filesIn } from "../../src/storage/file-disk.ts";
import { openJournal, type Journal } from "../../src/storage/journal.ts";
import { hasJournal, openJournaled } from "../../src/storage/journaled-key-value.ts";
import { seal } from "../../src/storage/record.ts";

const sectorBytes = 512;
const put = (key: string, value: string | Uint8Array): KeyValueOp => ({
  type: "put",
  key: Buffer.from(key),
  value: Buffer.from(value as string),
});
const del = (key: string): KeyValueOp => ({ type: "del", key: Buffer.from(key) });

let directory: string;
let path: string;
beforeEach(async () => {
  // In memory: processes are killed here, and the power stays on.
  directory = await mkdtemp("/dev/shm/raft-journal-");
  path = join(directory, "journal");
});
afterEach(() => rm(directory, { recursive: true }));

/** A store whose batches are durable when they are done; a crash may come before. */
class Store {
  readonly kv: KeyValue;
  batches = 0;
  failing = false;
  /** What batches wait for. */
  held: Promise<void> | undefined;
  private dead = false;
  private readonly random: Random | undefined;

  constructor(kv: KeyValue, random?: Random) {
    this.random = random;
    this.kv = {
      ...kv,
      batch: async (ops, options) => {
        expect(options.sync).toBe(true);
        this.batches++;
        // Mostly at once; at times not before the other half of the journal is full too.
        const turns = this.random?.int(3) === 0 ? this.random.int(2_000) : 0;
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
        await this.held;
        if (this.failing) throw new Error("EIO");
        if (!this.dead) await kv.batch(ops, options);
      },
    };
  }

  crash(): void {
    this.dead = true;
  }
}

async function dump(kv: KeyValue): Promise<string> {
  const pairs: string[] = [];
  for await (const [key, value] of kv.iterate(Buffer.from("k"), Buffer.from("l"))) {
    pairs.push(`${Buffer.from(key).toString()}=${Buffer.from(value).toString("latin1")}`);
  }
  return pairs.join(" ");
}

async function spoil(at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at]! ^= 1;
  await writeFile(path, bytes);
}

/** Opened on a store in memory; `leave` ends it as a kill does. */
async function start(memory: KeyValue): Promise<{ kv: KeyValue; store: Store; leave: () => Promise<void> }> {
  const store = new Store(memory);
  const opened = await openJournal(filesIn(directory), { known: hasJournal(memory) });
  return { kv: await openJournaled(store.kv, opened), store, leave: () => opened.journal.close() };
}

describe("a journal", () => {
  test("small batches are durable without the store, which takes many at once; large ones go there themselves", async () => {
    const memory = await memoryDisk().openKeyValue();
    const first = await start(memory);
    const made = first.store.batches;
    for (let n = 0; n < 200; n++) await first.kv.batch([put("k", String(n))], { sync: true });
    expect(first.store.batches).toBe(made);
    await first.leave();
    const second = await start(memory);
    expect(Buffer.from(second.kv.get(Buffer.from("k"))!).toString()).toBe("199");
    for (let n = 0; n < 600; n++) await second.kv.batch([put("k", String(n))], { sync: true });
    expect(second.store.batches).toBeLessThanOrEqual(4);
    const before = second.store.batches;
    await second.kv.batch([put("k1", "x".repeat(20_000))], { sync: true });
    expect(second.store.batches).toBe(before + 1);
    expect(memory.get(Buffer.from("k"))).toEqual(Buffer.from("599"));
    await second.leave();
  });

  test("a flush that fails behind a write is the end: nothing more is taken, and what was acknowledged is in the journal", async () => {
    const memory = await memoryDisk().openKeyValue();
    const { kv, store, leave } = await start(memory);
    store.failing = true;
    let acknowledged = 0;
    const write = async (): Promise<void> => {
      await kv.batch([put(`k${acknowledged}`, "x".repeat(8_000))], { sync: true });
      acknowledged++;
    };
    // Both halves fill; the first one's flush fails meanwhile.
    await expect(
      (async () => {
        for (let n = 0; n < 100; n++) await write();
      })(),
    ).rejects.toThrow("EIO");
    expect(acknowledged).toBeGreaterThan(15);
    await expect(write()).rejects.toThrow("EIO");
    for (let n = 0; n < acknowledged; n++) expect(kv.get(Buffer.from(`k${n}`))).toBeDefined();
    await leave();
    store.failing = false;
    const again = await start(memory);
    for (let n = 0; n < acknowledged; n++) expect(again.kv.get(Buffer.from(`k${n}`))).toBeDefined();
    await again.leave();
  });

  test("a record that was never finished is not there; one damaged among others is refused", async () => {
    const memory = await memoryDisk().openKeyValue();
    const first = await start(memory);
    for (const n of [1, 2, 3]) await first.kv.batch([put(`k${n}`, "v")], { sync: true });
    await first.leave();
    await spoil(sectorBytes * 3 + 20);
    const torn = await start(await memoryDisk().openKeyValue());
    expect(await dump(torn.kv)).toBe("k1=v k2=v");
    await torn.leave();
    await spoil(sectorBytes * 2 + 20);
    await spoil(sectorBytes * 3 + 20);
    await expect(start(await memoryDisk().openKeyValue())).rejects.toMatchObject({ code: "RAFT_JOURNAL_CORRUPT" });
  });

  test("one that is gone, whose head is damaged, or that a newer program wrote is refused", async () => {
    const memory = await memoryDisk().openKeyValue();
    const first = await start(memory);
    await first.kv.batch([put("k", "v")], { sync: true });
    await first.kv.close();
    const bytes = await readFile(path);
    await rm(path);
    await expect(start(memory)).rejects.toMatchObject({ code: "RAFT_JOURNAL_CORRUPT" });
    await writeFile(path, bytes);
    await spoil(8);
    await expect(start(memory)).rejects.toMatchObject({ code: "RAFT_JOURNAL_CORRUPT" });
    seal({ level: 2, salt: 1 }).copy(bytes.fill(0, 0, sectorBytes));
    await writeFile(path, bytes);
    await expect(start(memory)).rejects.toMatchObject({
      failure: { code: "RAFT_LEVEL_UNREADABLE", found: 2, level: 1 },
    });
  });

  test("bytes of a user's that look like a record are none", async () => {
    const crafted = join(directory, "crafted");
    await mkdir(crafted);
    const other = await openJournal(filesIn(crafted), { known: false });
    await other.journal.append(2, [put("k", "forged")]);
    await other.journal.close();
    const record = (await readFile(join(crafted, "journal"))).subarray(sectorBytes, 2 * sectorBytes);
    const memory = await memoryDisk().openKeyValue();
    const first = await start(memory);
    // The value's middle begins a sector.
    const value = Buffer.concat([Buffer.alloc(sectorBytes - 23), record]);
    await first.kv.batch([put("k", value)], { sync: true });
    await first.leave();
    expect((await readFile(path)).subarray(2 * sectorBytes, 2 * sectorBytes + 40)).toEqual(record.subarray(0, 40));
    await spoil(sectorBytes + 20);
    const again = await start(await memoryDisk().openKeyValue());
    expect(await dump(again.kv)).toBe("");
    await again.leave();
  });

  test("what nobody wanted synced is not overtaken by what comes after it", async () => {
    const memory = await memoryDisk().openKeyValue();
    const { kv, store, leave } = await start(memory);
    const made = store.batches;
    for (let n = 0; n < 256; n++) await kv.batch([put("k", String(n))], { sync: true });
    await kv.batch([put("k1", "before")], { sync: false });
    store.held = new Promise(() => undefined);
    // The half is full: this goes into the other, while the store does not take what was in the first.
    await kv.batch([put("k2", "after")], { sync: true });
    expect(store.batches).toBe(made + 1);
    await leave();
    const again = await start(memory);
    expect(await dump(again.kv)).toBe("k=255 k1=before k2=after");
    await again.leave();
  });

  test("a half is not written again before the store has what is in it", async () => {
    const { kv, store, leave } = await start(await memoryDisk().openKeyValue());
    const { promise, resolve } = Promise.withResolvers<void>();
    store.held = promise;
    for (let n = 0; n < 2 * 256; n++) await kv.batch([put("k", String(n))], { sync: true });
    let done = false;
    const next = kv.batch([put("k", "next")], { sync: true }).then(() => (done = true));
    // By now it would be written, were it not for the store.
    for (let n = 0; n < 20; n++) await readFile(path);
    expect(done).toBe(false);
    resolve();
    await next;
    await leave();
  });

  test("what a killed process left in the store without a sync is synced before the first record is written over", async () => {
    const memory = await memoryDisk().openKeyValue();
    const first = await start(memory);
    await first.kv.batch([put("k", "v")], { sync: true });
    // All of it is in the store.
    await first.kv.close();
    const store = new Store(memory);
    const { journal, records } = await openJournal(filesIn(directory), { known: true });
    const before = await readFile(path);
    const { promise, resolve } = Promise.withResolvers<void>();
    store.held = promise;
    const opening = openJournaled(store.kv, { journal, records });
    await until("a synced batch is under way", () => store.batches === 1);
    expect(await readFile(path)).toEqual(before);
    resolve();
    await (await opening).close();
  });

  test("a store that fails behind it fails the next batch that needs it, and all after", async () => {
    const memory = await memoryDisk().openKeyValue();
    const { kv, store, leave } = await start(memory);
    await kv.batch([put("k", "v")], { sync: true });
    store.failing = true;
    await expect(kv.batch([put("k", "x".repeat(20_000))], { sync: true })).rejects.toThrow("EIO");
    store.failing = false;
    await expect(kv.batch([put("k", "v")], { sync: true })).rejects.toThrow("EIO");
    await leave();
  });

  test("its writes are durable when they return: the file is open so", async () => {
    const { journal } = await openJournal(filesIn(directory), { known: false });
    const open = await readdir("/proc/self/fd");
    const links = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
    const fd = open[links.indexOf(path)];
    const flags = /^flags:\s+(\d+)$/mu.exec(await readFile(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
    expect(Number.parseInt(flags, 8) & constants.O_DSYNC).toBe(constants.O_DSYNC);
    await journal.close();
  });
});

describe("a store behind a journal, killed at any moment", () => {
  test.for(Array.from({ length: 20 }, (_, seed) => seed + 1))(
    "holds a beginning of what was asked, and all that was synced (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const memory = await memoryDisk().openKeyValue();
      const model = new Map<string, string>();
      const state = (): string =>
        [...model]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, value]) => `${key}=${Buffer.from(value).toString("latin1")}`)
          .join(" ");
      const randomOp = (): KeyValueOp => {
        const key = `k${random.int(12)}`;
        if (random.int(5) === 0) {
          model.delete(key);
          return del(key);
        }
        const value = String.fromCharCode(97 + random.int(26)).repeat(random.int(random.int(8) === 0 ? 9_000 : 700));
        model.set(key, value);
        return put(key, value);
      };
      for (let run = 0; run < 4; run++) {
        const store = new Store(memory, random);
        const { journal, ...found } = await openJournal(filesIn(directory), { known: hasJournal(memory) });
        const kv = await openJournaled(store.kv, { journal, ...found });
        expect(await dump(kv)).toBe(state());
        // What may be there after a crash: the state at the last synced batch, or any since.
        let possible = [state()];
        const last = random.int(300);
        for (let n = 0; n < last; n++) {
          if (random.int(60) === 0) {
            await kv.clear(Buffer.from("k3"), Buffer.from("k6"));
            for (const key of model.keys()) if (key >= "k3" && key < "k6") model.delete(key);
            possible = [state()];
            continue;
          }
          const sync = random.int(4) > 0;
          await kv.batch(Array.from({ length: 1 + random.int(4) }, randomOp), { sync });
          if (sync) possible = [];
          possible.push(state());
          expect(kv.get(Buffer.from("k1")) === undefined).toBe(!model.has("k1"));
        }
        await crashIn(kv, store, journal, random, () => Array.from({ length: 1 + random.int(4) }, randomOp));
        possible.push(state());
        const again = await openJournaled(
          new Store(memory).kv,
          await openJournal(filesIn(directory), { known: hasJournal(memory) }),
        );
        const left = await dump(again);
        expect(possible).toContain(left);
        model.clear();
        for (const pair of left === "" ? [] : left.split(" ")) model.set(...(pair.split("=") as [string, string]));
        await again.close();
      }
    },
  );

  /** Dies while it writes a batch: of its sectors, chance keeps some. */
  async function crashIn(
    kv: KeyValue,
    store: Store,
    journal: Journal,
    random: Random,
    ops: () => KeyValueOp[],
  ): Promise<void> {
    const before = await readFile(path);
    const under = kv.batch(ops(), { sync: true });
    if (random.int(2) === 0) store.crash();
    await under;
    store.crash();
    await journal.close();
    const after = await readFile(path);
    await using file = await open(path, "r+");
    for (let at = 0; at < after.length; at += sectorBytes) {
      const old = before.subarray(at, at + sectorBytes);
      if (!old.equals(after.subarray(at, at + sectorBytes)) && random.int(4) === 0)
        await file.write(old, 0, sectorBytes, at);
    }
  }
});

test("a directory without a journal gets one; with one, it is used though none is asked for", async () => {
  const options = { clusterId: "c", nodeId: 1, newIncarnation: () => "i" };
  const entry = { term: 1, index: 1, type: "EntryNormal", data: Buffer.from("x") } as const;
  const without = await openLogStorage(await openFileDisk(directory, { journal: false }), options);
  await without.write({ entries: [entry] });
  await without.close();
  await expect(readFile(path)).rejects.toThrow("ENOENT");
  const withOne = await openLogStorage(await openFileDisk(directory), options);
  await withOne.write({ entries: [{ ...entry, index: 2 }] });
  await withOne.close();
  const again = await openLogStorage(await openFileDisk(directory, { journal: false }), options);
  expect(again.lastIndex()).toBe(2);
  await again.close();
  await rm(path);
  // However often it is tried.
  for (const journal of [false, true, true]) {
    const bare = openLogStorage(await openFileDisk(directory, { journal }), options);
    await expect(bare).rejects.toMatchObject({ code: "RAFT_JOURNAL_CORRUPT" });
  }
});
