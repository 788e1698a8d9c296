import { watch } from "node:fs";
import { open, readFile, readdir, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Changes } from "@warren/std";
import { wholeLineBytes, type ContainerSpec, type LogLine, type LogOptions } from "@warren/runtime";

const readBytes = 64 * 1024;
const lineFeed = 10;
const fileBytes = 10 * 1024 * 1024;
const fileCount = 3;
/** How far before the last line that is wanted the pieces of another are looked for. */
const farBytes = 1024 * 1024;
/** A record is this much longer than its line at most. */
const headBytes = 64;

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

  /** Signals the logger that the container has ended, so what it has is all there will be. */
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
    const joined = new Joiner();
    for (;;) {
      const over = changes === undefined || (await this.#isOver());
      for await (const record of reader.records()) {
        if (signal?.aborted || left === 0) return;
        const line = joined.take(record);
        if (left !== undefined && !record.partial) left--;
        if (line !== undefined && line.at >= since) yield line;
      }
      if (over) {
        for (const line of joined.rest()) if (left !== 0 && line.at >= since) yield line;
        return;
      }
      if (signal?.aborted || !(await changes.next())) return;
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
  readonly #changes = new Changes();
  readonly #wake = (): void => this.#changes.notify();
  #seen = 0;

  constructor(directory: string, signal: AbortSignal | undefined) {
    this.#watcher = watch(directory, { persistent: false }, this.#wake);
    this.#watcher.on("error", this.#wake);
    this.#signal = signal;
    signal?.addEventListener("abort", this.#wake, { once: true });
  }

  /** Resolves with the next change since the last call, or the signal's abort; false for that. */
  async next(): Promise<boolean> {
    if (!this.#signal?.aborted) await this.#changes.after(this.#seen);
    this.#seen = this.#changes.count;
    return !this.#signal?.aborted;
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#wake);
    this.#watcher.close();
  }
}

/** Puts the pieces of a long line together: each but its last is marked as partial, and no other of its stream is between. */
class Joiner {
  readonly #pieces: Record<LogLine["stream"], { lines: LogLine[]; bytes: number }> = {
    stdout: { lines: [], bytes: 0 },
    stderr: { lines: [], bytes: 0 },
  };

  /** A line, once it is whole or longer than is held. */
  take(record: LogLine): LogLine | undefined {
    const held = this.#pieces[record.stream];
    held.lines.push(record);
    held.bytes += record.line.length;
    return record.partial && held.bytes < wholeLineBytes ? undefined : this.#join(record.stream);
  }

  /** What no line feed came after, in the order of its last pieces. */
  rest(): LogLine[] {
    const lines = (["stdout", "stderr"] as const).flatMap((stream) => this.#join(stream) ?? []);
    return lines.sort((a, b) => a.at - b.at);
  }

  #join(stream: LogLine["stream"]): LogLine | undefined {
    const { lines } = this.#pieces[stream];
    this.#pieces[stream] = { lines: [], bytes: 0 };
    const last = lines.at(-1);
    if (last === undefined || lines.length === 1) return last;
    return { ...last, line: Uint8Array.from(Buffer.concat(lines.map(({ line }) => line))) };
  }
}

/**
 * Where the last so many lines of a log begin, looked for from its end. Lines count where they end; the pieces of one
 * lie before that, with records of the other stream in between.
 */
class TailSearch {
  /** Of each stream, lines that end after the place and are none of those wanted. */
  readonly excluded: Record<LogLine["stream"], number> = { stdout: 0, stderr: 0 };
  readonly #wanted: number;
  #lines = 0;
  #bytesBeyond = 0;
  readonly #seen = new Set<LogLine["stream"]>();
  /** Streams with a line that is wanted and whose beginning was not found yet. */
  readonly #open = new Set<LogLine["stream"]>();

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  /** Takes the record before; false where the place is after it. */
  take({ stream, partial }: Pick<LogLine, "stream" | "partial">, bytes: number): boolean {
    if (this.#lines >= this.#wanted) this.#bytesBeyond += bytes;
    // A stream's last piece is a line of its own, though no line feed came after it.
    const ends = !partial || !this.#seen.has(stream);
    this.#seen.add(stream);
    if (!ends) return true;
    if (this.#lines < this.#wanted) {
      this.#lines += 1;
      this.#open.add(stream);
      return true;
    }
    this.#open.delete(stream);
    if (this.#open.size === 0 || this.#bytesBeyond > farBytes) return false;
    this.excluded[stream] += 1;
    return true;
  }
}

/** A place in a directory's numbered files. */
class Reader implements AsyncDisposable {
  readonly #directory: string;
  #file: FileHandle | undefined;
  #number = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);
  /** Of each stream, ends of lines that are passed over first. */
  #skip: Record<LogLine["stream"], number> = { stdout: 0, stderr: 0 };

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Goes to the first record, or to the last `tail` lines. */
  async begin(tail: number | undefined): Promise<void> {
    const numbers = (await fileNumbers(this.#directory)) ?? [];
    if (tail !== undefined) {
      const search = new TailSearch(tail);
      for (const number of numbers.toReversed()) {
        if (!(await this.#open(number))) break;
        if (await this.#seekBack(search)) {
          this.#skip = search.excluded;
          return;
        }
      }
      this.#skip = search.excluded;
    }
    await this.#open(numbers[0] ?? 1);
  }

  /** All whole records from here to the end of the newest file. */
  async *records(): AsyncGenerator<LogLine, void, void> {
    for (;;) {
      // L2: a later number says that this file grows no more. So first the look, then the reading.
      const later = (await fileNumbers(this.#directory))?.find((number) => number > this.#number);
      if (this.#file === undefined) await this.#open(this.#number);
      yield* this.#ofFile();
      if (later === undefined) return;
      await this.#open(later);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }

  async *#ofFile(): AsyncGenerator<LogLine, void, void> {
    for (;;) {
      const buffer = Buffer.allocUnsafe(readBytes);
      const { bytesRead = 0 } = (await this.#file?.read(buffer, 0, readBytes, this.#offset)) ?? {};
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const data = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = data.indexOf(lineFeed); end >= 0; end = data.indexOf(lineFeed, start)) {
        const record = parseRecord(data.subarray(start, end));
        start = end + 1;
        if (record === undefined) continue;
        if (this.#skip[record.stream] === 0) yield record;
        else if (!record.partial) this.#skip[record.stream] -= 1;
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

  /** Sets the place in this file where the search ends; false where that is before it. */
  async #seekBack(search: TailSearch): Promise<boolean> {
    if (this.#file === undefined) return false;
    const { size } = await this.#file.stat();
    this.#offset = size;
    let at = size;
    let held: Buffer = Buffer.alloc(0);
    // What comes after the last line feed is not whole yet.
    let isWhole = false;
    const buffer = Buffer.allocUnsafe(readBytes);
    while (at > 0) {
      const length = Math.min(readBytes, at);
      at -= length;
      await this.#file.read(buffer, 0, length, at);
      const data = Buffer.concat([buffer.subarray(0, length), held]);
      let end = data.length;
      for (
        let feed = data.lastIndexOf(lineFeed);
        feed >= 0;
        feed = feed === 0 ? -1 : data.lastIndexOf(lineFeed, feed - 1)
      ) {
        if (isWhole && this.#passed(search, data.subarray(feed + 1, end), at + feed + 1)) return true;
        if (!isWhole) this.#offset = at + feed + 1;
        isWhole = true;
        end = feed;
      }
      held = Buffer.from(data.subarray(0, end));
    }
    return isWhole && this.#passed(search, held, 0);
  }

  /** Whether the search ends with this record, which begins at `at`. */
  #passed(search: TailSearch, bytes: Buffer, at: number): boolean {
    const record = parseRecord(bytes.subarray(0, Math.min(bytes.length, headBytes)));
    const goesOn = record === undefined || search.take(record, bytes.length);
    if (goesOn) this.#offset = at;
    return !goesOn;
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

/** Undefined for an invalid record: the disk was full in the middle of one, or another program wrote to the file. */
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
