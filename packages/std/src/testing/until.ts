/** Period between two checks of a condition, ms. */
const intervalMs = 5;

/**
 * Waits until `condition` returns something other than false or undefined, and resolves with that. For tests of code that
 * has no event to await.
 *
 * @param what the condition in words, for the error when `timeoutMs` (default 10 s) passes first
 */
export async function until<T>(
  what: string,
  condition: () => T | false | undefined | Promise<T | false | undefined>,
  timeoutMs: number = 10_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`timed out: waited ${timeoutMs} ms until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
