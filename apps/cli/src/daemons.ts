/**
 * Starting and stopping this machine's daemons from the command line: by their systemd units where they are installed,
 * else as processes of their own.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, openSync, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DaemonError, lockDirectory, runningPid } from "@warren/daemon";
import { CommandFailed } from "./warren-command.ts";

export type DaemonName = "manager" | "worker";

/** Where a machine's daemons keep what they have. */
export interface Folders {
  readonly dataDir: string;
  readonly runDir: string;
}

/** Flags of this command line that the daemon it starts gets too. */
export interface DaemonStart extends Folders {
  readonly name: DaemonName;
  readonly flags: readonly string[];
}

/** How the daemon runs: as a unit, or with this log. */
export type Started =
  | { readonly kind: "unit"; readonly unit: string }
  | { readonly kind: "process"; readonly log: string };

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
 * @throws CommandFailed where it ends at once
 */
export async function startDaemon(start: DaemonStart): Promise<Started> {
  const unit = `warren-${start.name}.service`;
  const log = join(start.dataDir, `${start.name}.log`);
  if (await hasUnit(unit)) {
    await systemctl(["enable", "--now", unit]);
    return { kind: "unit", unit };
  }
  if ((await runningPid(pidFile(start.name, start.runDir), start.name)) !== undefined) return { kind: "process", log };
  // One that runs without its pid file has lost its socket too: another beside it would be refused by the lock.
  const free = await lockData(start.name, start);
  await free?.[Symbol.asyncDispose]();
  mkdirSync(start.dataDir, { recursive: true, mode: 0o700 });
  mkdirSync(start.runDir, { recursive: true, mode: 0o700 });
  const output = openSync(log, "a", 0o600);
  const own = [...process.execArgv, process.argv[1] ?? ""];
  const folders = ["--data-dir", start.dataDir, "--run-dir", start.runDir];
  const child = spawn(process.execPath, [...own, start.name, ...folders, ...start.flags], {
    detached: true,
    stdio: ["ignore", output, output],
    cwd: "/",
  });
  await once(child, "spawn");
  if (!(await runs(child, start))) throw new CommandFailed(`the ${start.name} has ended: see ${log}`);
  child.unref();
  return { kind: "process", log };
}

/** True once the daemon has written down that it is this process, false if it ended before that. */
function runs(child: ChildProcess, { name, runDir }: DaemonStart): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      watcher.close();
      child.removeAllListeners();
      settle();
    };
    const look = (): void =>
      void runningPid(pidFile(name, runDir), name).then(
        (pid) => pid === child.pid && finish(() => resolve(true)),
        (error: unknown) => finish(() => reject(error)),
      );
    const watcher = watch(runDir, look);
    child.once("exit", () => finish(() => resolve(false)));
    look();
  });
}

/** Stops the daemon, if it runs, and resolves when it has ended. */
export async function stopDaemon(name: DaemonName, { runDir }: Folders): Promise<void> {
  const unit = `warren-${name}.service`;
  if (await hasUnit(unit)) return systemctl(["disable", "--now", unit]);
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

async function hasUnit(unit: string): Promise<boolean> {
  const booted = await readFile("/proc/1/comm", "utf8").catch(() => "");
  if (booted.trim() !== "systemd") return false;
  const child = spawn("systemctl", ["cat", unit], { stdio: "ignore" });
  const [code] = (await once(child, "exit")) as [number | null];
  return code === 0;
}

async function systemctl(args: readonly string[]): Promise<void> {
  const child = spawn("systemctl", args, { stdio: ["ignore", "inherit", "inherit"] });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new CommandFailed(`systemctl ${args.join(" ")} failed: see journalctl -u ${args.at(-1) ?? ""}`);
}
