/** While there are sessions the leader tells the log, now and then, how much time went by: their expiry is by the log. */
import type { Clock } from "@warren/std";

export class LogClock {
  private readonly clock: Clock;
  private readonly everyMs: number;
  private sinceMs: number;

  constructor(clock: Clock, everyMs: number) {
    this.clock = clock;
    this.everyMs = everyMs;
    this.sinceMs = clock.monotonic();
  }

  /** Another leads: what went by before is not its to tell. */
  restart(): void {
    this.sinceMs = this.clock.monotonic();
  }

  /** Whole milliseconds to tell the log, if it is time. */
  due(): number | undefined {
    const elapsedMs = Math.floor(this.clock.monotonic() - this.sinceMs);
    if (elapsedMs < this.everyMs) return undefined;
    this.sinceMs += elapsedMs;
    return elapsedMs;
  }
}
