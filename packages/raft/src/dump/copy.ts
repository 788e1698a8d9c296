/** A copy of a directory's log that may be opened: LevelDB locks a directory that it opens, and writes to it. */
import { constants } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { exists } from "../storage/files.ts";

/** A member that runs changes its files every few seconds at most, and a copy takes less. */
const attempts = 10;

/**
 * Copies the journal and LevelDB's files into `to`, as of one moment, though a member writes them meanwhile: the journal
 * first, as LevelDB holds what a half held before it is written again; then LevelDB, once more if its files were others
 * at the end. What is appended meanwhile is a record that is cut short, which LevelDB takes for one that was never written.
 */
export async function copyLog(from: string, to: string): Promise<void> {
  const level = join(from, "log");
  for (let attempt = 0; attempt < attempts; attempt++) {
    await rm(to, { recursive: true, force: true });
    await mkdir(join(to, "log"), { recursive: true });
    const before = await state(level);
    try {
      if (await exists(join(from, "journal"))) await copy(join(from, "journal"), join(to, "journal"));
      for (const name of before.names) if (name !== "LOCK") await copy(join(level, name), join(to, "log", name));
    } catch (error) {
      // It was removed since it was listed.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw error;
    }
    const after = await state(level);
    if (after.current === before.current && after.names.join() === before.names.join()) return;
  }
  throw new Error(`${from} changes faster than it can be copied; stop the member that runs on it, or try again`);
}

async function copy(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
}

async function state(level: string): Promise<{ names: string[]; current: string }> {
  if (!(await exists(level))) return { names: [], current: "" };
  const names = (await readdir(level)).sort();
  return { names, current: names.includes("CURRENT") ? await readFile(join(level, "CURRENT"), "utf8") : "" };
}
