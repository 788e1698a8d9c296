/** Checks of contracts: each throws if it fails. */
import { isDeepStrictEqual, inspect } from "node:util";

/** @throws Error unless `condition` holds */
export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`does not hold: ${what}`);
}

/** @throws Error unless they are deeply equal */
export function equal(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) throw new Error(`${inspect(actual)} is not ${inspect(expected)}`);
}

/** @throws Error unless `promise` rejects */
export async function rejects(promise: Promise<unknown>, what: string): Promise<void> {
  let resolved = false;
  try {
    await promise;
    resolved = true;
  } catch {
    // Expected.
  }
  check(!resolved, `${what} fails`);
}
