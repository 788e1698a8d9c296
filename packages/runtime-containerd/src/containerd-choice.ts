/** Which containerd a worker uses. Once made the choice stays: the other one would not know the tasks that run. */
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";

/** `machine`: the one that the machine runs. `own`: one that the worker runs. */
export type ContainerdChoice = "machine" | "own";

const fileName = "containerd-choice";

/**
 * What was chosen; undefined on a worker that has not chosen yet. Where the file is damaged or gone, the folder of a
 * containerd of our own says which it was.
 *
 * @param ownData where a containerd of our own keeps what it has
 */
export async function readChoice(directory: string, ownData: string): Promise<ContainerdChoice | undefined> {
  const text = await readText(join(directory, fileName));
  if (text === "machine" || text === "own") return text;
  if (existsSync(ownData)) return "own";
  return text === undefined ? undefined : "machine";
}

export async function writeChoice(directory: string, choice: ContainerdChoice): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, fileName);
  {
    await using file = await open(`${path}.new`, "w");
    await file.writeFile(`${choice}\n`);
    await file.sync();
  }
  await rename(`${path}.new`, path);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
