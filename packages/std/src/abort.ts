/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it is aborted. Unlike `Promise.race` it leaves no
 * listener on the signal and no reaction on a promise that outlives the call. Without a signal it is `work` itself.
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? work : settled(work, signal, (_, reject) => reject(signal.reason));
}

/** Settles as `work` does, or resolves with undefined as soon as the signal is aborted. Leaves nothing behind either. */
export function abortableOrUndefined<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return settled<T | undefined>(work, signal, (resolve) => resolve(undefined));
}

function settled<T>(
  work: Promise<T>,
  signal: AbortSignal,
  atAbort: (resolve: (value: T) => void, reject: (reason: unknown) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => atAbort(resolve, reject);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    work.then(
      (value) => {
        forget();
        resolve(value);
      },
      (error: unknown) => {
        forget();
        reject(error);
      },
    );
  });
}

/** Resolves with the signal's reason when it is aborted. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    const onAbort = (): void => resolve(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}
