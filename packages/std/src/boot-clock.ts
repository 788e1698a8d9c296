import { readFileSync } from "node:fs";

/** How long a machine has been up, and since which of its boots. */
export interface BootTime {
  /** Names the boot: it is new after every start of the machine, and never repeats. */
  readonly bootId: string;
  /** Milliseconds since the boot, those in which the machine was suspended included. Never goes back within a boot. */
  readonly elapsedMs: number;
}

/**
 * Time that outlives a process. Two readings of one boot differ by the time that passed between them, whatever the wall
 * clock was set to and however long the machine was suspended. Readings of two boots can't be compared.
 */
export interface BootClock {
  /** @throws if `/proc` is not mounted */
  bootTime(): BootTime;
}

const bootIdFile = "/proc/sys/kernel/random/boot_id";

/** The first of its two numbers is CLOCK_BOOTTIME in seconds, to a hundredth. */
const uptimeFile = "/proc/uptime";

let bootId: string | undefined;

/** Linux's. Its resolution is 10 ms; a reading costs a few microseconds. */
export const systemBootClock: BootClock = {
  bootTime() {
    bootId ??= readFileSync(bootIdFile, "utf8").trim();
    const seconds = Number(readFileSync(uptimeFile, "utf8").split(" ")[0]);
    if (!Number.isFinite(seconds)) throw new Error(`${uptimeFile} does not begin with a number of seconds`);
    return { bootId, elapsedMs: Math.round(seconds * 1_000) };
  },
};
