import type { RunEnd } from "@warren/api";

/** How a run ended, for people: `failed with exit code 1`, `was rejected: there is no image x`. */
export function endText(end: RunEnd): string {
  const reason = end.message === "" ? "" : `: ${end.message}`;
  if (end.byMachine) return `ended with its machine${reason}`;
  if (end.oomKilled) return `ran out of memory${reason}`;
  if (end.rejected) return `was rejected${reason}`;
  if (end.complete) return "completed";
  return end.exitCode === undefined || end.message.includes("exit code")
    ? `failed${reason}`
    : `failed with exit code ${end.exitCode}${reason}`;
}

/** `300 ms`, `5 s`, `2 min 30 s`, `3 h`, `2 d 1 h`: in two units at most, rounded up. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)} ms`;
  const seconds = Math.ceil(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return pair(seconds, 60, "min", "s");
  const minutes = Math.ceil(seconds / 60);
  return minutes < 2_880 ? pair(minutes, 60, "h", "min") : pair(Math.ceil(minutes / 60), 24, "d", "h");
}

function pair(count: number, per: number, large: string, small: string): string {
  const rest = count % per;
  return `${Math.floor(count / per)} ${large}${rest === 0 ? "" : ` ${rest} ${small}`}`;
}
