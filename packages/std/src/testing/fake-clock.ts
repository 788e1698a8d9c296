import type { BootClock, BootTime } from "../boot-clock.ts";
import type { Clock, Timer } from "../clock.ts";

interface Armed {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * A machine's time, which moves only by calls of its methods. Timers fire in the order of their deadlines, then of their creation.
 * `jump` and `setWall` move the wall clock alone, as an operator or NTP would; `suspend` and `reboot` do what these do to
 * the three times of a machine.
 */
export class FakeClock implements Clock, BootClock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  /** Boot time less monotonic time, ms. */
  #bootOffsetMs = 0;
  #boots = 1;
  #order = 0;
  readonly #armed = new Set<Armed>();

  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = startMs;
  }

  now(): number {
    return this.#wallOffsetMs + this.#monotonicMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  bootTime(): BootTime {
    return { bootId: `boot-${this.#boots}`, elapsedMs: this.#monotonicMs + this.#bootOffsetMs };
  }

  setTimeout(fire: () => void, delayMs: number): Timer {
    const timer: Armed = { at: this.#monotonicMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#armed.add(timer);
    return { cancel: () => void this.#armed.delete(timer) };
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#armed.size;
  }

  /** When the next timer fires, in `monotonic()` time; undefined if none waits. */
  get nextAt(): number | undefined {
    return this.#first()?.at;
  }

  /** Moves time by `ms` and fires what falls due, synchronously; promises then settle on their own. */
  advance(ms: number): void {
    const end = this.#monotonicMs + ms;
    for (let due = this.#first(); due !== undefined && due.at <= end; due = this.#first()) this.#fire(due);
    this.#monotonicMs = end;
  }

  /** As `advance`, but lets promises settle between timers, so that a chain of them runs. */
  async advanceAsync(ms: number): Promise<void> {
    const end = this.#monotonicMs + ms;
    await settle();
    for (let due = this.#first(); due !== undefined && due.at <= end; due = this.#first()) {
      this.#fire(due);
      await settle();
    }
    this.#monotonicMs = end;
  }

  /** Moves wall time alone. */
  jump(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Sets wall time alone; 0 is what a board without a battery shows at its start. */
  setWall(nowMs: number): void {
    this.#wallOffsetMs = nowMs - this.#monotonicMs;
  }

  /** The machine sleeps for `ms`: wall time and boot time go on, monotonic time and timers stand still. */
  suspend(ms: number): void {
    this.#wallOffsetMs += ms;
    this.#bootOffsetMs += ms;
  }

  /**
   * The machine goes down and is up again `downMs` later: another boot, whose time begins at 0. No process of the old one
   * is left, so its timers never fire. Wall time goes on; set it wrong with `setWall`.
   */
  reboot(downMs: number = 0): void {
    this.#armed.clear();
    this.#wallOffsetMs += downMs;
    this.#bootOffsetMs = -this.#monotonicMs;
    this.#boots += 1;
  }

  #fire(timer: Armed): void {
    this.#armed.delete(timer);
    this.#monotonicMs = timer.at;
    timer.fire();
  }

  #first(): Armed | undefined {
    let first: Armed | undefined;
    for (const timer of this.#armed) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
