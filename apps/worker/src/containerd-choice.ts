/** Which containerd this worker uses. Once made the choice stays: the other one would not know the tasks that run. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** `machine`: the one that the machine runs. `own`: one that the worker runs. */
export type ContainerdChoice = "machine" | "own";

const fileName = "containerd-choice";

export async function readChoice(directory: string): Promise<ContainerdChoice | undefined> {
  try {
    const text = (await readFile(join(directory, fileName), "utf8")).trim();
    return text === "machine" || text === "own" ? text : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export async function writeChoice(directory: string, choice: ContainerdChoice): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(join(directory, fileName), `${choice}\n`, { flush: true });
}
