/** The time that decides the expiry of sessions: while there are any, the leader proposes how much went by. */
import type { Clock } from "@warren/std";

export class LogClock {
  private readonly clock: Clock;
  private readonly everyMs: () => number;
  private sinceMs: number;

  constructor(clock: Clock, everyMs: () => number) {
    this.clock = clock;
    this.everyMs = everyMs;
    this.sinceMs = clock.monotonic();
  }

  /** A new term begins: time that went by before it is not proposed. */
  restart(): void {
    this.sinceMs = this.clock.monotonic();
  }

  /** Whole milliseconds to propose, if it is time. */
  due(): number | undefined {
    const elapsedMs = Math.floor(this.clock.monotonic() - this.sinceMs);
    if (elapsedMs < this.everyMs()) return undefined;
    this.sinceMs += elapsedMs;
    return elapsedMs;
  }
}
