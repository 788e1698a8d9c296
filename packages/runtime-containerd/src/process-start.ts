import { readFile } from "node:fs/promises";

/** Of the kernel's counts of time in `/proc`, in each second: USER_HZ, which is part of Linux's ABI. */
const ticksPerSecond = 100;

/** Of `starttime` among the fields of `/proc/PID/stat` that follow the program's name, which may hold blanks itself. */
const startField = 19;

/** When a process began, ms since the machine's boot; undefined of one that has gone. */
export async function processStartMs(pid: number): Promise<number | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const ticks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[startField]);
  return Number.isFinite(ticks) ? (ticks * 1_000) / ticksPerSecond : undefined;
}
