import { mkdir } from "node:fs/promises";
import { ClassicLevel } from "classic-level";
import type { AgentState } from "./seams.ts";

/**
 * The local record's place on disk: LevelDB in `directory`, which is made, readable by its owner alone, if it is not
 * there. It holds registries' passwords as the manager gave them.
 */
export async function openLevelState(directory: string): Promise<AgentState> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const level = new ClassicLevel<string, Uint8Array>(directory, { valueEncoding: "view" });
  await level.open();
  return {
    async load() {
      return new Map(await level.iterator().all());
    },
    async write(changes) {
      await level.batch(
        changes.map(({ key, value }) => (value === undefined ? { type: "del", key } : { type: "put", key, value })),
        { sync: true },
      );
    },
    close: () => level.close(),
  };
}
