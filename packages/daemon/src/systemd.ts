/** What a daemon asks of the systemd that runs its machine, by systemd's own programs. */
import { spawn } from "node:child_process";

/**
 * Whether the machine goes down: it powers off, reboots or halts, and not this daemon alone ends. False where systemd does
 * not run the machine, since nothing else says it.
 */
export async function machineGoesDown(): Promise<boolean> {
  // Every way down pulls this target in, and its job is there before the first service is stopped.
  const jobs = await outputOf("systemctl", ["list-jobs", "--no-legend", "shutdown.target"]);
  return /\bshutdown\.target\s+start\b/.test(jobs);
}

/**
 * Asks systemd for more time until it ends this daemon by SIGKILL, `ms` from now. Without effect outside a unit; the unit
 * must have `NotifyAccess=`.
 */
export async function extendStop(ms: number): Promise<void> {
  if (process.env["NOTIFY_SOCKET"] === undefined) return;
  await outputOf("systemd-notify", [`EXTEND_TIMEOUT_USEC=${Math.ceil(ms) * 1_000}`]);
}

/** What a program writes to its stdout; empty where it can't be run. */
function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    child.stdout.on("data", (data: Buffer) => (text += data.toString()));
    child.once("error", () => resolve(""));
    child.once("close", () => resolve(text));
  });
}
