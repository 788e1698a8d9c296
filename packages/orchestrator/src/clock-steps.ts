import type { Clock } from "@warren/std";
import type { Moment } from "./reading.ts";

/** Wall time that goes on by this much more or less than monotonic time between two looks has been set, ms. */
const toleranceMs = 1_000;

/**
 * Notices that the wall clock was set, as by NTP soon after a boot, or that the machine was suspended. One for all loops of
 * a term.
 *
 * Stored times are wall times. No wait may end because the clock was set to an hour later, so each also lasts for its
 * length on a clock that goes on steadily (see `remaining` and `remainingOfDelay`).
 */
export class ClockSteps {
  readonly #clock: Clock;
  readonly #begun: number;
  #last: { readonly wall: number; readonly monotonic: number };
  #stepAt: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#last = { wall: clock.now(), monotonic: clock.monotonic() };
    this.#begun = this.#last.monotonic;
  }

  moment(): Moment {
    const here = { wall: this.#clock.now(), monotonic: this.#clock.monotonic() };
    const passed = here.monotonic - this.#last.monotonic;
    if (Math.abs(here.wall - this.#last.wall - passed) > toleranceMs) this.#stepAt = here.monotonic;
    this.#last = here;
    return {
      now: here.wall,
      steadyMs: here.monotonic - (this.#stepAt ?? this.#begun),
      sinceStepMs: this.#stepAt === undefined ? Number.POSITIVE_INFINITY : here.monotonic - this.#stepAt,
    };
  }
}
