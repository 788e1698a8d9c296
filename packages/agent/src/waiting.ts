import { RuntimeError } from "@warren/runtime";
import { abortable, Backoff, Changes, delay, type Clock, type Logger, type Random } from "@warren/std";

/** True if `promise` resolves within `limitMs`. Rejects if `promise` does, or when `signal` aborts. */
export async function within(
  clock: Clock,
  limitMs: number,
  promise: Promise<unknown>,
  signal: AbortSignal,
): Promise<boolean> {
  const over = new AbortController();
  const late = delay(clock, limitMs, over.signal).then(
    () => false,
    () => false,
  );
  try {
    return await abortable(Promise.race([promise.then(() => true), late]), signal);
  } finally {
    over.abort();
  }
}

/**
 * Coalesces requests for the same work: one run of it serves all requests before its start. Runs do not overlap, and a
 * failed one is tried again with back-off.
 */
export class CoalescedWork {
  readonly #changes = new Changes();
  #requested = 0;
  #done = 0;

  request(): void {
    this.#requested += 1;
    this.#changes.notify();
  }

  /** Resolves when all requests so far are done. */
  async done(signal: AbortSignal): Promise<void> {
    const requested = this.#requested;
    await this.#changes.until(() => (this.#done >= requested ? true : undefined), signal);
  }

  /** Runs the work for requests until the signal aborts. @param failed log message of a failed run */
  async run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    failed: string,
    work: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const backoff = new Backoff(dependencies.random);
    for (;;) {
      await this.#changes.until(() => (this.#done < this.#requested ? true : undefined), signal);
      const requested = this.#requested;
      try {
        await work();
        this.#done = requested;
        this.#changes.notify();
        backoff.reset();
      } catch (error) {
        signal.throwIfAborted();
        dependencies.log.error(failed, { error });
        await delay(dependencies.clock, backoff.next(), signal);
      }
    }
  }
}

/** The runtime did not answer, so the outcome of the call is unknown: repeat it. */
export function isUnavailable(error: unknown): boolean {
  return RuntimeError.is(error, "RUNTIME_UNAVAILABLE");
}

/** Runs `work`, and again with back-off while `again` holds for its error. */
export async function persistently<T>(
  dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
  what: string,
  signal: AbortSignal,
  work: () => Promise<T>,
  again: (error: unknown) => boolean = isUnavailable,
): Promise<T> {
  const backoff = new Backoff(dependencies.random);
  for (;;) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!again(error)) throw error;
      dependencies.log.warn("failed, and is tried again", { what, error });
      await delay(dependencies.clock, backoff.next(), signal);
    }
  }
}
