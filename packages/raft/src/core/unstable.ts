/**
 * The end of the log that is not known to be on disk: a snapshot, then entries, each either waiting or being written.
 *
 * U1: `entries[i]` has index `offset + i`. U2: `offset ≤ offsetInProgress ≤ offset + entries.length`.
 * U3: `offset` may be at or below the last index on disk; then the next write replaces what is there from `offset` on.
 */
import type { Entry, Snapshot } from "./types.ts";

export class Unstable {
  snapshot: Snapshot | undefined = undefined;
  offset: number;
  entries: Entry[] = [];
  private snapshotInProgress = false;
  /** The first index that was not yet handed out to be written. */
  private offsetInProgress: number;

  constructor(offset: number) {
    this.offset = offset;
    this.offsetInProgress = offset;
  }

  /** Last index here, or `undefined` if there is nothing. */
  lastIndex(): number | undefined {
    if (this.entries.length > 0) return this.offset + this.entries.length - 1;
    return this.snapshot?.metadata.index;
  }

  term(index: number): number | undefined {
    if (index >= this.offset) return this.entries[index - this.offset]?.term;
    const metadata = this.snapshot?.metadata;
    return metadata?.index === index ? metadata.term : undefined;
  }

  hasNextEntries(): boolean {
    return this.offset + this.entries.length > this.offsetInProgress;
  }

  /** Entries that are not being written yet. */
  nextEntries(): Entry[] {
    return this.hasNextEntries() ? this.entries.slice(this.offsetInProgress - this.offset) : [];
  }

  /** The snapshot, if it is not being written yet. */
  nextSnapshot(): Snapshot | undefined {
    return this.snapshotInProgress ? undefined : this.snapshot;
  }

  /** Everything here has been handed out to be written. */
  acceptInProgress(): void {
    this.offsetInProgress = this.offset + this.entries.length;
    if (this.snapshot !== undefined) this.snapshotInProgress = true;
  }

  /**
   * The log on disk holds everything up to `index`, whose entry there is of `term`.
   * Ignored when what is here at `index` is something else: it was replaced while the write was under way.
   */
  stableTo(index: number, term: number): void {
    if (index < this.offset || this.term(index) !== term) return;
    this.entries = index + 1 === this.offset + this.entries.length ? [] : this.entries.slice(index + 1 - this.offset);
    this.offset = index + 1;
    this.offsetInProgress = Math.max(this.offsetInProgress, this.offset);
  }

  stableSnapshotTo(index: number): void {
    if (this.snapshot?.metadata.index !== index) return;
    this.snapshot = undefined;
    this.snapshotInProgress = false;
  }

  restore(snapshot: Snapshot): void {
    this.offset = snapshot.metadata.index + 1;
    this.offsetInProgress = this.offset;
    this.entries = [];
    this.snapshot = snapshot;
    this.snapshotInProgress = false;
  }

  /** Appends; entries from the first one's index on are replaced. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = (entries[0] as Entry).index;
    if (from <= this.offset) {
      if (from < this.offset || this.entries.length > 0) this.entries = [];
      this.offset = from;
      this.offsetInProgress = from;
    } else if (from < this.offset + this.entries.length) {
      this.entries = this.entries.slice(0, from - this.offset);
      // U2: what was cut off is no longer being written, and its replacement is not yet.
      this.offsetInProgress = Math.min(this.offsetInProgress, from);
    }
    for (const entry of entries) this.entries.push(entry);
  }
}
