/**
 * The lock of a data directory: one daemon at a time runs on the directory.
 *
 * It is flock(2) on the directory itself, so there is no lock file that could be removed, `/run` and the pid file play no
 * part, and the kernel releases it when the process ends, in whatever way. Node has no flock: the program `flock` of
 * util-linux (or busybox) inherits the open directory and locks it; the lock belongs to the open file description, which
 * this process keeps when that program has ended.
 *
 * `daemon.lock` in the directory names the holder, for error messages. It counts only while the directory is locked.
 */
import { spawn } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "@warren/std";
import { DaemonError } from "./errors.ts";

export interface DirectoryLock extends AsyncDisposable {
  readonly directory: string;
}

const holderFile = "daemon.lock";

/** Exit code of `flock -n` where another process holds the lock; other failures have other codes, or a text. */
const heldCode = 1;

/** The child's file descriptor of the directory. */
const childFd = 3;

/**
 * Locks a directory, which is created if it is missing, until the lock is disposed of or this process ends.
 *
 * @throws DaemonError `DAEMON_ALREADY_RUNS`, with the holder's process id where it is known; `DAEMON_LOCK_FAILED`
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const failed = (why: string, cause?: unknown): DaemonError =>
    new DaemonError({ code: "DAEMON_LOCK_FAILED", directory }, `can't lock ${directory}: ${why}`, { cause });
  let fd: number;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw failed(errorText(error), error);
  }
  try {
    const { code, text } = await flock(fd);
    if (code === heldCode && text === "") throw alreadyRuns(directory);
    if (code !== 0) throw failed(text === "" ? `flock ended with ${code}` : text);
  } catch (error) {
    closeSync(fd);
    throw DaemonError.is(error) ? error : failed(errorText(error), error);
  }
  nameHolder(directory);
  let held = true;
  return {
    directory,
    [Symbol.asyncDispose]() {
      if (held) {
        held = false;
        rmSync(join(directory, holderFile), { force: true });
        closeSync(fd);
      }
      return Promise.resolve();
    },
  };
}

/** On a full disk the lock holds without its holder's name. */
function nameHolder(directory: string): void {
  const path = join(directory, holderFile);
  try {
    writeFileSync(path, `${process.pid}\n`, { mode: 0o600 });
  } catch {
    rmSync(path, { force: true }); // An earlier holder's id, or a part of this one's, would be wrong.
  }
}

function flock(fd: number): Promise<{ readonly code: number | null; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("flock", ["-n", String(childFd)], { stdio: ["ignore", "ignore", "pipe", fd] });
    let text = "";
    child.stderr
      ?.setEncoding("utf8")
      .on("data", (chunk: string) => (text += chunk))
      .on("error", reject);
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "ENOENT" ? new Error("the program flock is not installed: install util-linux") : error),
    );
    child.once("close", (code) => resolve({ code, text: text.trim() }));
  });
}

function alreadyRuns(directory: string): DaemonError {
  const pid = holderOf(directory);
  const holder = pid === undefined ? "another process" : `process ${pid}`;
  return new DaemonError(
    { code: "DAEMON_ALREADY_RUNS", pid },
    `${holder} runs on ${directory}: end it first, or give this one a --data-dir of its own`,
  );
}

/** Undefined where the file is gone, or is of a holder that has gone since. */
function holderOf(directory: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(directory, holderFile), "utf8"));
    if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined; // The message then names no process.
  }
}
