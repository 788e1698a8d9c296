import type { Clock, Timer } from "@warren/std";

/**
 * `target` for a process that can be killed: afterwards no call arrives and no answer returns. Earlier calls go on.
 */
export function severable<T extends object>(target: T, killed: AbortSignal): T {
  return new Proxy(target, {
    get(_target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        if (killed.aborted) return new Promise(() => undefined);
        const result: unknown = Reflect.apply(value, target, args);
        if (result instanceof Promise) return whileAlive(result, killed);
        return isAsyncIterable(result) ? readWhileAlive(result, killed) : result;
      };
    },
  });
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function whileAlive<T>(promise: Promise<T>, killed: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    promise.then(
      (value) => killed.aborted || resolve(value),
      (error: unknown) => killed.aborted || reject(error as Error),
    );
  });
}

function readWhileAlive<T>(source: AsyncIterable<T>, killed: AbortSignal): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      return {
        next: () => whileAlive(iterator.next(), killed),
        return: () => whileAlive(iterator.return?.() ?? Promise.resolve({ done: true, value: undefined }), killed),
      };
    },
  };
}

/** A killed process's timers don't fire. */
export function severableClock(clock: Clock, killed: AbortSignal): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimeout(fire, delayMs): Timer {
      if (killed.aborted) return { cancel: () => undefined };
      const timer = clock.setTimeout(() => killed.aborted || fire(), delayMs);
      killed.addEventListener("abort", () => timer.cancel(), { once: true });
      return timer;
    },
  };
}
