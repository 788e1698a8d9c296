import type { Writable } from "node:stream";
import { abortableOrUndefined } from "@warren/std";

/**
 * Writes each value of `source`, waiting while the sink is full. Ends early when `ended` is aborted: `return()` of `source`
 * is then called but not awaited, since it may hang until its own signal is aborted.
 *
 * Does not end `sink`.
 */
export async function pump<T>(source: AsyncIterable<T>, sink: Writable, ended: AbortSignal): Promise<void> {
  for await (const value of until(source, ended)) {
    if (!sink.write(value)) await drained(sink, ended);
  }
}

/**
 * The values of `source` until `ended` is aborted, at once even if `source` hangs. Leaving the loop calls `return()` of
 * `source` and does not wait for it.
 */
export async function* until<T>(source: AsyncIterable<T>, ended: AbortSignal): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  let finished = false;
  try {
    while (!ended.aborted) {
      const result = await abortableOrUndefined(iterator.next(), ended);
      if (result === undefined) return;
      if (result.done === true) {
        finished = true;
        return;
      }
      yield result.value;
    }
  } catch (error) {
    finished = true;
    throw error;
  } finally {
    if (!finished) iterator.return?.()?.then(undefined, () => undefined);
  }
}

/** Resolves when the sink accepts more, or at the abort. */
async function drained(sink: Writable, ended: AbortSignal): Promise<void> {
  if (sink.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const fire = (): void => resolve();
  sink.once("drain", fire).once("close", fire);
  await abortableOrUndefined(promise, ended);
  sink.off("drain", fire).off("close", fire);
}
