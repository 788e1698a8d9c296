import { readFile, readdir } from "node:fs/promises";

/**
 * Ends shims of one containerd and namespace whose container is not kept. containerd forgets a shim that it had just
 * started when it was killed; such a one waits for ever, and its logger with it.
 */
export async function endForgottenShims(
  address: string,
  namespace: string,
  kept: (id: string) => boolean,
): Promise<void> {
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // A process that has gone meanwhile is what is wanted.
    const words = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split("\0");
    const value = (flag: string): string | undefined => words[words.indexOf(flag) + 1];
    const isOurs =
      words[0]?.includes("containerd-shim") && value("-namespace") === namespace && value("-address") === address;
    const id = value("-id");
    if (isOurs && id !== undefined && !kept(id)) signalProcess(Number(name), "SIGKILL");
  }
}

/** Sends a signal to a process that may have gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
