import { closeSync, constants, open, openSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { Socket } from "node:net";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { abortable, delay, systemClock, type Clock, type Logger } from "@warren/std";
import {
  RuntimeError,
  signalNumber,
  type ExecProcess,
  type ExecSpec,
  type ExecStreams,
  type ExitStatus,
} from "@warren/runtime";
import { unless, type Connection } from "./connection.ts";
import { TasksService } from "./generated/containerd/tasks.ts";
import type { Timestamp } from "./generated/google/protobuf/timestamp.ts";
import type { NativeProgram } from "./native-program.ts";

const { signals } = osConstants;

/** A descriptor alone: a FileHandle would close it when it is collected. */
const openDescriptor = promisify(open);

/** How long nothing may come from a process that has ended before its pipes count as held by others, ms. */
const quietMs = 100;

const processType = "types.containerd.io/opencontainers/runtime-spec/1/Process";

export interface ExecSurroundings {
  readonly connection: Connection;
  readonly program: NativeProgram;
  /** For this exec's pipes alone; made and removed here. */
  readonly directory: string;
  readonly containerId: string;
  readonly execId: string;
  /** OCI's `process`. */
  readonly process: object;
  readonly exitStatus: (code: number, at: Timestamp | undefined) => Promise<ExitStatus>;
  /** Ends a process of the container, by its number on this machine, with all that it has started. */
  readonly endSession: (pid: number) => Promise<void>;
  /** Ends those of the container's that runc can't begin, until the signal aborts. */
  readonly endStuck: (over: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Starts a process beside a container's first, its streams through named pipes between us and the shim.
 *
 * E1 A pipe is read to its end before `exit` resolves, however slow the reader.
 * E2 What a process leaves behind in the background may hold its output open; it is cut off once nothing more comes.
 * E3 Once `signal` aborts, the exec ends as soon as possible and everything of it is removed; its caller does not wait.
 */
export async function startExec(
  around: ExecSurroundings,
  spec: ExecSpec,
  streams: ExecStreams,
  signal?: AbortSignal,
): Promise<ExecProcess> {
  const { connection, program, directory, containerId, execId, clock } = around;
  const path = (name: string): string => join(directory, name);
  const names = [...(streams.stdin ? ["stdin"] : []), "stdout", ...(spec.tty ? [] : ["stderr"])];
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const ids = { containerId, execId };
  const pumps: Pump[] = [];
  try {
    await program.createFifos(...names.map(path));
    // Our ends first: the shim waits for a reader when it opens its own.
    pumps.push(await Pump.open(path("stdout"), streams.stdout));
    if (!spec.tty) pumps.push(await Pump.open(path("stderr"), streams.stderr));
    signal?.throwIfAborted();
    await connection.unary(TasksService.exec, {
      ...ids,
      stdin: streams.stdin ? path("stdin") : "",
      stdout: path("stdout"),
      stderr: spec.tty ? "" : path("stderr"),
      terminal: spec.tty ?? false,
      spec: { typeUrl: processType, value: Buffer.from(JSON.stringify(around.process)) },
    });
    // E3: a start can't be taken back, only ended.
    const started = new AbortController();
    const endStuck = (): void => {
      around
        .endStuck(started.signal)
        .catch((error: unknown) => around.log.warn("an exec that is stuck was not ended", { execId, error }));
    };
    signal?.addEventListener("abort", endStuck, { once: true });
    const starting = connection.unary(TasksService.start, ids).finally(() => {
      signal?.removeEventListener("abort", endStuck);
      started.abort();
    });
    if (signal?.aborted) endStuck();
    const { pid } = await starting.catch(async (error: unknown) => {
      await unless(connection.unary(TasksService.deleteProcess, ids), "RUNTIME_NOT_FOUND");
      throw error;
    });
    return run(around, pid, pumps, streams, signal);
  } catch (error) {
    await streams.stdin?.cancel(error);
    const code = cannotRun(error);
    if (code !== undefined) await pumps.at(-1)?.say(`${whyNotRun(error)}\n`);
    for (const pump of pumps) pump.close();
    await Promise.all(pumps.map((pump) => pump.done));
    await rm(directory, { recursive: true, force: true });
    if (code === undefined) throw error;
    const exit = { code, oomKilled: false, finishedAt: clock.now() };
    const nothing = (): Promise<void> => Promise.resolve();
    return { exit: Promise.resolve(exit), resize: nothing, signal: nothing };
  }
}

/** What a process that runs is from here on. */
function run(
  { connection, directory, containerId, execId, exitStatus, endSession, log }: ExecSurroundings,
  pid: number,
  pumps: readonly Pump[],
  streams: ExecStreams,
  signal: AbortSignal | undefined,
): ExecProcess {
  const ids = { containerId, execId };
  const over = new AbortController();
  const input = streams.stdin && feed(connection, ids, join(directory, "stdin"), streams.stdin, over.signal);
  const kill = async (number: number): Promise<void> => {
    if (number === signals.SIGKILL) await endSession(pid);
    await unless(connection.unary(TasksService.kill, { ...ids, signal: number, all: false }), "RUNTIME_NOT_FOUND");
  };
  // E3: what can't be ended now, since containerd is away, is found by its directory.
  const giveUp = (): void => {
    for (const pump of pumps) pump.close();
    kill(signals.SIGKILL).catch((error: unknown) =>
      log.warn("an exec that was given up was not ended", { execId, error }),
    );
  };
  const ended = (async (): Promise<ExitStatus> => {
    try {
      const { exitStatus: code, exitedAt } = await connection.unary(TasksService.wait, ids);
      over.abort();
      const allRead = new AbortController();
      const read = Promise.all(pumps.map((pump) => pump.done)).finally(() => allRead.abort());
      // E2: deleting gives the shim's copying two seconds more (ten in containerd 2), then closes its ends.
      await Promise.race([read, quiet(pumps, allRead.signal)]);
      await unless(connection.unary(TasksService.deleteProcess, ids), "RUNTIME_NOT_FOUND");
      await read;
      await input;
      await rm(directory, { recursive: true, force: true });
      return await exitStatus(code, exitedAt);
    } finally {
      over.abort();
      signal?.removeEventListener("abort", giveUp);
      // Where the end was not seen the directory stays: by its name `collectOrphans` finds the process.
      for (const pump of pumps) pump.close();
    }
  })();
  signal?.addEventListener("abort", giveUp, { once: true });
  if (signal?.aborted) giveUp();
  ended.catch(() => undefined); // a caller may look at it later or never
  const exit = signal === undefined ? ended : abortable(ended, signal);
  exit.catch(() => undefined);
  return {
    exit,
    async resize(columns, rows) {
      const size = { ...ids, width: columns, height: rows };
      await unless(connection.unary(TasksService.resizePty, size), "RUNTIME_NOT_FOUND");
    },
    signal: async (name) => kill(signalNumber(name)),
  };
}

/** runc's words for a program that can't be begun, after which it says why. */
const notBegun = /((?:exec: "|exec \/\S*: |chdir to cwd )[^]*?)(?:: unknown)?$/;

function whyNotRun(error: unknown): string {
  return notBegun.exec((error as Error).message)?.[1] ?? (error as Error).message;
}

/** As shells say it: 127 for what is not there, 126 for what can't be run; undefined where it is something else. */
function cannotRun(error: unknown): 126 | 127 | undefined {
  if (!(error instanceof RuntimeError) || !/OCI runtime exec failed/.test(error.message)) return undefined;
  const why = notBegun.exec(error.message)?.[1];
  if (why === undefined) return undefined;
  return /executable file not found|no such file or directory/.test(why) ? 127 : 126;
}

/** Copies one pipe to a stream; a reader that has gone is no fault of the process, whose output is then dropped. */
class Pump {
  readonly done: Promise<void>;
  readonly #socket: Socket;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #writing: Promise<void> | undefined;
  #chunks = 0;

  static async open(path: string, to: WritableStream<Uint8Array> | undefined): Promise<Pump> {
    // Without O_NONBLOCK the open would wait for the shim, in one of the four threads that all files share.
    return new Pump(await openDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK), to);
  }

  private constructor(fd: number, to: WritableStream<Uint8Array> | undefined) {
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#writer = to?.getWriter();
    this.done = this.#run(this.#writer);
  }

  /** Writes Warren's own error text, for a process that never started. */
  async say(text: string): Promise<void> {
    // A reader that has gone misses it.
    await this.#writer?.write(Buffer.from(text)).catch(() => undefined);
  }

  /** How many times something came. */
  get chunks(): number {
    return this.#chunks;
  }

  /** Resolves when what was read is written; undefined when that is so now. */
  get busy(): Promise<void> | undefined {
    return this.#writing;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #run(writer: WritableStreamDefaultWriter<Uint8Array> | undefined): Promise<void> {
    let gone = writer === undefined;
    const fail = (): void => {
      gone = true;
    };
    writer?.closed.catch(fail);
    try {
      for await (const chunk of this.#socket as AsyncIterable<Uint8Array>) {
        this.#chunks += 1;
        if (gone) continue;
        this.#writing = writer?.write(chunk).catch(fail);
        await this.#writing;
        this.#writing = undefined;
      }
    } catch (error) {
      // Closed by us after the process ended, or before it began.
      if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
    } finally {
      this.#writing = undefined;
      if (!gone) await writer?.close().catch(fail);
    }
  }
}

/** Resolves when nothing came for a while though no reader was in the way. */
async function quiet(pumps: readonly Pump[], over: AbortSignal): Promise<void> {
  const came = (): number => pumps.reduce((sum, { chunks }) => sum + chunks, 0);
  for (let before = -1; before !== came();) {
    for (const pump of pumps) await pump.busy;
    before = came();
    await delay(systemClock, quietMs, over).catch(() => undefined);
  }
}

/** Copies `from` into the process, and closes its input at the end. */
async function feed(
  connection: Connection,
  ids: { readonly containerId: string; readonly execId: string },
  path: string,
  from: ReadableStream<Uint8Array>,
  over: AbortSignal,
): Promise<void> {
  // The shim opens its end right after it started the process; this open waits for it.
  const opening = openDescriptor(path, constants.O_WRONLY);
  const release = (): void => {
    // It never will: be the reader that the open waits for. Not in a thread of the pool, all of which may wait so; and
    // until the open is over, which may not have begun yet where all threads are taken.
    try {
      const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const close = (): void => closeSync(reading);
      opening.then(close, close);
    } catch {
      // Its folder has gone, which an open that waits does not mind: it has the pipe.
    }
  };
  over.addEventListener("abort", release, { once: true });
  const reader = from.getReader();
  const stop = (): void => void reader.cancel().catch(() => undefined);
  try {
    const fd = await opening;
    over.removeEventListener("abort", release);
    over.addEventListener("abort", stop, { once: true });
    if (over.aborted) stop();
    const socket = new Socket({ fd, readable: false, writable: true });
    const failed = new Promise<never>((_, reject) => socket.once("error", reject));
    failed.catch(() => undefined);
    try {
      for (let step = await reader.read(); !step.done && !over.aborted; step = await reader.read()) {
        const { value } = step;
        await Promise.race([new Promise<void>((resolve) => socket.write(value, () => resolve())), failed, ends(over)]);
      }
      await Promise.race([new Promise<void>((resolve) => socket.end(() => resolve())), failed, ends(over)]);
    } finally {
      socket.destroy();
    }
    // The shim keeps the pipe open for those who attach later; this closes that too.
    if (!over.aborted)
      await unless(connection.unary(TasksService.closeIo, { ...ids, stdin: true }), "RUNTIME_NOT_FOUND");
  } catch {
    // The process has ended or closed its input: the rest is dropped. A failed source ends the input.
    await unless(connection.unary(TasksService.closeIo, { ...ids, stdin: true }), "RUNTIME_NOT_FOUND").catch(
      () => undefined,
    );
  } finally {
    over.removeEventListener("abort", stop);
    await reader.cancel().catch(() => undefined);
  }
}

function ends(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
