import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Why a daemon ended by itself, for commands that get no answer: a file in the run dir, which a full disk leaves writable where it is
 * a tmpfs, and which the daemon's next start removes.
 */
export class LastEnd {
  readonly #path: string;

  /** @param word the daemon's: `manager` */
  constructor(runDir: string, word: string) {
    this.#path = join(runDir, `${word}.ended`);
  }

  /** Undefined where it runs, was ended by a signal, or has never run. */
  async read(): Promise<string | undefined> {
    return readFile(this.#path, "utf8").catch(() => undefined);
  }

  /** What can't be written can't be read: a failure is none of the daemon's. */
  async write(why: string): Promise<void> {
    try {
      await mkdir(join(this.#path, ".."), { recursive: true, mode: 0o700 });
      await writeFile(this.#path, why, { mode: 0o600 });
    } catch {
      // Its log and its exit say it too.
    }
  }

  clear(): Promise<void> {
    return rm(this.#path, { force: true });
  }
}
