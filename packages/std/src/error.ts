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
 *
 * A class is recognised by its name, so no two error classes of Warren's packages share one, and a bundler must keep names.
 */
export class WarrenError<F extends Failure = Failure> extends Error {
  readonly failure: F;
  /** The brand of the base: true across copies of this package, where `instanceof` is not. */
  readonly isWarrenError: true = true;

  constructor(failure: F, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.failure = failure;
  }

  get code(): F["code"] {
    return this.failure.code;
  }

  /**
   * Whether `value` is of the class that this is called on, or of a subclass; with `code`, one of that code. True
   * across copies of a package, since classes are compared by name.
   */
  static is<E extends WarrenError, C extends E["code"] = E["code"]>(
    this: ErrorClass<E>,
    value: unknown,
    code?: C,
  ): value is E & { readonly failure: Extract<E["failure"], { readonly code: C }> } {
    if (!(value instanceof Error) || (value as Partial<WarrenError>).isWarrenError !== true) return false;
    if (code !== undefined && (value as WarrenError).failure.code !== code) return false;
    for (let type: unknown = value.constructor; typeof type === "function"; type = Object.getPrototypeOf(type)) {
      if (type.name === this.name) return true;
    }
    return false;
  }
}

/** A constructor of errors, as `is` needs it: what it makes and what it is called. */
export type ErrorClass<E extends WarrenError> = (abstract new (...args: never[]) => E) & { readonly name: string };

/** The text of anything that was thrown, with its causes, on one line. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}

/** @throws if `condition` does not hold: for what can't happen, as opposed to failures in operation. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`);
}
