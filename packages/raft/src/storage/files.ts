/** What a real disk needs of `node:fs` beyond one call. */
import { write, writeSync } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** Makes what was created, renamed and removed in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

/** Writes all of `bytes` at `position`. By callback: the promise of a FileHandle costs twice as much. */
export async function writeAt({ fd }: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, at, bytes.length - at, position + at, (error, written) => {
        if (error === null) resolve(written);
        else reject(error);
      });
    });
  }
}

/** As `writeAt`, on this thread: nothing else happens until it is done. */
export function writeAtSync({ fd }: FileHandle, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}
