import { serially } from "@warren/std";

/** Runs what has one key a piece at a time, in the order of the calls; different keys do not wait for each other. */
export class KeyedQueue {
  readonly #queues = new Map<string, { readonly run: ReturnType<typeof serially>; waiting: number }>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { run: serially(), waiting: 0 };
    this.#queues.set(key, queue);
    queue.waiting += 1;
    try {
      return await queue.run(work);
    } finally {
      queue.waiting -= 1;
      if (queue.waiting === 0) this.#queues.delete(key);
    }
  }

  /** How many keys have work. */
  get size(): number {
    return this.#queues.size;
  }

  has(key: string): boolean {
    return this.#queues.has(key);
  }
}
