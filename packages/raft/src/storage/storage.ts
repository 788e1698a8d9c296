import type { Entry, HardState, SnapshotMetadata, Storage } from "../core/index.ts";
import type { StreamOptions } from "./disk.ts";

/** Whose storage it is. A wiped member cannot come back under its old id: its incarnation would differ. */
export interface Identity {
  readonly clusterId: string;
  readonly nodeId: number;
  /** Drawn when the storage was made; never changes. */
  readonly incarnation: string;
}

export interface Write {
  readonly hardState?: HardState | undefined;
  /** Consecutive; replaces what is there from the first one's index on. */
  readonly entries: readonly Entry[];
}

/** A snapshot on its way out. Read `chunks` once. */
export interface SnapshotReader {
  readonly metadata: SnapshotMetadata;
  readonly bytes: number;
  /** crc32 of all of them. */
  readonly checksum: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A snapshot on its way in. */
export interface SnapshotSource {
  readonly bytes: number;
  readonly checksum: number;
  /** Its bytes from `offset` on; called once. When a chunk is asked for, those before it are stored. */
  from(offset: number): AsyncIterable<Uint8Array>;
}

/**
 * A member's durable state. Read synchronously by the core (`Storage`); written by the node, one write at a time.
 *
 * S1: a resolved `write` is durable as a whole, or rejected and nothing more may be written. S2: what the core reads is
 * what resolved. S3: a snapshot is listed only when all of it is durable and its checksum is known.
 */
export interface RaftStorage extends Storage {
  readonly identity: Identity;
  /**
   * Writes hard state and entries atomically. Resolves when durable; a change of the commit index alone is only
   * remembered and goes to disk with the next write. @throws RaftError `RAFT_STORAGE_FAILED`, for good
   */
  write(write: Write): Promise<void>;
  /** Drops the log up to and including `index`, which a listed snapshot covers. */
  compact(index: number): Promise<void>;
  /** Stores a snapshot; the log stays as it is. Older snapshots beyond the number kept are removed. */
  saveSnapshot(metadata: SnapshotMetadata, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Stores a snapshot that comes from elsewhere, as `saveSnapshot` does. If it is cut short this rejects, and what came
   * is kept until another snapshot comes or the storage is closed: the same one goes on from there.
   */
  receiveSnapshot(metadata: SnapshotMetadata, source: SnapshotSource): Promise<void>;
  /**
   * Makes a stored snapshot the beginning of an empty log, with the hard state, atomically; with `identity`, it becomes
   * another group's.
   */
  installSnapshot(
    metadata: SnapshotMetadata,
    hardState: HardState | undefined,
    identity?: Omit<Identity, "nodeId">,
  ): Promise<void>;
  /** Stored snapshots, newest first. */
  snapshots(): readonly SnapshotMetadata[];
  /**
   * With `reuse` a chunk is valid until the next but one is asked for. @throws RaftError `RAFT_SNAPSHOT_CORRUPT` while it
   * is read, before its end, if it is damaged
   */
  openSnapshot(index: number, options?: StreamOptions): SnapshotReader;
  /** The highest level of anything in this storage. */
  readonly level: number;
  /** Resolves when a program that does not read `level` refuses this storage; only then is something of it written. */
  raiseLevel(level: number): Promise<void>;
  /** Remembers a member's incarnation when it is first met. False if the one remembered differs: it was wiped. */
  rememberPeer(id: number, incarnation: string): Promise<boolean>;
  /** Forgets a member that was removed. */
  forgetPeer(id: number): Promise<void>;
  close(): Promise<void>;
}
