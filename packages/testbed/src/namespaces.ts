import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, closeSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { finished, until } from "@warren/std/testing";
import { TestbedError } from "./errors.ts";

/** A process that goes on between two commands, as one that holds namespaces. */
export interface Holder {
  readonly pid: number;
  /** When it began, in the kernel's ticks since boot: another process may get its number. */
  readonly startedAt: string;
}

/** @throws TestbedError where the process has ended */
export async function holderOf(pid: number): Promise<Holder> {
  const startedAt = await startOf(pid);
  if (startedAt === undefined) throw new TestbedError(`process ${pid} of the test bed has ended`);
  return { pid, startedAt };
}

async function isThere({ pid, startedAt }: Holder): Promise<boolean> {
  return (await startOf(pid)) === startedAt;
}

/** Field 22 of `/proc/PID/stat`; undefined for a process that has gone, or only waits to be cleared away. */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name before may have spaces and brackets.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === undefined || state === "" || state === "Z" ? undefined : rest[18];
}

/** Kills a holder, and with the first process of a PID namespace all in it; resolves when it has gone. */
export async function end(holder: Holder): Promise<void> {
  if (await isThere(holder)) process.kill(holder.pid, "SIGKILL");
  await gone(holder);
}

/** Resolves when a process has ended. */
export async function gone(holder: Holder): Promise<void> {
  await until(`process ${holder.pid} ends`, async () => !(await isThere(holder)));
}

/** Words before a command that put it into all namespaces of a holder. */
export function enter({ pid }: Holder, namespaces: readonly string[]): string[] {
  return ["nsenter", "--target", String(pid), ...namespaces.map((name) => `--${name}`), "--"];
}

/** A program that goes on after this process, with its output in a file. */
export async function startDetached(command: readonly string[], logPath: string, env = process.env): Promise<void> {
  const log = openSync(logPath, "a");
  const [program = "", ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log], cwd: "/", env });
  closeSync(log);
  await once(child, "spawn");
  child.unref();
}

/** Starts a process that writes one line when it is ready. What it says besides goes to the file. */
export async function startHolder(
  command: readonly string[],
  logPath: string,
): Promise<{ readonly holder: Holder; readonly line: string }> {
  const log = openSync(logPath, "a");
  const [program = "", ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", log], cwd: "/" });
  closeSync(log);
  const { stdout } = child;
  let said = "";
  const line = await new Promise<string | undefined>((resolve) => {
    stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("\n")) resolve(said.slice(0, said.indexOf("\n")));
    });
    child.once("error", () => resolve(undefined));
    child.once("close", () => resolve(undefined));
  });
  stdout?.destroy();
  child.unref();
  if (line !== undefined && child.pid !== undefined) return { holder: await holderOf(child.pid), line };
  const why = (await readFile(logPath, "utf8")).trim().split("\n").at(-1);
  throw new TestbedError(`${command.join(" ")} ended before it was ready: ${why}`);
}

/** Processes of a PID namespace, by its first one, itself left out. */
export async function processesOf({ pid }: Holder): Promise<number[]> {
  const namespace = await readlink(`/proc/${pid}/ns/pid`);
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const theirs = await Promise.all(pids.map((each) => readlink(`/proc/${each}/ns/pid`).catch(() => "")));
  return pids.filter((each, n) => theirs[n] === namespace && each !== pid);
}

/** Runs a program to its end; gives its output. @throws TestbedError with what it said, where it fails */
export async function output(command: readonly string[], input = ""): Promise<string> {
  const [program = "", ...args] = command;
  const { code, stdout, stderr } = await finished(spawn(program, args, { stdio: "pipe", cwd: "/" }), input);
  if (code !== 0) throw new TestbedError(`${command.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}
