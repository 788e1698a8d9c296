/**
 * What went wrong, as data. `code` is public API: callers branch on it, never on a message.
 */
export interface Failure {
  readonly code: string;
}

/**
 * The base of every error that can happen in operation.
 *
 * A package declares its failures as a union of `{ code, … }` and one subclass over it. What can't happen is an
 * assertion, not one of these. The message says what, why and what to do, in one line.
 */
export class WarrenError<F extends Failure = Failure> extends Error {
  readonly failure: F;
  /** The brand: true across copies of this package, where `instanceof` is not. */
  readonly isWarrenError: true = true;

  constructor(failure: F, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.failure = failure;
  }

  get code(): F["code"] {
    return this.failure.code;
  }

  /** Whether `value` is a WarrenError; with `code`, one of that code. True across copies of this package. */
  static is(value: unknown, code?: string): value is WarrenError {
    return (
      value instanceof Error &&
      (value as Partial<WarrenError>).isWarrenError === true &&
      (code === undefined || (value as WarrenError).failure.code === code)
    );
  }
}

/** The text of anything that was thrown, with its causes, on one line. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}

/** Fails where a thing that can't happen did. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`);
}
