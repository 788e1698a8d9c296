/** A log in memory that keeps nothing: for tests, and as the readable copy of one that is on disk. */
import { assert } from "@warren/std";

import { countWithin } from "./entry.ts";
import type { ConfState, Entry, HardState, Snapshot, Storage } from "./types.ts";

const noConfState: ConfState = Object.freeze({
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
});

export class MemoryStorage implements Storage {
  private hardState: HardState = { term: 0, vote: 0, commit: 0 };
  private latest: Snapshot = { metadata: { index: 0, term: 0, confState: noConfState }, data: new Uint8Array(0) };
  /** Index and term of the last entry that was compacted. */
  private compacted = { index: 0, term: 0 };
  private log: Entry[] = [];

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.hardState, confState: this.latest.metadata.confState };
  }

  firstIndex(): number {
    return this.compacted.index + 1;
  }

  lastIndex(): number {
    return this.compacted.index + this.log.length;
  }

  term(index: number): number {
    if (index === this.compacted.index) return this.compacted.term;
    const entry = this.log[index - this.firstIndex()];
    assert(entry !== undefined, `entry ${index} is in the log`);
    return entry.term;
  }

  entries(lo: number, hi: number, maxSize: number): Entry[] {
    assert(this.firstIndex() <= lo && hi <= this.lastIndex() + 1, `entries ${lo} to ${hi} are in the log`);
    const from = lo - this.firstIndex();
    return this.log.slice(from, from + countWithin(this.log, from, hi - this.firstIndex(), maxSize));
  }

  snapshot(): Snapshot | undefined {
    return this.latest.metadata.index === 0 ? undefined : this.latest;
  }

  setHardState(state: HardState): void {
    this.hardState = state;
  }

  /** Appends, replacing what is there from the first entry's index on; what is compacted stays so. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const at = first.index - this.firstIndex();
    assert(at <= this.log.length, `no gap between ${this.lastIndex()} and ${first.index}`);
    if (at < this.log.length) this.log.length = Math.max(0, at);
    for (const entry of at < 0 ? entries.slice(-at) : entries) this.log.push(entry);
  }

  /** Replaces log and snapshot. An older snapshot than the one held is refused. */
  applySnapshot(snapshot: Snapshot): void {
    const { index, term } = snapshot.metadata;
    const held = this.latest.metadata.index;
    assert(held === 0 || held < index, `snapshot ${index} is newer than the one held, ${held}`);
    this.latest = snapshot;
    this.compacted = { index, term };
    this.log = [];
  }

  /** Holds a snapshot of what was applied up to `index`; the log stays. */
  createSnapshot(index: number, confState: ConfState, data: Uint8Array): Snapshot {
    assert(index > this.latest.metadata.index, `snapshot ${index} is newer than the one held`);
    this.latest = { metadata: { index, term: this.term(index), confState }, data };
    return this.latest;
  }

  /** Drops the log up to and including `index`, which must have been applied. */
  compact(index: number): void {
    assert(this.firstIndex() <= index && index <= this.lastIndex(), `compaction index ${index} is in the log`);
    const term = this.term(index);
    this.log = this.log.slice(index + 1 - this.firstIndex());
    this.compacted = { index, term };
  }
}
