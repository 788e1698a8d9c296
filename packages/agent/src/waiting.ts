import { RuntimeError } from "@warren/runtime";
import { abortable, Backoff, Changes, delay, type Clock, type Logger, type Random } from "@warren/std";

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

/**
 * Work of which one run does all that was asked for before it: one run at a time, and tried again, with back-off, until it
 * succeeds.
 */
export class GatheredWork {
  readonly #changes = new Changes();
  #asked = 0;
  #done = 0;

  ask(): void {
    this.#asked += 1;
    this.#changes.notify();
  }

  /** Resolves when all that was asked for so far is done. */
  async done(signal: AbortSignal): Promise<void> {
    const asked = this.#asked;
    await this.#changes.until(() => (this.#done >= asked ? true : undefined), signal);
  }

  /** Does the work when it is asked for, until the signal aborts. @param failed what the log says if it fails */
  async run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    failed: string,
    work: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const backoff = new Backoff(dependencies.random);
    for (;;) {
      await this.#changes.until(() => (this.#done < this.#asked ? true : undefined), signal);
      const asked = this.#asked;
      try {
        await work();
        this.#done = asked;
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
