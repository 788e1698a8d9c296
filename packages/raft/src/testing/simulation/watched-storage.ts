/** A member's storage, whose snapshots are looked at as they go by, and whose power may fail between two of its steps. */
import type { SnapshotMetadata } from "../../core/index.ts";
import type { RaftStorage } from "../../storage/index.ts";

/** What a member does to its log. */
export const logSteps = [
  "write of the log",
  "compaction of the log",
  "saving of a snapshot",
  "reception of a snapshot",
  "installation of a snapshot",
  "installation of a snapshot with commits beyond it",
] as const;

export type LogStep = (typeof logSteps)[number];

export interface StorageObserver {
  /** A snapshot of the member's own is to be stored; its bytes, or a failure once they went by. */
  saving(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  /** One from elsewhere is to be stored. */
  receiving(metadata: SnapshotMetadata): void;
  /** A step is done: the member goes on when this resolves. */
  done(step: LogStep): Promise<void>;
}

/** The same storage, watched. */
export function watched(storage: RaftStorage, observer: StorageObserver): RaftStorage {
  const step = async (what: LogStep, work: Promise<void>): Promise<void> => {
    await work;
    await observer.done(what);
  };
  return {
    get identity() {
      return storage.identity;
    },
    get level() {
      return storage.level;
    },
    initialState: () => storage.initialState(),
    firstIndex: () => storage.firstIndex(),
    lastIndex: () => storage.lastIndex(),
    term: (index) => storage.term(index),
    entries: (lo, hi, maxSize) => storage.entries(lo, hi, maxSize),
    snapshot: () => storage.snapshot(),
    write: (write) => step("write of the log", storage.write(write)),
    compact: (index) => step("compaction of the log", storage.compact(index)),
    saveSnapshot: (metadata, chunks) =>
      step("saving of a snapshot", storage.saveSnapshot(metadata, observer.saving(metadata, chunks))),
    receiveSnapshot: (metadata, source) => {
      observer.receiving(metadata);
      return step("reception of a snapshot", storage.receiveSnapshot(metadata, source));
    },
    installSnapshot: (metadata, hardState, identity) => {
      // Entries up to that commit index are a write of their own, which comes next.
      const beyond = (hardState?.commit ?? 0) > metadata.index;
      const kind = beyond ? "installation of a snapshot with commits beyond it" : "installation of a snapshot";
      return step(kind, storage.installSnapshot(metadata, hardState, identity));
    },
    snapshots: () => storage.snapshots(),
    openSnapshot: (index, options) => storage.openSnapshot(index, options),
    raiseLevel: (level) => storage.raiseLevel(level),
    rememberPeer: (id, incarnation) => storage.rememberPeer(id, incarnation),
    forgetPeer: (id) => storage.forgetPeer(id),
    close: () => storage.close(),
  };
}
