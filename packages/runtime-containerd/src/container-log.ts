import { watch } from "node:fs";
import { open, readFile, readdir, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerSpec, LogLine, LogOptions } from "@warren/runtime";

const readBytes = 64 * 1024;
const lineFeed = 10;
const fileBytes = 10 * 1024 * 1024;
const fileCount = 3;

/** What a container wrote, in the files that `native/src/log.rs` keeps beside it (its L1 to L3). */
export class ContainerLog {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** What containerd's shim is given as the container's output. */
  uri(program: string, spec: Pick<ContainerSpec, "log" | "tty">): string {
    const query = new URLSearchParams({
      directory: this.#directory,
      "file-bytes": String(spec.log?.fileBytes ?? fileBytes),
      files: String(spec.log?.files ?? fileCount),
      ...(spec.tty && { tty: "1" }),
    });
    return `binary://${program}?${query.toString()}`;
  }

  /** Tells the logger that the container has ended, so what it has is all there will be. */
  async settle(): Promise<void> {
    const pid = await this.#loggerPid();
    if (pid === undefined) return;
    try {
      process.kill(pid, "SIGUSR1");
    } catch (error) {
      absent(error as NodeJS.ErrnoException);
    }
  }

  /** Resolves when nothing more comes, of a container that has ended. */
  async settled(signal: AbortSignal): Promise<void> {
    using changes = watchOrNone(this.#directory, signal);
    await this.settle();
    if (changes === undefined) return;
    for (let more = true; more && !(await this.#isOver());) more = await changes.next();
  }

  /** Ends, when it follows, once the logger has gone: with the container's last process that holds its output. */
  async *read(options: LogOptions): AsyncGenerator<LogLine, void, void> {
    const { follow = false, since = Number.NEGATIVE_INFINITY, tail, signal } = options;
    // First the watch, then the files, so that no change falls between.
    using changes = follow ? watchOrNone(this.#directory, signal) : undefined;
    await using reader = new Reader(this.#directory);
    await reader.begin(tail);
    // What comes while the last so many are read is not of them.
    let left = follow ? undefined : tail;
    for (;;) {
      const over = changes === undefined || (await this.#isOver());
      for await (const line of reader.lines()) {
        if (signal?.aborted || left === 0) return;
        if (left !== undefined) left--;
        if (line.at >= since) yield line;
      }
      if (over || signal?.aborted || !(await changes.next())) return;
    }
  }

  /** Whether nothing more can come: a logger was here and has gone, or all of it has. */
  async #isOver(): Promise<boolean> {
    if ((await this.#loggerPid()) !== undefined) return false;
    const numbers = await fileNumbers(this.#directory);
    return numbers === undefined || numbers.length > 0;
  }

  /** Of a logger that more may come from. One that was killed leaves its number, which may be another's now. */
  async #loggerPid(): Promise<number | undefined> {
    const pid = await readFile(join(this.#directory, "logger"), "utf8").catch(absent);
    if (pid === undefined || pid === "") return undefined;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(absent);
    return command?.split("\0").includes(this.#directory) ? Number(pid) : undefined;
  }
}

/** Undefined where the container has been removed. */
function watchOrNone(directory: string, signal: AbortSignal | undefined): DirectoryChanges | undefined {
  try {
    return new DirectoryChanges(directory, signal);
  } catch (error) {
    return absent(error as NodeJS.ErrnoException);
  }
}

/** The changes of one directory, from its making on. */
class DirectoryChanges implements Disposable {
  readonly #watcher;
  readonly #signal: AbortSignal | undefined;
  #changed: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #wake = (): void => this.#changed.resolve();

  constructor(directory: string, signal: AbortSignal | undefined) {
    this.#watcher = watch(directory, { persistent: false }, this.#wake);
    this.#watcher.on("error", this.#wake);
    this.#signal = signal;
    signal?.addEventListener("abort", this.#wake, { once: true });
  }

  /** Resolves with the next change since the last call, or the signal's abort; false for that. */
  async next(): Promise<boolean> {
    if (!this.#signal?.aborted) await this.#changed.promise;
    this.#changed = Promise.withResolvers();
    return !this.#signal?.aborted;
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#wake);
    this.#watcher.close();
  }
}

/** A place in a directory's numbered files. */
class Reader implements AsyncDisposable {
  readonly #directory: string;
  #file: FileHandle | undefined;
  #number = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Goes to the first record, or to the last `tail` of them. */
  async begin(tail: number | undefined): Promise<void> {
    const numbers = (await fileNumbers(this.#directory)) ?? [];
    if (tail === undefined) {
      await this.#open(numbers[0] ?? 1);
      return;
    }
    let left = tail;
    for (const number of numbers.toReversed()) {
      if (!(await this.#open(number))) break;
      left -= await this.#seekBack(left);
      if (left <= 0) return;
    }
    await this.#open(numbers[0] ?? 1);
  }

  /** All whole records from here to the end of the newest file. */
  async *lines(): AsyncGenerator<LogLine, void, void> {
    for (;;) {
      // L2: a later number says that this file grows no more. So first the look, then the reading.
      const later = (await fileNumbers(this.#directory))?.find((number) => number > this.#number);
      if (this.#file === undefined) await this.#open(this.#number);
      yield* this.#records();
      if (later === undefined) return;
      await this.#open(later);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }

  async *#records(): AsyncGenerator<LogLine, void, void> {
    for (;;) {
      const buffer = Buffer.allocUnsafe(readBytes);
      const { bytesRead = 0 } = (await this.#file?.read(buffer, 0, readBytes, this.#offset)) ?? {};
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const data = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = data.indexOf(lineFeed); end >= 0; end = data.indexOf(lineFeed, start)) {
        const line = parseRecord(data.subarray(start, end));
        start = end + 1;
        if (line !== undefined) yield line;
      }
      this.#rest = Buffer.from(data.subarray(start));
    }
  }

  async #open(number: number): Promise<boolean> {
    await this.#file?.close();
    this.#number = number;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    // One that was rotated away meanwhile is skipped.
    this.#file = await open(join(this.#directory, `${number}.log`)).catch(absent);
    return this.#file !== undefined;
  }

  /** Sets the place before the last `count` records of this file; gives how many there are from it. */
  async #seekBack(count: number): Promise<number> {
    if (this.#file === undefined) return 0;
    let { size: at } = await this.#file.stat();
    // Its last line feed ends a record and begins none; without `count`, the end is the place.
    let found = -1;
    this.#offset = at;
    const buffer = Buffer.allocUnsafe(readBytes);
    while (at > 0) {
      const length = Math.min(readBytes, at);
      at -= length;
      await this.#file.read(buffer, 0, length, at);
      for (let i = buffer.subarray(0, length).lastIndexOf(lineFeed); i >= 0;) {
        found += 1;
        if (found === 0) this.#offset = at + i + 1;
        if (found === count) {
          this.#offset = at + i + 1;
          return count;
        }
        i = i === 0 ? -1 : buffer.subarray(0, i).lastIndexOf(lineFeed);
      }
    }
    if (found < 0) return 0;
    this.#offset = 0;
    return found + 1;
  }
}

/** The numbers of a log's files, in order; undefined where the directory is gone. */
async function fileNumbers(directory: string): Promise<number[] | undefined> {
  const names = await readdir(directory).catch(absent);
  return names
    ?.flatMap((name) => /^(\d+)\.log$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** `2026-01-02T03:04:05.123456789Z stdout F what was written` */
const stampLength = "2026-01-02T03:04:05.123456789Z".length;
const millisLength = "2026-01-02T03:04:05.123".length;

/** Undefined for what is no record: the disk was full in the middle of one, or somebody wrote into the file. */
function parseRecord(record: Buffer): LogLine | undefined {
  const head = record.subarray(0, stampLength + 10).toString("latin1");
  const [, stream, kind] = /^.{30} (stdout|stderr) ([FP]) $/.exec(head) ?? [];
  const millis = Date.parse(`${head.slice(0, millisLength)}Z`);
  if ((stream !== "stdout" && stream !== "stderr") || Number.isNaN(millis)) return undefined;
  const at = millis + Number(head.slice(millisLength, stampLength - 1)) / 1e6;
  return { at, stream, line: Uint8Array.from(record.subarray(stampLength + 10)), partial: kind === "P" };
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT" || error.code === "ESRCH") return undefined;
  throw error;
}
