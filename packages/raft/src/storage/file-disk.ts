/** The real disk: LevelDB behind a journal, and files beside them. */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";

import type { Disk, FileWriter, JournalDisk } from "./disk.ts";
import { syncDirectory, writeAt } from "./files.ts";
import { journalExists, openJournal } from "./journal.ts";
import { hasJournal, openJournaled } from "./journaled-key-value.ts";
import { openLevel } from "./level.ts";

export interface FileDiskOptions {
  /** Bytes of LevelDB's memtable before it is written as a sorted table. @default 16 MiB */
  readonly writeBufferBytes?: number;
  /** Whether a new directory gets a journal, which makes small writes faster; one that has it keeps it. @default true */
  readonly journal?: boolean;
}

/** A `Disk` in `directory`, which is made if it is not there. */
export async function openFileDisk(directory: string, options: FileDiskOptions = {}): Promise<Disk> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const { overwritten, ...files } = filesIn(directory);
  return {
    ...files,
    async openKeyValue() {
      const level = await openLevel(join(directory, "log"), options.writeBufferBytes ?? 16 * 1024 * 1024);
      try {
        const known = hasJournal(level);
        const journaled = options.journal !== false || known || (await journalExists(files));
        const kv = journaled ? await openJournaled(level, await openJournal(files, { known })) : level;
        return {
          get: (key) => kv.get(key),
          batch: (ops, sync) => kv.batch(ops, sync),
          clear: (from, to) => kv.clear(from, to),
          iterate: (from, to) => kv.iterate(from, to),
          async close() {
            await overwritten.close();
            await kv.close();
          },
        };
      } catch (error) {
        await level.close();
        throw error;
      }
    },
  };
}

/** All of a disk but its key-value store. */
export function filesIn(
  directory: string,
): Omit<Disk, "openKeyValue"> & JournalDisk & { readonly overwritten: OverwrittenFiles } {
  const path = (name: string): string => join(directory, name);
  const overwritten = new OverwrittenFiles(path);
  const syncNames = (): Promise<void> => syncDirectory(directory);
  return {
    overwritten,
    async list() {
      const found = await readdir(directory, { withFileTypes: true });
      return found.filter((entry) => entry.isFile()).map(({ name }) => name);
    },
    async read(name) {
      try {
        return await readFile(path(name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
    },
    async overwrite(name, bytes, { sync }) {
      await overwritten.write(name, bytes, sync);
      if (sync) await syncNames();
    },
    async create(name): Promise<FileWriter> {
      const file = await open(path(name), "w", 0o600);
      return {
        async write(chunk) {
          for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
        },
        sync: () => file.sync(),
        close: () => file.close(),
      };
    },
    async openInPlace(name) {
      const file = await open(path(name), constants.O_RDWR | (constants.O_DSYNC ?? 0));
      return {
        read: () => readFile(path(name)),
        async write(bytes, position) {
          await writeAt(file, bytes, position);
          // Where a file can't be opened so that its writes are durable.
          if (constants.O_DSYNC === undefined) await file.datasync();
        },
        close: () => file.close(),
      };
    },
    async *stream(name, chunkBytes, { reuse = false } = {}) {
      await using file = await open(path(name), "r");
      // The one that is read into, and the two that may be in use.
      const buffers: Buffer[] = [];
      for (;;) {
        const buffer = (buffers.length === 3 ? buffers.shift() : undefined) ?? Buffer.allocUnsafeSlow(chunkBytes);
        const { bytesRead } = await file.read(buffer, 0, chunkBytes);
        if (bytesRead === 0) return;
        if (reuse) buffers.push(buffer);
        yield buffer.subarray(0, bytesRead);
      }
    },
    rename: (from, to) => rename(path(from), path(to)),
    remove: (name) => rm(path(name), { force: true }),
    syncDirectory: syncNames,
  };
}

/**
 * An overwrite without a sync, for which nobody waits, begins so late, ms. Each costs a thread's waking, as much as all
 * else that a small write to the log costs the processor; the caller makes one of those that come meanwhile.
 */
const lazyMs = 10;

/**
 * Small files that are overwritten again and again, behind the batches of the log: each stays open until the store is
 * closed, so that an overwrite is one call.
 */
class OverwrittenFiles {
  private readonly path: (name: string) => string;
  private readonly files = new Map<string, { readonly handle: FileHandle; length: number }>();

  constructor(path: (name: string) => string) {
    this.path = path;
  }

  /** Neither emptied nor appended to: after a kill an overwrite of a few bytes is there or not, and never half. */
  async write(name: string, bytes: Uint8Array, sync: boolean): Promise<void> {
    if (!sync) await after(lazyMs);
    let file = this.files.get(name);
    if (file === undefined) {
      const handle = await open(this.path(name), constants.O_RDWR | constants.O_CREAT, 0o600);
      file = { handle, length: (await handle.stat()).size };
      this.files.set(name, file);
    }
    await writeAt(file.handle, bytes, 0);
    if (file.length > bytes.length) await file.handle.truncate(bytes.length);
    file.length = bytes.length;
    if (sync) await file.handle.datasync();
  }

  async close(): Promise<void> {
    const files = [...this.files.values()];
    this.files.clear();
    await Promise.all(files.map(({ handle }) => handle.close()));
  }
}
