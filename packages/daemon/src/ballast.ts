import { existsSync } from "node:fs";
import { mkdir, open, rename, rm, statfs } from "node:fs/promises";
import { join } from "node:path";

const fileName = "ballast";
/** Written at a time. */
const chunkBytes = 2 ** 20;
/** The ballast is laid aside only where this many times its size is free: a disk that is nearly full needs it as room. */
const roomFactor = 4;

export interface BallastOptions {
  /** @default 16777216 (16 MiB): some hundred thousand entries of a log, or a snapshot of a cluster */
  readonly bytes?: number;
}

/**
 * Room on a daemon's disk that is kept back for recovery: a file of zeros that takes it up, and is removed once a write
 * has failed for want of room. What was about to be written, or the next start, then has it.
 */
export class Ballast {
  readonly #path: string;
  readonly #bytes: number;
  #held: boolean;
  #laying: Promise<boolean> | undefined;

  private constructor(path: string, bytes: number, held: boolean) {
    this.#path = path;
    this.#bytes = bytes;
    this.#held = held;
  }

  /** Lays it aside in the folder, if it is not there and there is room. A full disk is no failure. */
  static async open(directory: string, { bytes = 16 * 2 ** 20 }: BallastOptions = {}): Promise<Ballast> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = join(directory, fileName);
    const ballast = new Ballast(path, bytes, existsSync(path));
    await ballast.layAside();
    return ballast;
  }

  /** Whether room is kept back. */
  get held(): boolean {
    return this.#held;
  }

  /** Frees the reserved space. True if there was any; false if it was freed before. */
  async giveUp(): Promise<boolean> {
    await this.#laying;
    if (!this.#held) return false;
    this.#held = false;
    await rm(this.#path, { force: true });
    return true;
  }

  /** Keeps room back again, where there is enough; whether it is kept back then. Cheap where it is. */
  layAside(): Promise<boolean> {
    if (this.#held) return Promise.resolve(true);
    this.#laying ??= this.#layAside().finally(() => (this.#laying = undefined));
    return this.#laying;
  }

  async #layAside(): Promise<boolean> {
    const unfinished = `${this.#path}.new`;
    try {
      const { bavail, bsize } = await statfs(join(this.#path, ".."));
      if (bavail * bsize < roomFactor * this.#bytes) return false;
      {
        await using file = await open(unfinished, "w", 0o600);
        // Written, not only declared: a file with a hole takes no room.
        const zeros = Buffer.alloc(chunkBytes);
        for (let left = this.#bytes; left > 0; left -= chunkBytes)
          await file.write(zeros, 0, Math.min(left, chunkBytes));
      }
      await rename(unfinished, this.#path);
      this.#held = true;
      return true;
    } catch {
      // Whatever keeps it from being written, the daemon has other things to do.
      await rm(unfinished, { force: true }).catch(() => undefined);
      return false;
    }
  }
}

/** Whether an error, or what caused it, is that a disk has no room: `ENOSPC`, `EDQUOT`, or a program's words for them. */
export function isDiskFull(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") return true;
    if (/\bENOSPC\b|\bEDQUOT\b|no space left on device|disk quota exceeded/i.test(each.message)) return true;
  }
  return false;
}
