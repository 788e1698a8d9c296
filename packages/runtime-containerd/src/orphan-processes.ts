import { readFile, readdir } from "node:fs/promises";

export interface Shim {
  readonly pid: number;
  /** Of its container. */
  readonly id: string;
}

/** The running shims of one containerd, known by its socket, and namespace. */
export async function shimsOf(address: string, namespace: string): Promise<Shim[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const ids = await Promise.all(pids.map((pid) => containerOfShim(pid, address, namespace)));
  return pids.flatMap((pid, n) => {
    const id = ids[n];
    return id === undefined ? [] : [{ pid, id }];
  });
}

/** Whose shim a process is; undefined for one that is none of theirs, or that has gone. */
export async function containerOfShim(pid: number, address: string, namespace: string): Promise<string | undefined> {
  const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  const value = (flag: string): string | undefined => words[words.indexOf(flag) + 1];
  const isOurs =
    words[0]?.includes("containerd-shim") && value("-namespace") === namespace && value("-address") === address;
  return isOurs ? value("-id") : undefined;
}

/** Sends a signal to a process that may have gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
