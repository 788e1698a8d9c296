import type { Random } from "./random.ts";

export interface BackoffOptions {
  /** First delay, ms. @default 100 */
  readonly baseMs?: number;
  /** No delay is longer, ms. @default 8000 */
  readonly maxMs?: number;
}

/** Delays that double, each drawn from the upper half of its step, so that callers that failed together do not retry together. */
export class Backoff {
  readonly #random: Random;
  readonly #baseMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor(random: Random, options: BackoffOptions = {}) {
    this.#random = random;
    this.#baseMs = options.baseMs ?? 100;
    this.#maxMs = options.maxMs ?? 8_000;
  }

  /** The delay after one more failure, ms. */
  next(): number {
    const step = Math.min(this.#baseMs * 2 ** this.#failures, this.#maxMs);
    this.#failures += 1;
    return step / 2 + (step / 2) * this.#random.next();
  }

  reset(): void {
    this.#failures = 0;
  }
}
