import { abortable, serially } from "@warren/std";

/** Runs what has one key a piece at a time, in the order of the calls; different keys do not wait for each other. */
export class KeyedQueue {
  readonly #queues = new Map<string, { readonly run: ReturnType<typeof serially>; waiting: number }>();

  /** @param signal ends the waiting: work that has not begun never begins; work that has must look at the signal itself */
  async run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const queue = this.#queues.get(key) ?? { run: serially(), waiting: 0 };
    this.#queues.set(key, queue);
    queue.waiting += 1;
    const done = queue
      .run(async () => {
        signal?.throwIfAborted();
        return work();
      })
      .finally(() => {
        queue.waiting -= 1;
        if (queue.waiting === 0) this.#queues.delete(key);
      });
    if (signal === undefined) return done;
    done.catch(() => undefined); // the caller gets it from `abortable`, unless it has aborted
    return abortable(done, signal);
  }

  /** How many keys have work. */
  get size(): number {
    return this.#queues.size;
  }

  has(key: string): boolean {
    return this.#queues.has(key);
  }
}

/** Runs `work` for each item, at most `width` at a time. After a failure none begins, and it rejects when those begun are over. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const next = items.values();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (const item of next) {
      if (failed) return;
      await work(item).catch((error: unknown) => {
        failed = true;
        throw error;
      });
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, lane));
  for (const done of lanes) if (done.status === "rejected") throw done.reason;
}
