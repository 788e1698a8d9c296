/** What a daemon does while something happens, by the kernel's own count. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { until } from "@warren/std/testing";

/** Of a process and all its threads; of its children only what they started. */
export interface Counts {
  /** Programs that were begun. */
  readonly programs: number;
  /** fsync and fdatasync. */
  readonly syncs: number;
  /** Messages and parts of them: system calls that write to sockets, pipes and files. */
  readonly writes: number;
}

const counted = {
  programs: ["execve", "execveat"],
  syncs: ["fsync", "fdatasync"],
  writes: ["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendmmsg"],
} as const;

/** Counts system calls of the process and of what it starts while `work` is done; it is slower meanwhile. */
export async function countCalls(pid: number, work: () => Promise<void>): Promise<Counts> {
  const calls = Object.values(counted).flat().join(",");
  const strace = spawn("strace", ["-f", "-c", "-U", "calls,name", "-e", `trace=${calls}`, "-p", String(pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  strace.stderr.on("data", (data: Buffer) => (text += data.toString()));
  await until("strace is attached", () => text.includes("attached"), 10_000);
  const closed = once(strace, "close");
  try {
    await work();
  } finally {
    strace.kill("SIGINT");
    await closed;
  }
  const found = new Map<string, number>();
  for (const [, calls_, name] of text.matchAll(/^\s*(\d+)\s+(\w+)\s*$/gm)) found.set(name ?? "", Number(calls_));
  const sum = (names: readonly string[]): number => names.reduce((total, name) => total + (found.get(name) ?? 0), 0);
  return { programs: sum(counted.programs), syncs: sum(counted.syncs), writes: sum(counted.writes) };
}

/** What a process has used so far. */
export interface Usage {
  /** Processor time, its own and that of children that have ended, ms. */
  readonly processorMs: number;
  /** How often a thread of it gave up the processor and was woken again. */
  readonly wakeUps: number;
}

/** Of the kernel's times, which are in hundredths of a second. */
const tickMs = 10;

export async function usageOf(pid: number): Promise<Usage> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // After the name, which may hold spaces: utime, stime, cutime, cstime are fields 14 to 17.
  const times = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15);
  let wakeUps = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const status = await readFile(`/proc/${pid}/task/${thread}/status`, "utf8").catch(() => "");
    wakeUps += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return { processorMs: times.reduce((sum, time) => sum + Number(time) * tickMs, 0), wakeUps };
}
