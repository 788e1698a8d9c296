/**
 * The log: what is on disk, then what is not known to be.
 *
 * L1: `firstIndex − 1 ≤ applied ≤ applying ≤ committed ≤ lastIndex`. L2: an entry at or below `committed` never changes.
 * L3: terms never decrease along the log.
 */
import { assert } from "@warren/std";

import { countWithin, entriesSize } from "./entry.ts";
import type { Entry, Snapshot, Storage } from "./types.ts";
import { Unstable } from "./unstable.ts";

export interface EntryId {
  readonly term: number;
  readonly index: number;
}

/** Called in place. */
export interface LogObserver {
  conflict?(index: number, existingTerm: number, term: number): void;
  committed?(before: number, committed: number): void;
}

/** The log ends before what is committed: this node acknowledged entries that it has no more, and must not go on. */
export class LogLost extends Error {
  constructor(commit: number, last: number) {
    super(`commit ${commit} is beyond the last entry ${last}: this node's log was lost or truncated`);
    this.name = "LogLost";
  }
}

export class RaftLog {
  readonly unstable: Unstable;
  committed: number;
  /** The last index handed out to be applied. */
  applying: number;
  /** The last index reported as applied. */
  applied: number;
  private readonly storage: Storage;
  private readonly maxApplyingSize: number;
  /** Encoded bytes handed out and not reported as applied. */
  private applyingSize = 0;
  private applyingPaused = false;
  /** A snapshot waits for what is being applied: nothing more is handed out. */
  applyingHeld = false;
  private readonly observer: LogObserver;

  constructor(storage: Storage, maxApplyingSize: number, observer: LogObserver = {}) {
    this.storage = storage;
    this.maxApplyingSize = maxApplyingSize;
    this.observer = observer;
    this.unstable = new Unstable(storage.lastIndex() + 1);
    this.committed = storage.firstIndex() - 1;
    this.applying = this.committed;
    this.applied = this.committed;
  }

  firstIndex(): number {
    const { snapshot } = this.unstable;
    return snapshot === undefined ? this.storage.firstIndex() : snapshot.metadata.index + 1;
  }

  lastIndex(): number {
    return this.unstable.lastIndex() ?? this.storage.lastIndex();
  }

  /** The term at `index`; `undefined` when that is compacted or beyond the end. */
  term(index: number): number | undefined {
    const term = this.unstable.term(index);
    if (term !== undefined) return term;
    if (index + 1 < this.firstIndex() || index > this.lastIndex()) return undefined;
    return this.storage.term(index);
  }

  lastEntryId(): EntryId {
    const index = this.lastIndex();
    const term = this.term(index);
    assert(term !== undefined, `the last entry, at ${index}, has a term`);
    return { term, index };
  }

  matchTerm(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends in `theirs` is at least as complete as this one (Raft §5.4.1). */
  isUpToDate(theirs: EntryId): boolean {
    const ours = this.lastEntryId();
    return theirs.term > ours.term || (theirs.term === ours.term && theirs.index >= ours.index);
  }

  /**
   * Appends a leader's entries after `prev` and moves the commit index, both as far as they are shown to match.
   * Returns the last index that now matches the leader, or `undefined` if `prev` does not.
   */
  maybeAppend(prev: EntryId, entries: readonly Entry[], committed: number): number | undefined {
    if (!this.matchTerm(prev.index, prev.term)) return undefined;
    const last = prev.index + entries.length;
    // What already matches stays: an old message must not cut off what a newer one brought.
    const from = this.firstNew(entries);
    if (from < entries.length) this.append(from === 0 ? entries : entries.slice(from));
    // Beyond `last` nothing is known to match.
    this.commitTo(Math.min(committed, last));
    return last;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.committed, `entry ${first.index} would replace a committed one (${this.committed})`); // L2
    this.unstable.truncateAndAppend(entries);
  }

  /** Position in `entries` of the first that is not in this log; their count if all are. */
  private firstNew(entries: readonly Entry[]): number {
    for (let at = 0; at < entries.length; at++) {
      const { index, term } = entries[at] as Entry;
      const existing = this.term(index);
      if (existing === term) continue;
      if (existing !== undefined) this.observer.conflict?.(index, existing, term);
      return at;
    }
    return entries.length;
  }

  /**
   * The highest index up to `index` at which this log may match another that has `term` at or after it, and our term
   * there (0 if unknown): by L3, wherever our term is higher the two differ.
   */
  findConflictByTerm(index: number, term: number): EntryId {
    for (let at = index; at > 0; at--) {
      const ours = this.term(at);
      if (ours === undefined) return { index: at, term: 0 };
      if (ours <= term) return { index: at, term: ours };
    }
    return { index: 0, term: 0 };
  }

