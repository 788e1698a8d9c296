import { AsyncQueue } from "@warren/std";

/** From many senders to one reader; a sender waits until its value has been taken, so nothing gathers. */
export class Channel<T> {
  readonly #queue = new AsyncQueue<{ readonly value: T; readonly taken: () => void }>();

  /** Resolves when it was taken, or the signal is aborted. */
  async send(value: T, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const taken = (): void => resolve();
    if (signal.aborted || !this.#queue.push({ value, taken })) return;
    signal.addEventListener("abort", taken, { once: true });
    await promise;
    signal.removeEventListener("abort", taken);
  }

  /** The reader gets this in place of what it has not read. */
  fail(error: unknown): void {
    this.#queue.fail(error);
  }

  /** The reader is done once it has read what was sent. */
  end(): void {
    this.#queue.close();
  }

  async *values(signal: AbortSignal): AsyncGenerator<T, void, void> {
    const end = (): void => this.end();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      for await (const { value, taken } of this.#queue) {
        taken();
        yield value;
      }
    } finally {
      signal.removeEventListener("abort", end);
    }
  }
}
