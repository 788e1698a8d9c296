/** What every `Storage` that the core reads must do. */
import { isDeepStrictEqual } from "node:util";

import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";

import { entriesSize, type Entry, type HardState, type SnapshotMetadata, type Storage } from "../core/index.ts";

/** An empty storage, and what is written to it. */
export interface CoreStorageUnderTest {
  readonly storage: Storage;
  /** Replaces the log from the first entry on. */
  readonly write: (entries: readonly Entry[], hardState?: HardState) => Promise<void>;
  /** Holds a snapshot of what the log has up to there. */
  readonly snapshot: (metadata: SnapshotMetadata) => Promise<void>;
  /** Drops the log up to and including `index`, which a snapshot covers. */
  readonly compact: (index: number) => Promise<void>;
  /** Replaces all there is by a snapshot that comes from elsewhere. */
  readonly install: (metadata: SnapshotMetadata) => Promise<void>;
}

const confState = { voters: [1, 2], learners: [3], votersOutgoing: [], learnersNext: [], autoLeave: false };

function log(from: number, to: number, term: number): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, at) => ({
    term,
    index: from + at,
    type: "EntryNormal" as const,
    data: Buffer.from(`${term}/${from + at}`),
  }));
}

/** `FIRST:LAST INDEX/TERM …` */
function read(storage: Storage): string {
  const [first, last] = [storage.firstIndex(), storage.lastIndex()];
  const found = first > last ? [] : storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
  for (const { index, term, data } of found) {
    assert(storage.term(index) === term, `the term of ${index} is its entry's`);
    assert(Buffer.from(data).toString() === `${term}/${index}`, `the data of ${index} is its own`);
  }
  return [`${first}:${last}`, ...found.map(({ index, term }) => `${index}/${term}`)].join(" ");
}

function has(storage: Storage, expected: string): void {
  const found = read(storage);
  assert(found === expected, `the log is ${expected}, not ${found}`);
}

/** Run each on an empty storage of its own. */
export const coreStorageContract: readonly ContractCase<CoreStorageUnderTest>[] = [
  {
    title: "is at term 0 with an empty log and no snapshot before anything is written",
    async run({ storage }) {
      const { hardState, confState: members } = storage.initialState();
      assert(isDeepStrictEqual({ ...hardState }, { term: 0, vote: 0, commit: 0 }), "nothing was voted or committed");
      assert(members.voters.length === 0 && members.learners.length === 0, "it has no members");
      has(storage, "1:0");
      assert(storage.term(0) === 0, "the term before the log is 0");
      assert(storage.snapshot() === undefined, "there is no snapshot");
    },
  },
  {
    title: "reads what was written last, from the first entry that replaces others on",
    async run({ storage, write }) {
      await write(log(1, 5, 1), { term: 2, vote: 3, commit: 1 });
      has(storage, "1:5 1/1 2/1 3/1 4/1 5/1");
      await write(log(4, 4, 2));
      has(storage, "1:4 1/1 2/1 3/1 4/2");
      await write(log(5, 6, 3));
      has(storage, "1:6 1/1 2/1 3/1 4/2 5/3 6/3");
      const { hardState } = storage.initialState();
      assert(isDeepStrictEqual({ ...hardState }, { term: 2, vote: 3, commit: 1 }), "the hard state is the one written");
    },
  },
  {
    title: "cuts a range to the bytes that are asked for, but for its first entry, in an array of the caller's own",
    async run({ storage, write }) {
      await write(log(1, 6, 1));
      const all = storage.entries(2, 6, Number.POSITIVE_INFINITY);
      assert(all.map(({ index }) => index).join() === "2,3,4,5", "the range is without its end");
      const two = entriesSize(all.slice(0, 2));
      for (const [size, count] of [
        [0, 1],
        [two - 1, 1],
        [two, 2],
        [two + 1, 2],
        [entriesSize(all), 4],
      ] as const) {
        const { length } = storage.entries(2, 6, size);
        assert(length === count, `${size} bytes are ${count} entries, not ${length}`);
      }
      assert(storage.entries(3, 3, 100).length === 0, "an empty range has none");
      all.length = 0;
      has(storage, "1:6 1/1 2/1 3/1 4/1 5/1 6/1");
    },
  },
  {
    title: "keeps the log behind a snapshot until it is compacted, and the term of the entry before it then",
    async run({ storage, write, snapshot, compact }) {
      await write([...log(1, 3, 1), ...log(4, 6, 2)], { term: 2, vote: 0, commit: 5 });
      await snapshot({ index: 4, term: 2, confState });
      has(storage, "1:6 1/1 2/1 3/1 4/2 5/2 6/2");
      const held = storage.snapshot();
      assert(
        held !== undefined && isDeepStrictEqual({ ...held.metadata }, { index: 4, term: 2, confState }),
        "it holds it",
      );
      assert(isDeepStrictEqual(storage.initialState().confState, confState), "the members are the snapshot's");
      await compact(3);
      has(storage, "4:6 4/2 5/2 6/2");
      assert(storage.term(3) === 1, "the term of the last entry that was dropped is known");
      await write(log(6, 7, 4));
      has(storage, "4:7 4/2 5/2 6/4 7/4");
    },
  },
  {
    title: "begins behind a snapshot that comes from elsewhere",
    async run({ storage, write, install }) {
      await write(log(1, 3, 1));
      await install({ index: 20, term: 5, confState });
      has(storage, "21:20");
      assert(storage.term(20) === 5, "the term before the log is the snapshot's");
      assert(storage.snapshot()?.metadata.index === 20, "it holds the snapshot");
      await write(log(21, 22, 6));
      has(storage, "21:22 21/6 22/6");
    },
  },
];
