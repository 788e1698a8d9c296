import type { Clock } from "@warren/std";

/** Wall time that goes on by this much more or less than monotonic time between two looks has been set, ms. */
const toleranceMs = 1_000;

/**
 * Notices that the wall clock was set, as by NTP soon after a boot, or that the machine was suspended.
 *
 * Stored times are wall times. A wait that ends in taking something away must not end because the clock was set to an
 * hour later, so it counts as over only once the clock has gone on steadily for as long (see `remainingSteadily`).
 */
export class ClockSteps {
  readonly #clock: Clock;
  #last: { readonly wall: number; readonly monotonic: number };
  #steadySince: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#last = { wall: clock.now(), monotonic: clock.monotonic() };
    this.#steadySince = this.#last.monotonic;
  }

  /** How long the wall clock has gone on without a step, ms; at most since this was made. */
  steadyMs(): number {
    const here = { wall: this.#clock.now(), monotonic: this.#clock.monotonic() };
    const passed = here.monotonic - this.#last.monotonic;
    if (Math.abs(here.wall - this.#last.wall - passed) > toleranceMs) this.#steadySince = here.monotonic;
    this.#last = here;
    return here.monotonic - this.#steadySince;
  }
}
