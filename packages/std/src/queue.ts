/**
 * A stream of values between one producer and one consumer.
 *
 * `push` never blocks; the consumer iterates with `for await`. After `close` what is queued is still read, then the
 * iteration ends; after `fail` it throws at once. `limit` bounds the queue: past it `push` returns false and the
 * value is not queued, so that the producer decides what an overflow means.
 */
export class AsyncQueue<T> implements AsyncIterable<T>, Disposable {
  readonly #values: T[] = [];
  readonly #limit: number;
  #waiting: PromiseWithResolvers<void> | undefined;
  #state:
    | { readonly kind: "open" }
    | { readonly kind: "closed" }
    | { readonly kind: "failed"; readonly error: unknown } = {
    kind: "open",
  };

  constructor(limit: number = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#values.length;
  }

  /** False if the queue is closed or full. */
  push(value: T): boolean {
    if (this.#state.kind !== "open" || this.#values.length >= this.#limit) return false;
    this.#values.push(value);
    this.#wake();
    return true;
  }

  close(): void {
    if (this.#state.kind === "open") this.#state = { kind: "closed" };
    this.#wake();
  }

  fail(error: unknown): void {
    if (this.#state.kind !== "open") return;
    this.#state = { kind: "failed", error };
    this.#values.length = 0;
    this.#wake();
  }

  /** Removes and returns all that is queued now. */
  drain(): T[] {
    return this.#values.splice(0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    try {
      for (;;) {
        while (this.#values.length > 0) yield this.#values.shift() as T;
        if (this.#state.kind === "failed") throw this.#state.error;
        if (this.#state.kind === "closed") return;
        this.#waiting ??= Promise.withResolvers();
        await this.#waiting.promise;
      }
    } finally {
      this.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
