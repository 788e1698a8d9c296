/**
 * A stream between one producer and one consumer, where the producer waits while `limit` values do. After `close` what
 * waits is still read; what is sent later is dropped.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #values: T[] = [];
  #closed = false;
  #arrived: PromiseWithResolvers<void> = Promise.withResolvers();
  #taken: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when there is room for the next. */
  async send(value: T): Promise<void> {
    if (this.#closed) return;
    this.#values.push(value);
    this.#arrived.resolve();
    while (this.#values.length >= this.#limit && !this.#closed) await this.#taken.promise;
  }

  close(): void {
    this.#closed = true;
    this.#arrived.resolve();
    this.#taken.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    try {
      for (;;) {
        while (this.#values.length > 0) {
          const value = this.#values.shift() as T;
          this.#taken.resolve();
          this.#taken = Promise.withResolvers();
          yield value;
        }
        if (this.#closed) return;
        this.#arrived = Promise.withResolvers();
        await this.#arrived.promise;
      }
    } finally {
      this.close();
    }
  }
}
