import type { HealthCheck } from "@warren/api";
import { defaultImageProbe, probeTimes, type ProbeTimes } from "@warren/api/model";
import type { ImageHealthcheck } from "@warren/runtime";
import { delay, errorText, type Clock } from "@warren/std";

/** Gap to the second probe while none has passed, ms; it doubles up to the interval. */
const firstGapMs = 100;

/** The health check of a task, with its times. */
export interface WantedHealth {
  /** It has a probe. */
  readonly check: HealthCheck;
  readonly times: ProbeTimes;
  /** It is the image's (HEALTHCHECK), not the spec's. */
  readonly ofImage: boolean;
}

/**
 * The spec's check replaces the image's as a whole; `none` in the one that applies means no check. Times that an image
 * leaves out are Docker's. Its `startIntervalMs` is ignored, as probes come faster anyway until one has passed.
 */
export function healthOf(
  asked: HealthCheck | undefined,
  image: ImageHealthcheck | undefined,
): WantedHealth | undefined {
  if (asked !== undefined)
    return asked.probe?.$case === "none" ? undefined : { check: asked, times: probeTimes(asked), ofImage: false };
  if (image === undefined || image.kind === "none" || image.command.length === 0) return undefined;
  const usual = defaultImageProbe;
  const { command, intervalMs = usual.intervalMs, timeoutMs = usual.timeoutMs } = image;
  const { startPeriodMs = usual.startPeriodMs, retries = usual.retries } = image;
  const times = { intervalMs, timeoutMs, startPeriodMs, retries };
  const probe = { $case: "exec" as const, value: { command: [...command] } };
  return { check: { probe, ...times }, times, ofImage: true };
}

/**
 * The health of a task from its probes' outcomes. Pure; times are ms since the task's start.
 *
 * Until a probe has passed, probes come faster than the interval, so that a ready task is in use soon. Their failures
 * count at most once an interval, and not before the start period is over: a task has at least `startPeriodMs`, and
 * `retries` intervals, to become healthy.
 */
export class HealthTracker {
  readonly #times: ProbeTimes;
  #passed: boolean;
  #failures = 0;
  #countedAtMs: number;
  #gapMs = firstGapMs;

  /** @param passed the task was healthy before this worker started */
  constructor(times: ProbeTimes, passed: boolean) {
    this.#times = times;
    this.#passed = passed;
    this.#countedAtMs = Math.max(0, times.startPeriodMs - times.intervalMs);
  }

  /** Consecutive failures that count. */
  get failures(): number {
    return this.#failures;
  }

  get unhealthy(): boolean {
    return this.#failures >= this.#times.retries;
  }

  record(healthy: boolean, atMs: number): void {
    if (healthy) {
      this.#passed = true;
      this.#failures = 0;
    } else if (this.#passed) this.#failures += 1;
    else if (atMs >= this.#times.startPeriodMs && atMs - this.#countedAtMs >= this.#times.intervalMs) {
      this.#failures += 1;
      this.#countedAtMs = atMs;
    }
  }

  /** From the end of one probe to the next. */
  nextGapMs(): number {
    if (this.#passed) return this.#times.intervalMs;
    const gap = Math.min(this.#gapMs, this.#times.intervalMs);
    this.#gapMs *= 2;
    return gap;
  }
}

export interface ProbeOutcome {
  readonly healthy: boolean;
  /** Why it failed; empty if it passed. */
  readonly reason: string;
  /** Consecutive failures that count, this one included. */
  readonly failures: number;
}

/** Thrown when a probe could not run, so that its outcome says nothing about the task. */
export class ProbeSkipped extends Error {}

export interface HealthWatch {
  readonly times: ProbeTimes;
  /** Rejects with the reason if the task is not healthy. Ends when the signal aborts. */
  readonly probe: (signal: AbortSignal) => Promise<void>;
  /** How long the task has run, ms. */
  readonly startedMsAgo: number;
  readonly passed: boolean;
  readonly onOutcome: (outcome: ProbeOutcome) => void;
}

/** Probes until the task is unhealthy; resolves with the reason. Rejects when the signal aborts. */
export async function watchHealth(
  clock: Clock,
  watch: HealthWatch,
  signal: AbortSignal,
): Promise<{ reason: string; failures: number }> {
  const tracker = new HealthTracker(watch.times, watch.passed);
  const startedAt = clock.monotonic() - watch.startedMsAgo;
  for (;;) {
    const outcome = await probeOnce(clock, watch, signal);
    signal.throwIfAborted();
    if (outcome !== undefined) {
      tracker.record(outcome.healthy, clock.monotonic() - startedAt);
      watch.onOutcome({ ...outcome, failures: tracker.failures });
      if (tracker.unhealthy) return { reason: outcome.reason, failures: tracker.failures };
    }
    await delay(clock, tracker.nextGapMs(), signal);
  }
}

/** Undefined if the probe could not run. */
async function probeOnce(
  clock: Clock,
  watch: HealthWatch,
  signal: AbortSignal,
): Promise<Omit<ProbeOutcome, "failures"> | undefined> {
  const over = new AbortController();
  const { timeoutMs } = watch.times;
  const timer = clock.setTimeout(() => over.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    await watch.probe(AbortSignal.any([signal, over.signal]));
    return { healthy: true, reason: "" };
  } catch (error) {
    if (over.signal.aborted) return { healthy: false, reason: errorText(over.signal.reason) };
    return error instanceof ProbeSkipped ? undefined : { healthy: false, reason: errorText(error) };
  } finally {
    timer.cancel();
  }
}
