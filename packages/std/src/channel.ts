import { Changes } from "./changes.ts";

/**
 * A stream of values from any number of senders to one reader, where senders wait while `limit` values are queued. With
 * limit 1 a value has been taken by the reader when its `send` resolves.
 *
 * After `close` what is queued is still read, then the iteration ends; after `fail` it throws in place of what is queued.
 * A reader that leaves its loop closes the channel.
 */
export class Channel<T> implements AsyncIterable<T>, Disposable {
  readonly #limit: number;
  readonly #values: T[] = [];
  readonly #changes = new Changes();
  #state:
    | { readonly kind: "open" }
    | { readonly kind: "closed" }
    | { readonly kind: "failed"; readonly error: unknown } = { kind: "open" };

  /** @param limit values that are queued before senders wait; a whole number of 1 or more */
  constructor(limit: number = 1) {
    this.#limit = limit;
  }

  /**
   * Resolves when fewer than `limit` values are queued, the channel has ended, or the signal is aborted. False if the
   * value was dropped because the channel had ended or the signal was aborted before.
   */
  async send(value: T, signal?: AbortSignal): Promise<boolean> {
    if (this.#state.kind !== "open" || signal?.aborted === true) return false;
    this.#values.push(value);
    this.#changes.notify();
    const wake = (): void => this.#changes.notify();
    signal?.addEventListener("abort", wake, { once: true });
    try {
      await this.#changes.until(() =>
        this.#values.length < this.#limit || this.#state.kind !== "open" || signal?.aborted === true ? true : undefined,
      );
    } finally {
      signal?.removeEventListener("abort", wake);
    }
    return true;
  }

  close(): void {
    if (this.#state.kind === "open") this.#state = { kind: "closed" };
    this.#changes.notify();
  }

  fail(error: unknown): void {
    if (this.#state.kind !== "open") return;
    this.#state = { kind: "failed", error };
    this.#values.length = 0;
    this.#changes.notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    try {
      for (;;) {
        while (this.#values.length > 0) {
          const value = this.#values.shift() as T;
          this.#changes.notify();
          yield value;
        }
        if (this.#state.kind === "failed") throw this.#state.error;
        if (this.#state.kind === "closed") return;
        const seen = this.#changes.count;
        await this.#changes.after(seen);
      }
    } finally {
      this.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
