import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { DaemonError } from "./errors.ts";

/** A file with a daemon's process id, for commands that end the daemon; removed when the daemon ends in an orderly way. */
export interface PidFile extends AsyncDisposable {
  readonly path: string;
}

/**
 * Writes this process's id. A file that a killed process left behind is replaced.
 *
 * @param word an argument of the daemon's command line, by which its process is distinguished from one that has reused the id
 * @throws DaemonError `DAEMON_ALREADY_RUNS`
 */
export async function writePidFile(path: string, word: string): Promise<PidFile> {
  const pid = await runningPid(path, word);
  if (pid !== undefined && pid !== process.pid) {
    throw new DaemonError(
      { code: "DAEMON_ALREADY_RUNS", pid },
      `a ${word} runs already, as process ${pid}: end it first, or give this one a --run-dir of its own`,
    );
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, `${process.pid}\n`, { mode: 0o600 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** The process that the file names, if it runs and is a `word`; undefined where another program has reused the id. */
export async function runningPid(path: string, word: string): Promise<number | undefined> {
  const pid = Number(await textOf(path));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const words = (await textOf(`/proc/${pid}/cmdline`)).split("\0");
  return words.includes(word) ? pid : undefined;
}

/** Empty where there is no such file. */
async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}
