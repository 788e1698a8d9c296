/** Ends a timer; calling it again does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time, passed in as an interface. A test passes `FakeClock`, where an hour passes in a millisecond. */
export interface Clock {
  /** Wall time, milliseconds since 1970. May jump, either way; only for people and records. */
  now(): number;
  /** Milliseconds since some fixed moment; never goes back. For intervals, deadlines, leases. */
  monotonic(): number;
  /**
   * Calls `fire` once, unless cancelled: not within this call, and not before `monotonic()` has grown by `delayMs`, which
   * may be 0 or less. Timers fire in the order of their deadlines, those of one deadline in the order of the calls.
   */
  setTimeout(fire: () => void, delayMs: number): Timer;
}

/** Longest delay that Node's timers take before they wrap, ms. */
const maxDelayMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(fire, delayMs) {
    const deadline = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    // Node counts whole milliseconds from the last one that is over, and so may call back before the deadline.
    const arm = (leftMs: number): void => {
      handle = setTimeout(
        () => {
          const left = deadline - performance.now();
          if (left > 0) arm(left);
          else fire();
        },
        Math.min(Math.ceil(Math.max(0, leftMs)) + 1, maxDelayMs),
      );
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves `delayMs` from now; rejects with the signal's reason as soon as it is aborted. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
