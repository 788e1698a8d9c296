/** What a spec leaves out; the checks of specs fill it in, and those that read an older spec assume it. */
import type { HealthCheck } from "../generated/warren/v1/container.ts";

/** From the stop signal to SIGKILL, ms. */
export const defaultStopGraceMs = 10_000;

/** From a run's end to the next one's start, ms. */
export const defaultRestartDelayMs = 5_000;

/** How long a replaced task has to run for its update to go on, ms. */
export const defaultMonitorMs = 5_000;

/** Slots that an update replaces at once. */
export const defaultParallelism = 1;

/** When a task is probed. */
export interface ProbeTimes {
  /** From a probe to the next, ms. */
  readonly intervalMs: number;
  /** What a probe may take, ms. */
  readonly timeoutMs: number;
  /** Failures in a row that make a task unhealthy. */
  readonly retries: number;
  /** From a task's start, in which failures do not count, ms. */
  readonly startPeriodMs: number;
}

export const defaultProbe: ProbeTimes = { intervalMs: 10_000, timeoutMs: 5_000, retries: 3, startPeriodMs: 0 };

/** Docker's, of a check that is an image's own. */
export const defaultImageProbe: ProbeTimes = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0 };

export function probeTimes({ intervalMs, timeoutMs, retries, startPeriodMs }: HealthCheck): ProbeTimes {
  return {
    intervalMs: intervalMs || defaultProbe.intervalMs,
    timeoutMs: timeoutMs || defaultProbe.timeoutMs,
    retries: retries || defaultProbe.retries,
    startPeriodMs,
  };
}
