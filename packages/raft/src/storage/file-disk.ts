/** The real disk: LevelDB through classic-level, and files beside it. */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";

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
  const overwritten = new OverwrittenFiles(path);
  const disk: Disk = {
    async openKeyValue() {
      const writeBufferBytes = options.writeBufferBytes ?? 16 * 1024 * 1024;
      if (!(await exists(path("log")))) await makeLevel(directory, writeBufferBytes);
      const level = await openLevel(path("log"), writeBufferBytes);
      return {
        ...level,
        async close() {
          await overwritten.close();
          await level.close();
        },
      };
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
      await overwritten.write(name, bytes, sync);
      if (sync) await disk.syncDirectory();
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
    syncDirectory: () => syncDirectory(directory),
  };
  return disk;
}

/**
 * An overwrite without a sync, for which nobody waits, begins so late, ms. Each costs a thread's waking, as much as all
 * else that a small write to the log costs the processor; the caller gathers those that come meanwhile into the next.
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

  /** Neither emptied nor appended to: an overwrite of a few bytes is all or nothing to whoever reads after a kill. */
  async write(name: string, bytes: Uint8Array, sync: boolean): Promise<void> {
    if (!sync) await after(lazyMs);
    let file = this.files.get(name);
    if (file === undefined) {
      const handle = await open(this.path(name), constants.O_RDWR | constants.O_CREAT, 0o600);
      file = { handle, length: (await handle.stat()).size };
      this.files.set(name, file);
    }
    await file.handle.write(bytes, 0, bytes.length, 0);
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
    async batch(ops, options) {
      // One by one: of an array, every property of every operation is looked up from native code, at twice the cost.
      const batch = level.batch();
      for (const op of ops) {
        if (op.type === "put") batch.put(op.key, op.value);
        else batch.del(op.key);
      }
      await batch.write(options);
    },
    clear: (gte, lt) => level.clear({ gte, lt }),
    iterate: (gte, lt) => level.iterator({ gte, lt }),
    close: () => level.close(),
  };
}
