/** The real disk: LevelDB through classic-level, and files beside it. */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import { ClassicLevel } from "classic-level";

import type { Disk, FileWriter, KeyValue } from "./disk.ts";

export interface FileDiskOptions {
  /** Bytes LevelDB gathers before it writes a sorted table. @default 16 MiB */
  readonly writeBufferBytes?: number;
}

/** A `Disk` in `directory`, which is made if it is not there. */
export async function openFileDisk(directory: string, options: FileDiskOptions = {}): Promise<Disk> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = (name: string): string => join(directory, name);
  const disk: Disk = {
    async openKeyValue() {
      const writeBufferBytes = options.writeBufferBytes ?? 16 * 1024 * 1024;
      if (!(await exists(path("log")))) await makeLevel(directory, writeBufferBytes);
      return openLevel(path("log"), writeBufferBytes);
    },
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
      // Neither emptied nor appended to: an overwrite of a few bytes is all or nothing to whoever reads after a kill.
      await using file = await open(path(name), constants.O_RDWR | constants.O_CREAT, 0o600);
      await file.write(bytes, 0, bytes.length, 0);
      await file.truncate(bytes.length);
      if (!sync) return;
      await file.datasync();
      await disk.syncDirectory();
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
    async *stream(name, chunkBytes) {
      await using file = await open(path(name), "r");
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(chunkBytes), 0, chunkBytes);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    },
    rename: (from, to) => rename(path(from), path(to)),
    remove: (name) => rm(path(name), { force: true }),
    syncDirectory: () => syncDirectory(directory),
  };
  return disk;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

/**
 * LevelDB does not sync the first manifest of a new store before it points to it: after a power failure then, nothing
 * can be opened. So the store is made aside, and takes its place once all of it is durable.
 */
async function makeLevel(directory: string, writeBufferBytes: number): Promise<void> {
  const aside = join(directory, "log.new");
  await rm(aside, { recursive: true, force: true });
  const level = await openLevel(aside, writeBufferBytes);
  await level.batch([{ type: "del", key: Buffer.from("new") }], { sync: true });
  await level.close();
  await syncDirectory(aside);
  await rename(aside, join(directory, "log"));
  await syncDirectory(directory);
}

async function openLevel(location: string, writeBufferSize: number): Promise<KeyValue> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(location, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: false,
    writeBufferSize,
  });
  await level.open();
  return {
    get: (key) => level.getSync(key),
    batch: (ops, options) => level.batch([...ops], options),
    iterate: (gte, lt) => level.iterator({ gte, lt }),
    close: () => level.close(),
  };
}
