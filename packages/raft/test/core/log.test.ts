import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { MemoryStorage, type Entry, type Snapshot } from "../../src/core/index.ts";
import { countWithin, entriesSize } from "../../src/core/entry.ts";
import { RaftLog } from "../../src/core/log.ts";

const all = Number.POSITIVE_INFINITY;
const entry = (term: number, index: number, size = 1): Entry => ({
  term,
  index,
  type: "EntryNormal",
  data: new Uint8Array(size),
});
const terms = (log: RaftLog, from = log.firstIndex()): number[] =>
  (log.entries(from, all) ?? []).map(({ term }) => term);
const snapshot = (index: number, term: number): Snapshot => ({
  metadata: {
    index,
    term,
    confState: { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
  },
  data: new Uint8Array(0),
});

/** Entries 1… with these terms, the first `stable` of them on disk. */
function logOf(all: readonly number[], stable = 0): { log: RaftLog; storage: MemoryStorage } {
  const storage = new MemoryStorage();
  storage.append(all.slice(0, stable).map((term, at) => entry(term, at + 1)));
  const log = new RaftLog(storage, Number.POSITIVE_INFINITY);
  log.append(all.slice(stable).map((term, at) => entry(term, stable + at + 1)));
  return { log, storage };
}

describe("the log", () => {
  test("is one sequence, wherever the line between stable and unstable runs", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 8 }), fc.nat(8), (list, cut) => {
        const sorted = [...list].sort((a, b) => a - b);
        const { log } = logOf(sorted, Math.min(cut, sorted.length));
        expect(terms(log)).toEqual(sorted);
        expect(log.lastIndex()).toBe(sorted.length);
        for (const [at, term] of sorted.entries()) expect(log.term(at + 1)).toBe(term);
        expect(log.term(sorted.length + 1)).toBeUndefined();
      }),
    );
  });

  test("a slice of exactly its size ends where it does, though it goes on from what is on disk", () => {
    const { log } = logOf([1, 1, 1, 1], 2);
    const size = entriesSize([entry(1, 1)]);
    expect(log.slice(1, 5, 3 * size)?.map(({ index }) => index)).toEqual([1, 2, 3]);
    expect(log.slice(1, 5, 3 * size - 1)?.map(({ index }) => index)).toEqual([1, 2]);
  });

  test("a slice keeps to its size, but for a first entry that is larger", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 }),
        fc.nat(8),
        fc.nat(600),
        (sizes, cut, max) => {
          const entries = sizes.map((size, at) => entry(1, at + 1, size));
          const storage = new MemoryStorage();
          storage.append(entries.slice(0, cut));
          const log = new RaftLog(storage, Number.POSITIVE_INFINITY);
          log.append(entries.slice(cut));
          const slice = log.slice(1, entries.length + 1, max)!;
          expect(slice).toEqual(entries.slice(0, countWithin(entries, 0, entries.length, max)));
          expect(slice.length === 1 || entriesSize(slice) <= max).toBe(true);
        },
      ),
    );
  });

  test("takes a leader's entries where they match, and keeps the rest of its own", () => {
    const { log } = logOf([1, 1, 2], 2);
    expect(log.maybeAppend({ term: 1, index: 1 }, [entry(1, 2)], 0)).toBe(2);
    expect(terms(log)).toEqual([1, 1, 2]);
    expect(log.maybeAppend({ term: 1, index: 2 }, [entry(3, 3), entry(3, 4)], 0)).toBe(4);
    expect(terms(log)).toEqual([1, 1, 3, 3]);
    expect(log.maybeAppend({ term: 2, index: 4 }, [entry(3, 5)], 0)).toBeUndefined();
  });

  test("never replaces what is committed", () => {
    const { log } = logOf([1, 1]);
    log.commitTo(2);
    expect(() => log.maybeAppend({ term: 1, index: 1 }, [entry(2, 2)], 0)).toThrow("committed");
    expect(() => log.commitTo(3)).toThrow("lost");
  });

  test("a truncated write is written again from where it was cut", () => {
    const { log } = logOf([1, 1, 1]);
    log.unstable.acceptInProgress();
    log.append([entry(2, 2)]);
    expect(log.unstable.nextEntries().map(({ index, term }) => [index, term])).toEqual([[2, 2]]);
    // The word about the first write is about entries that are gone.
    log.unstable.stableTo(3, 1);
    log.unstable.stableTo(2, 1);
    expect(log.unstable.offset).toBe(1);
    log.unstable.stableTo(2, 2);
    expect(log.unstable.offset).toBe(3);
  });

  test("the hint skips every index whose term shows that it can't match", () => {
    const { log } = logOf([1, 3, 3, 3, 5, 5, 5, 5, 5]);
    expect(log.findConflictByTerm(6, 2)).toEqual({ index: 1, term: 1 });
    expect(log.findConflictByTerm(9, 5)).toEqual({ index: 9, term: 5 });
    expect(log.findConflictByTerm(3, 0)).toEqual({ index: 0, term: 0 });
  });

  test("is at least as complete as another by last term, then by length", () => {
    const { log } = logOf([1, 2]);
    expect(log.isUpToDate({ term: 3, index: 1 })).toBe(true);
    expect(log.isUpToDate({ term: 2, index: 1 })).toBe(false);
    expect(log.isUpToDate({ term: 2, index: 2 })).toBe(true);
    expect(log.isUpToDate({ term: 1, index: 9 })).toBe(false);
  });

  test("hands out committed entries once, within the limit, and goes on when they are applied", () => {
    const storage = new MemoryStorage();
    const log = new RaftLog(storage, entriesSize([entry(1, 1), entry(1, 2)]));
    log.append([entry(1, 1), entry(1, 2), entry(1, 3)]);
    log.commitTo(3);
    expect(log.nextCommittedEntries(false)).toEqual([]);
    const first = log.nextCommittedEntries(true);
    expect(first.map(({ index }) => index)).toEqual([1, 2]);
    log.acceptApplying(2, entriesSize(first), true);
    expect(log.nextCommittedEntries(true)).toEqual([]);
    log.appliedTo(2, entriesSize(first));
    expect(log.nextCommittedEntries(true).map(({ index }) => index)).toEqual([3]);
    expect(() => log.appliedTo(1, 0)).toThrow("applied");
  });

  test("a snapshot takes the place of everything, and no entry is applied before it", () => {
    const { log } = logOf([1, 1]);
    log.restore(snapshot(9, 2));
    expect([log.firstIndex(), log.lastIndex(), log.committed]).toEqual([10, 9, 9]);
    expect(log.term(9)).toBe(2);
    expect(log.hasNextCommittedEntries(true)).toBe(false);
    log.append([entry(2, 10)]);
    expect(terms(log)).toEqual([2]);
    log.unstable.stableSnapshotTo(8);
    expect(log.hasPendingSnapshot()).toBe(true);
    log.unstable.stableSnapshotTo(9);
    expect(log.hasPendingSnapshot()).toBe(false);
  });

  test("what is compacted is known by its term and can't be read", () => {
    const { log, storage } = logOf([1, 1, 2], 3);
    storage.compact(2);
    expect(log.entries(2, all)).toBeUndefined();
    expect(log.term(2)).toBe(1);
    expect(log.term(1)).toBeUndefined();
    expect(terms(log)).toEqual([2]);
  });
});
