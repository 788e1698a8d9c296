import { RuntimeError } from "@warren/runtime";
import { abortable, Backoff, delay, type Clock, type Logger, type Random } from "@warren/std";

/** True if `promise` resolved within `limitMs`. Rejects as it does, or when `signal` aborts. */
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

/** Wakes all who wait, each time something changed. */
export class Changes {
  #next: PromiseWithResolvers<void> = Promise.withResolvers();

  tell(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** Resolves with the first value that is not undefined, now or after a change. */
  async until<T>(condition: () => T | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const value = condition();
      if (value !== undefined) return value;
      await abortable(this.#next.promise, signal);
    }
  }
}

/** The runtime could not be asked, so what came of the call is not known: ask again. */
export function isUnavailable(error: unknown): boolean {
  return RuntimeError.is(error, "RUNTIME_UNAVAILABLE");
}

/** Does `work` again, with back-off, for as long as it fails in a way that is worth another try. */
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