  hasPendingSnapshot(): boolean {
    return this.unstable.snapshot !== undefined;
  }

  hasNextCommittedEntries(allowUnstable: boolean): boolean {
    // A snapshot is applied before any entry.
    if (this.applyingPaused || this.applyingHeld || this.hasPendingSnapshot()) return false;
    return this.applying < this.maxAppliable(allowUnstable);
  }

  /** Committed entries to apply next; without `allowUnstable`, only those on this node's disk. */
  nextCommittedEntries(allowUnstable: boolean): Entry[] {
    if (!this.hasNextCommittedEntries(allowUnstable)) return [];
    const room = this.maxApplyingSize - this.applyingSize;
    const entries = this.slice(this.applying + 1, this.maxAppliable(allowUnstable) + 1, room);
    assert(entries !== undefined, `entries from ${this.applying + 1} on, not applied yet, were compacted`);
    return entries;
  }

  private maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1);
  }

  /** Entries up to `index`, of `size` encoded bytes, were handed out to be applied. */
  acceptApplying(index: number, size: number, allowUnstable: boolean): void {
    assert(index <= this.committed, `applying ${index} beyond committed ${this.committed}`); // L1
    this.applying = index;
    this.applyingSize += size;
    // Fewer than there are were handed out: the next one did not fit.
    this.applyingPaused = this.applyingSize >= this.maxApplyingSize || index < this.maxAppliable(allowUnstable);
  }

  /** Entries up to `index`, of `size` encoded bytes, were applied. */
  appliedTo(index: number, size: number): void {
    assert(
      this.applied <= index && index <= this.committed,
      `applied ${index} is not within applied ${this.applied} and committed ${this.committed}`,
    ); // L1
    this.applied = index;
    this.applying = Math.max(this.applying, index);
    this.applyingSize = Math.max(0, this.applyingSize - size);
    this.applyingPaused = this.applyingSize >= this.maxApplyingSize;
  }

  /** Moves the commit index forward; never back. */
  commitTo(index: number): void {
    if (index <= this.committed) return;
    if (index > this.lastIndex()) throw new LogLost(index, this.lastIndex()); // L1
    const before = this.committed;
    this.committed = index;
    this.observer.committed?.(before, index);
  }

  /** Commits `index` if its entry is of `term`: a leader counts copies only of its own term's entries (Raft §5.4.2). */
  maybeCommit(index: number, term: number): boolean {
    if (index <= this.committed || !this.matchTerm(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  snapshot(): Snapshot | undefined {
    return this.unstable.snapshot ?? this.storage.snapshot();
  }

  restore(snapshot: Snapshot): void {
    this.committed = snapshot.metadata.index;
    this.unstable.restore(snapshot);
  }

  /** Entries from `index` to the end, cut to `maxSize`; `undefined` when `index` is compacted. */
  entries(index: number, maxSize: number): Entry[] | undefined {
    const end = this.lastIndex() + 1;
    return index >= end ? [] : this.slice(index, end, maxSize);
  }

  /** Whether any entry in `[lo, hi)` satisfies `test`, reading no more than a page at a time. */
  some(lo: number, hi: number, test: (entry: Entry) => boolean): boolean {
    for (let at = lo; at < hi;) {
      const page = this.slice(at, hi, this.maxApplyingSize);
      assert(page !== undefined && page.length > 0, `entries from ${at} on can be read`);
      if (page.some(test)) return true;
      at += page.length;
    }
    return false;
  }

  /** Entries `[lo, hi)`, cut to `maxSize` encoded bytes but at least one; `undefined` when `lo` is compacted. */
  slice(lo: number, hi: number, maxSize: number): Entry[] | undefined {
    if (lo < this.firstIndex()) return undefined;
    if (lo >= hi) return [];
    const { offset, entries } = this.unstable;
    if (lo >= offset) {
      const from = lo - offset;
      return entries.slice(from, from + countWithin(entries, from, hi - offset, maxSize));
    }
    const cut = Math.min(hi, offset);
    const stable = this.storage.entries(lo, cut, maxSize);
    if (hi <= offset || stable.length < cut - lo) return stable;
    const size = entriesSize(stable);
    if (size >= maxSize) return stable;
    const count = countWithin(entries, 0, hi - offset, maxSize - size);
    if (count === 1 && size + entriesSize(entries.slice(0, 1)) > maxSize) return stable;
    for (let i = 0; i < count; i++) stable.push(entries[i] as Entry);
    return stable;
  }
}
