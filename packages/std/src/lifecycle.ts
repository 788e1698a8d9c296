import { errorText } from "./error.ts";
import type { Logger } from "./log.ts";

/** Something started that must be ended: `close` is abrupt and idempotent. */
export interface Closeable {
  close(): Promise<void> | void;
}

/**
 * Owns background work, so that no promise floats: each is named when it starts, awaited when the owner closes, and
 * its failure reaches `onFailure` unless the signal was already aborted. Work that throws before its first await fails as
 * any other. An `onFailure` that throws is a process warning: it ends neither the group nor the process.
 */
export class TaskGroup implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #onFailure: (name: string, error: unknown) => void;

  constructor(onFailure: (name: string, error: unknown) => void, parent?: AbortSignal) {
    this.#onFailure = onFailure;
    if (parent?.aborted) this.#abort.abort(parent.reason);
    else {
      const follow = (): void => this.#abort.abort(parent?.reason);
      parent?.addEventListener("abort", follow, { once: true });
      this.#abort.signal.addEventListener("abort", () => parent?.removeEventListener("abort", follow), { once: true });
    }
  }

  /** Aborted when the group closes. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  run(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    const promise = this.#run(name, work).finally(() => this.#running.delete(promise));
    this.#running.add(promise);
  }

  /** Never rejects. */
  async #run(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await work(this.signal);
    } catch (error) {
      if (!this.signal.aborted) this.#report(name, error);
    }
  }

  #report(name: string, error: unknown): void {
    try {
      this.#onFailure(name, error);
    } catch (fault) {
      process.emitWarning(`the failure of '${name}' could not be reported: ${errorText(fault)}: ${errorText(error)}`);
    }
  }

  /** Aborts the signal and waits for all that runs. */
  async close(): Promise<void> {
    this.#abort.abort(new DOMException("closed", "AbortError"));
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Logs a failure of background work as an error; the usual `onFailure` of a TaskGroup. */
export function logFailures(log: Logger): (name: string, error: unknown) => void {
  return (name, error) => log.error("background work failed", { work: name, error });
}

/** Runs `work` one call at a time, in the order of the calls. */
export function serially(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
}
