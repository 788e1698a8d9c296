/** A machine's disk, as narrow as the log needs it: a key-value store, and whole files in one directory. */
export interface Disk {
  openKeyValue(): Promise<KeyValue>;
  /** Names of all files. */
  list(): Promise<string[]>;
  /** A small file, whole; `undefined` if there is none. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** Overwrites a small file in place; with `sync` it is durable, name included. */
  overwrite(name: string, bytes: Uint8Array, options: { readonly sync: boolean }): Promise<void>;
  /** A new or emptied file. */
  create(name: string): Promise<FileWriter>;
  /**
   * A file from its start, in chunks of at most `chunkBytes`. With `reuse` a chunk's memory may be used again once the
   * second one after it is asked for: who reads a gigabyte leaves no gigabyte of garbage.
   */
  stream(name: string, chunkBytes: number, options?: StreamOptions): AsyncIterable<Uint8Array>;
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes renames and removals durable. */
  syncDirectory(): Promise<void>;
}

export interface StreamOptions {
  /** @default false */
  readonly reuse?: boolean;
}

export interface FileWriter {
  write(chunk: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A file of one length for good, whose bytes are overwritten. */
export interface InPlaceFile {
  /** All of it. */
  read(): Promise<Uint8Array>;
  /** Durable when it resolves; if the power fails before, each sector is as it was or as it was to be. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** What a journal needs of a disk beside its key-value store. */
export interface JournalDisk extends Pick<Disk, "list" | "create" | "rename" | "syncDirectory"> {
  /** Rejects if there is no such file. */
  openInPlace(name: string): Promise<InPlaceFile>;
}

export type KeyValueOp =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

/** Ordered by key, bytewise. */
export interface KeyValue {
  /** Synchronous: the core's reads are. */
  get(key: Uint8Array): Uint8Array | undefined;
  /**
   * Atomic; with `sync`, durable when it resolves. Not called again before it settles. None overtakes another: what is
   * there after a crash is a beginning of what was written.
   */
  batch(ops: readonly KeyValueOp[], options: { readonly sync: boolean }): Promise<void>;
  /** Removes the pairs with `from ≤ key < to`, bit by bit and without a sync; may run beside a batch. */
  clear(from: Uint8Array, to: Uint8Array): Promise<void>;
  /** Pairs with `from ≤ key < to`, in order. */
  iterate(from: Uint8Array, to: Uint8Array): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;
  close(): Promise<void>;
}
