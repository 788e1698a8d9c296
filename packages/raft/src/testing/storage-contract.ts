/** What every `RaftStorage` on any `Disk` must do: cases for any test runner, each failing by a throw. */
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";

import type { ConfState, Entry, SnapshotMetadata } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { openLogStorage, type Disk, type RaftStorage } from "../storage/index.ts";

const confState: ConfState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };

function open(disk: Disk, cacheBytes = 1024 * 1024): Promise<RaftStorage> {
  return openLogStorage(disk, { clusterId: "contract", nodeId: 1, newIncarnation: () => "first", cacheBytes });
}

function entries(from: number, to: number, term = 1): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, at) => ({
    term,
    index: from + at,
    type: "EntryNormal" as const,
    data: new TextEncoder().encode(`${term}/${from + at}`),
  }));
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array, void, void> {
  for (const text of texts) yield new TextEncoder().encode(text);
}

function terms(storage: RaftStorage): string {
  const found = storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Number.POSITIVE_INFINITY);
  return found.map(({ term, index, data }) => `${index}:${term}:${new TextDecoder().decode(data)}`).join(" ");
}

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (RaftError.is(error)) return error.code;
    throw error;
  }
  return "none";
}

const metadata = (index: number): SnapshotMetadata => ({ index, term: 1, confState });

async function text(storage: RaftStorage, index: number): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of storage.openSnapshot(index).chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

const keyOf = (index: number): Buffer => Buffer.from([0x65, 0, 0, 0, 0, 0, 0, 0, index]);

/** A disk of ten entries, of which five are compacted. */
async function compact(disk: Disk): Promise<void> {
  const storage = await open(disk);
  await storage.write({ hardState: { term: 1, vote: 0, commit: 9 }, entries: entries(1, 10) });
  await storage.saveSnapshot(metadata(8), chunks("state"));
  await storage.compact(5);
  await storage.close();
}

/** Damages or removes the stored record of an entry. */
async function spoil(disk: Disk, index: number, how: "flip" | "drop"): Promise<void> {
  const kv = await disk.openKeyValue();
  const key = keyOf(index);
  const value = Buffer.from(kv.get(key) ?? new Uint8Array(0));
  value[value.length - 1] = (value[value.length - 1] ?? 0) ^ 1;
  await kv.batch([how === "flip" ? { type: "put", key, value } : { type: "del", key }], { sync: true });
  await kv.close();
}

