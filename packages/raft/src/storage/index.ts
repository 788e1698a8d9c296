export type { Identity, RaftStorage, SnapshotReader, SnapshotSource, Write } from "./storage.ts";
export type { Disk, FileWriter, KeyValue, KeyValueOp, StreamOptions } from "./disk.ts";
export { openFileDisk, type FileDiskOptions } from "./file-disk.ts";
export { memoryDisk } from "./memory-disk.ts";
export { openLogStorage, type LogStorageOptions } from "./log-storage.ts";
