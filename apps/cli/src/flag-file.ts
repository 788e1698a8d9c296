/**
 * A daemon's own flags, `NAME.flags` in the data directory: written by `cluster init`, read by the daemon at each start.
 * So they hold with systemd and without, and after a reboot.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DaemonName, Folders } from "./folders.ts";
import { splitWords } from "./service/flag-syntax.ts";
import { UnitError } from "./units.ts";

export function flagFile(name: DaemonName, { dataDir }: Pick<Folders, "dataDir">): string {
  return join(dataDir, `${name}.flags`);
}

/** The words of a flag file: as a shell splits them, over any number of lines; lines that begin with `#` are left out. */
export function parseFlagFile(text: string): string[] {
  return splitWords(
    text
      .split("\n")
      .filter((line) => !line.trimStart().startsWith("#"))
      .join("\n"),
  );
}

/** Empty where there is no file. @throws UnitError with its path */
export function readFlagFile(name: DaemonName, folders: Pick<Folders, "dataDir">): string[] {
  const path = flagFile(name, folders);
  if (!existsSync(path)) return [];
  try {
    const words = parseFlagFile(readFileSync(path, "utf8"));
    const folder = words.find((word) => /^--(data|run)-dir(=|$)/.test(word));
    if (folder !== undefined)
      throw new UnitError(`${folder} belongs on the daemon's command line: this file is found by it`);
    return words;
  } catch (error) {
    if (error instanceof UnitError) throw new UnitError(`${path}: ${error.message}`);
    throw error;
  }
}

/** @param words of the command line; none takes the file away */
export function writeFlagFile(name: DaemonName, folders: Pick<Folders, "dataDir">, words: readonly string[]): void {
  const path = flagFile(name, folders);
  if (words.length === 0) return rmSync(path, { force: true });
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const text = words.map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`,
  );
  // A flag with its value on a line.
  writeFileSync(path, `${text.join(" ").replaceAll(/ (?=--)/g, "\n")}\n`, { mode: 0o600 });
}
