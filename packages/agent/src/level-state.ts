import { existsSync } from "node:fs";
import { mkdir, readdir, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { ClassicLevel } from "classic-level";
import { errorText } from "@warren/std";
import { identityPathOf, readIdentity, writeIdentity, type Identity } from "./identity.ts";
import type { AgentState } from "./seams.ts";

/**
 * Opens the record's storage: LevelDB in `directory`, and the node's identity in `directory.identity` beside it. Both
 * are created if they are missing, readable by their owner alone: the record holds passwords of registries.
 *
 * A LevelDB that can't be read is renamed to `directory.damaged-N`, and a new one is created, as its content can be
 * fetched again.
 *
 * @throws Error if another process has it open
 */
export async function openLevelState(directory: string): Promise<AgentState> {
  await mkdir(dirname(directory), { recursive: true, mode: 0o700 });
  const identityPath = identityPathOf(directory);
  const identity = await readIdentity(identityPath);
  const { level, lost } = await openOrSetAside(directory, identity);
  return {
    nodeId: identity?.nodeId,
    opened: identity?.opened ?? 0,
    lost,
    identify: (nodeId, opened) => writeIdentity(identityPath, { ...identity, nodeId, opened }),
    async load() {
      return new Map(await level.iterator().all());
    },
    async write(changes) {
      // After a failed write, as on a full disk, LevelDB accepts no write until it is opened again.
      if (level.status !== "open") await level.open({ createIfMissing: false });
      try {
        await level.batch(
          changes.map(({ key, value }) => (value === undefined ? { type: "del", key } : { type: "put", key, value })),
          { sync: true },
        );
      } catch (error) {
        await level.close();
        throw error;
      }
    },
    close: () => level.close(),
  };
}

type Level = ClassicLevel<string, Uint8Array>;

async function openOrSetAside(
  directory: string,
  identity: Identity | undefined,
): Promise<{ readonly level: Level; readonly lost: string | undefined }> {
  const there = existsSync(directory) ? (await readdir(directory)).filter((name) => name !== "LOCK") : [];
  if (there.length === 0) {
    const lost = identity === undefined ? undefined : `the record in ${directory} is missing`;
    return { level: await openLevel(directory, true), lost };
  }
  try {
    // LevelDB treats a folder without CURRENT as empty, and would overwrite its files.
    if (!there.includes("CURRENT")) throw new Error("its file CURRENT is missing");
    const level = await openLevel(directory, false);
    try {
      await level.iterator().all();
    } catch (error) {
      await level.close();
      throw error;
    }
    return { level, lost: undefined };
  } catch (error) {
    if (isLocked(error)) throw error;
    const aside = await freeName(directory);
    await rename(directory, aside);
    const lost = `the record in ${directory} can't be read (${errorText(error)}) and was set aside as ${aside}`;
    return { level: await openLevel(directory, true), lost };
  }
}

async function openLevel(directory: string, createIfMissing: boolean): Promise<Level> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const level: Level = new ClassicLevel(directory, { valueEncoding: "view", createIfMissing });
  await level.open();
  return level;
}

function isLocked(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause)
    if ((each as NodeJS.ErrnoException).code === "LEVEL_LOCKED") return true;
  return false;
}

async function freeName(directory: string): Promise<string> {
  for (let n = 1; ; n += 1) if (!existsSync(`${directory}.damaged-${n}`)) return `${directory}.damaged-${n}`;
}
