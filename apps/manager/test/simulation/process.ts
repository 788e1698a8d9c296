/** A process as its machine sees it: it can be stopped for a while, as by SIGSTOP, and killed, as by SIGKILL. */
import type { Clock, Timer } from "@warren/std";

/** Nothing that a killed process asked for is answered, and none of its calls or timers comes any more. */
export class Process {
  #killed = false;
  #going: PromiseWithResolvers<void> | undefined;

  get killed(): boolean {
    return this.#killed;
  }

  get paused(): boolean {
    return this.#going !== undefined;
  }

  pause(): void {
    this.#going ??= Promise.withResolvers();
  }

  resume(): void {
    this.#going?.resolve();
    this.#going = undefined;
  }

  kill(): void {
    this.#killed = true;
  }

  /** `target` as this process uses it. */
  uses<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (this.#killed) return new Promise(() => undefined);
          const result: unknown = Reflect.apply(value, target, args);
          if (result instanceof Promise) return this.#whileAlive(result);
          return isAsyncIterable(result) ? this.#read(result) : result;
        };
      },
    });
  }

  /** Timers that fall due while it is paused fire when it goes on. */
  clock(machine: Clock): Clock {
    return {
      now: () => machine.now(),
      monotonic: () => machine.monotonic(),
      setTimeout: (fire, delayMs): Timer => {
        let cancelled = false;
        const timer = machine.setTimeout(() => {
          void this.#turn().then(() => cancelled || this.#killed || fire());
        }, delayMs);
        return {
          cancel: () => {
            cancelled = true;
            timer.cancel();
          },
        };
      },
    };
  }

  async #turn(): Promise<void> {
    while (this.#going !== undefined) await this.#going.promise;
  }

  #whileAlive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => void this.#turn().then(() => this.#killed || resolve(value)),
        (error: unknown) => void this.#turn().then(() => this.#killed || reject(error as Error)),
      );
    });
  }

  #read<T>(source: AsyncIterable<T>): AsyncIterable<T> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = source[Symbol.asyncIterator]();
        return {
          next: () => this.#whileAlive(iterator.next()),
          return: () =>
            this.#whileAlive(iterator.return?.() ?? Promise.resolve({ done: true as const, value: undefined })),
        };
      },
    };
  }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
