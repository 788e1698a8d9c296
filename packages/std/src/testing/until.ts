/** How often a condition is looked at, ms. Short beside any condition worth waiting for. */
const intervalMs = 5;

/**
 * Waits until `condition` returns something other than false or undefined, and returns that. For tests of code that has no
 * event to await.
 *
 * @param what named in the error when `timeoutMs` (default 10 s) passes first
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
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