/** Run each on an empty disk of its own. */
export const storageContract: readonly ContractCase<Disk>[] = [
  {
    title: "a snapshot that is installed with a commit index beyond it leaves none beyond the log's end",
    async run(disk) {
      const storage = await open(disk);
      await storage.saveSnapshot(metadata(8), chunks("state"));
      await storage.installSnapshot(metadata(8), { term: 3, vote: 2, commit: 12 });
      // The member ends before the entries from 9 to 12 are written.
      await storage.close();
      const again = await open(disk);
      const { hardState } = again.initialState();
      assert(
        hardState.term === 3 && hardState.vote === 2 && hardState.commit === 8,
        "the commit index is the snapshot's",
      );
      assert(again.lastIndex() === 8, "the log ends with the snapshot");
      await again.close();
    },
  },
  {
    title: "what was written is there after it is opened again, from memory and from disk alike",
    async run(disk) {
      const first = await open(disk, 1);
      await first.write({ hardState: { term: 3, vote: 2, commit: 1 }, entries: entries(1, 20) });
      const before = terms(first);
      await first.close();
      const second = await open(disk);
      assert(terms(second) === before && second.lastIndex() === 20, "the entries are the same");
      const { hardState } = second.initialState();
      assert(hardState.term === 3 && hardState.vote === 2 && hardState.commit === 1, "so is the hard state");
      await second.close();
    },
  },
  {
    title: "a write replaces the log from its first entry on, terms included",
    async run(disk) {
      const storage = await open(disk, 1);
      await storage.write({ entries: entries(1, 10) });
      await storage.write({ entries: entries(4, 5, 2) });
      await storage.close();
      const again = await open(disk);
      assert(terms(again) === "1:1:1/1 2:1:1/2 3:1:1/3 4:2:2/4 5:2:2/5", "the old tail is gone");
      assert(again.term(3) === 1 && again.term(5) === 2, "terms follow");
      await again.close();
    },
  },
  {
    title: "compaction drops the beginning, and the rest stays",
    async run(disk) {
      await compact(disk);
      const again = await open(disk);
      assert(again.firstIndex() === 6 && again.lastIndex() === 10 && again.term(5) === 1, "6 to 10 are left");
      await again.close();
    },
  },
  {
    title: "three snapshots are kept, the newest first, and each reads as it was written",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ entries: entries(1, 10) });
      for (const index of [2, 4, 6, 8]) await storage.saveSnapshot(metadata(index), chunks("state ", String(index)));
      assert(
        storage
          .snapshots()
          .map(({ index }) => index)
          .join() === "8,6,4",
        "three are listed",
      );
      assert((await text(storage, 6)) === "state 6", "they read back");
      await storage.close();
      const again = await open(disk);
      assert((await text(again, 8)) === "state 8", "after opening too");
      assert(again.initialState().hardState.commit === 8, "what a snapshot holds is committed");
      await again.close();
    },
  },
  {
    title: "an installed snapshot replaces the log; one that was not installed is forgotten",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ entries: entries(1, 4) });
      await storage.saveSnapshot(metadata(20), chunks("a"));
      await storage.installSnapshot(metadata(20), { term: 2, vote: 0, commit: 20 });
      assert(
        storage.firstIndex() === 21 && storage.lastIndex() === 20 && storage.term(20) === 1,
        "the log begins after it",
      );
      await storage.saveSnapshot(metadata(30), chunks("b"));
      await storage.close();
      const again = await open(disk);
      assert(
        again
          .snapshots()
          .map(({ index }) => index)
          .join() === "20" && again.lastIndex() === 20,
        "20 is the newest",
      );
      await again.write({ entries: entries(21, 22) });
      await again.close();
    },
  },
  {
    title: "a snapshot that waits to be installed stays, however many newer ones come",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ entries: entries(1, 4) });
      for (const index of [10, 20, 30, 40, 50]) await storage.saveSnapshot(metadata(index), chunks(String(index)));
      await storage.installSnapshot(metadata(10), undefined);
      assert((await text(storage, 10)) === "10", "the oldest is there");
      await storage.installSnapshot(metadata(50), undefined);
      await storage.saveSnapshot(metadata(60), chunks("60"));
      const kept = storage.snapshots().map(({ index }) => index);
      assert(kept.join() === "60,50,40,30", "behind the log, three are kept");
      await storage.close();
    },
  },
  {
    title: "a compaction removes all that it drops, and no more",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ hardState: { term: 1, vote: 0, commit: 9 }, entries: entries(1, 10) });
      await storage.saveSnapshot(metadata(8), chunks("state"));
      await storage.compact(5);
      await storage.close();
      const kv = await disk.openKeyValue();
      const left: number[] = [];
      for await (const [key] of kv.iterate(keyOf(0), keyOf(255))) left.push(key.at(-1) as number);
      await kv.close();
      assert(left.join(" ") === "6 7 8 9 10", `left in the store: ${left.join(" ")}`);
    },
  },
  {
    title: "what a compaction removes is gone though the process ended before it was",
    async run(disk) {
      await compact(disk);
      const kv = await disk.openKeyValue();
      const key = keyOf(3);
      await kv.batch([{ type: "put", key, value: Buffer.from("left") }], { sync: true });
      await kv.close();
      await (await open(disk)).close();
      const again = await disk.openKeyValue();
      assert(again.get(key) === undefined, "nothing is left of it");
      await again.close();
    },
  },
  {
    title: "a damaged entry, a hole and a lost tail are distinguished, and each is refused",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ entries: entries(1, 5) });
      await storage.close();
      await spoil(disk, 5, "drop");
      assert((await code(open(disk))) === "RAFT_LOG_TAIL_LOST", "a lost tail");
      const kv = await disk.openKeyValue();
      await kv.close();
      await spoil(disk, 3, "drop");
      assert((await code(open(disk))) === "RAFT_LOG_HOLE", "a hole");
      await spoil(disk, 2, "flip");
      assert((await code(open(disk))) === "RAFT_LOG_CORRUPT", "a damaged entry");
    },
  },
  {
    title: "another cluster's or member's storage is refused, and a log that vanished beside its marker",
    async run(disk) {
      const storage = await open(disk);
      await storage.write({ entries: entries(1, 5) });
      await storage.close();
      const other = { clusterId: "contract", nodeId: 1, newIncarnation: () => "second" };
      assert(
        (await code(openLogStorage(disk, { ...other, clusterId: "other" }))) === "RAFT_IDENTITY_MISMATCH",
        "cluster",
      );
      assert((await code(openLogStorage(disk, { ...other, nodeId: 2 }))) === "RAFT_IDENTITY_MISMATCH", "node");
      const again = await openLogStorage(disk, other);
      assert(again.identity.incarnation === "first", "the incarnation is the first one");
      await again.close();
      const kv = await disk.openKeyValue();
      await kv.batch([{ type: "del", key: Buffer.from("i") }], { sync: true });
      await kv.close();
      assert((await code(openLogStorage(disk, other))) === "RAFT_LOG_TAIL_LOST", "vanished");
    },
  },
  {
    title: "a member is remembered by its incarnation until it is forgotten",
    async run(disk) {
      const storage = await open(disk);
      assert(await storage.rememberPeer(2, "a"), "first met");
      assert(await storage.rememberPeer(2, "a"), "met again");
      assert(!(await storage.rememberPeer(2, "b")), "wiped");
      await storage.forgetPeer(2);
      assert(await storage.rememberPeer(2, "b"), "forgotten");
      await storage.close();
    },
  },
];
