/**
 * Starting and stopping this machine's daemons from the command line: by their systemd units on the machine's own
 * directories, else as processes of their own. Either way a daemon's flags are in its flag file.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, openSync, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DaemonError, lockDirectory, runningPid } from "@warren/daemon";
import { readFlagFile, writeFlagFile } from "./flag-file.ts";
import type { DaemonName, Folders } from "./folders.ts";
import { hasSystemd, removeUnit, systemctl, unitFor } from "./systemd.ts";
import { CommandFailed } from "./warren-command.ts";

export interface DaemonStart extends Folders {
  readonly name: DaemonName;
  /** Its flags from now on; undefined leaves them as they are. */
  readonly flags: readonly string[] | undefined;
}

/** How the daemon runs: as a unit, or with this log. */
export type Started =
  | { readonly kind: "unit"; readonly unit: string }
  | {
      readonly kind: "process";
      readonly log: string;
      /** Resolves once it has ended; never, where it ran before. */
      readonly ended: Promise<void>;
    };

/** Whether the daemon runs, however it was started. */
export async function isRunning(name: DaemonName, { runDir }: Folders): Promise<boolean> {
  return (await runningPid(pidFile(name, runDir), name)) !== undefined;
}

/**
 * The lock of a daemon's data, for who takes them away; undefined where there are none. The lock says whether a daemon
 * runs, also where a cleaner of temporary files took its pid file and socket.
 *
 * @throws CommandFailed where the daemon runs
 */
export async function lockData(name: DaemonName, { dataDir }: Folders): Promise<AsyncDisposable | undefined> {
  const directory = join(dataDir, name);
  if (!existsSync(directory)) return undefined;
  try {
    return await lockDirectory(directory);
  } catch (error) {
    if (!DaemonError.is(error, "DAEMON_ALREADY_RUNS")) throw error;
    const { pid } = error.failure;
    const end = pid === undefined ? "end it" : `end it (kill ${pid})`;
    // Without a cause: it says the same once more.
    throw new CommandFailed(`the ${name} still runs on ${directory} and nothing was changed: ${end}, then repeat`);
  }
}

/**
 * Starts the daemon unless it runs. Resolves once it runs; that it is ready shows on its socket.
 *
 * @throws CommandFailed where it ends at once, or runs with other flags
 */
export async function startDaemon(start: DaemonStart): Promise<Started> {
  const { name, dataDir, flags } = start;
  const log = join(dataDir, `${name}.log`);
  const runs = await isRunning(name, start);
  if (flags !== undefined && !isDeepStrictEqual(readFlagFile(name, start), flags)) {
    if (runs) throw new CommandFailed(`the ${name} runs already, with other flags: end it, then repeat`);
    writeFlagFile(name, start, flags);
  }
  const program = [process.execPath, ...process.execArgv, process.argv[1] ?? ""];
  const unit = await unitFor(name, start, { program });
  if (unit !== undefined) {
    await systemctl(["enable", "--now", unit]);
    return { kind: "unit", unit };
  }
  if (runs) return { kind: "process", log, ended: new Promise(() => undefined) };
  // One that runs without its pid file has lost its socket too: another beside it would be refused by the lock.
  const free = await lockData(name, start);
  await free?.[Symbol.asyncDispose]();
  return startProcess(start, program, log);
}

async function startProcess(start: DaemonStart, program: readonly string[], log: string): Promise<Started> {
  const { name, dataDir, runDir } = start;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const output = openSync(log, "a", 0o600);
  const [command = "", ...own] = program;
  const child = spawn(command, [...own, name, "--data-dir", dataDir, "--run-dir", runDir], {
    detached: true,
    stdio: ["ignore", output, output],
    cwd: "/",
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await once(child, "spawn");
  if (!(await hasBegun(child, start))) throw new CommandFailed(`the ${name} has ended: see ${log}`);
  child.unref();
  if (hasSystemd())
    process.stderr.write(`the ${name} is a process of its own: systemd's unit is for other directories\n`);
  return { kind: "process", log, ended };
}

/** True once the daemon has written down that it is this process, false if it ended before that. */
function hasBegun(child: ChildProcess, { name, runDir }: DaemonStart): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      watcher.close();
      child.off("exit", onExit);
      settle();
    };
    const look = (): void =>
      void runningPid(pidFile(name, runDir), name).then(
        (pid) => pid === child.pid && finish(() => resolve(true)),
        (error: unknown) => finish(() => reject(error)),
      );
    const watcher = watch(runDir, look);
    const onExit = (): void => finish(() => resolve(false));
    child.once("exit", onExit);
    look();
  });
}

/** Stops the daemon, if it runs, and resolves when it has ended. Its unit does not start it again. */
export async function stopDaemon(name: DaemonName, folders: Folders): Promise<void> {
  const { runDir } = folders;
  const unit = await unitFor(name, folders);
  if (unit !== undefined) await removeUnit(unit);
  const pid = await runningPid(pidFile(name, runDir), name);
  if (pid === undefined) return;
  // The daemon removes its file as the last thing it does.
  const gone = removal(pidFile(name, runDir));
  process.kill(pid, "SIGTERM");
  if (!(await gone)) throw new CommandFailed(`the ${name} (pid ${pid}) does not end: see its log`);
}

/** The file that a running daemon keeps its process id in. */
function pidFile(name: DaemonName, runDir: string): string {
  return join(runDir, `${name}.pid`);
}

/** How long a daemon may take to end, ms: the longest grace that it gives itself, and some. */
const stopLimitMs = 30_000;

/** True once the file is gone. */
function removal(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (gone: boolean): void => {
      clearTimeout(timer);
      watcher.close();
      resolve(gone);
    };
    const look = (): void =>
      void readFile(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") finish(true);
      });
    const timer = setTimeout(() => finish(false), stopLimitMs);
    const watcher = watch(dirname(path), look);
    look();
  });
}
