import { abortable } from "./abort.ts";

/**
 * A condition variable: wakes every waiter when some state may have changed. The waiter reads the state itself; `count`
 * numbers the notifications, so that one between reading and waiting is not lost.
 */
export class Changes {
  #count = 0;
  #next: PromiseWithResolvers<void> = Promise.withResolvers();

  /** Notifications so far. */
  get count(): number {
    return this.#count;
  }

  notify(): void {
    this.#count += 1;
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /**
   * Resolves once there have been more than `count` notifications; at once if there have been already. Rejects with the
   * signal's reason when it is aborted.
   *
   *     let seen = changes.count;
   *     for (;;) {
   *       work();
   *       await changes.after(seen, signal);
   *       seen = changes.count;
   *     }
   */
  async after(count: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#count > count) return;
    await (signal === undefined ? this.#next.promise : abortable(this.#next.promise, signal));
  }

  /** Resolves with the first value of `condition` that is not undefined; it is called now and after each notification. */
  async until<T>(condition: () => T | undefined, signal?: AbortSignal): Promise<T> {
    for (;;) {
      const seen = this.#count;
      signal?.throwIfAborted();
      const value = condition();
      if (value !== undefined) return value;
      await this.after(seen, signal);
    }
  }
}
