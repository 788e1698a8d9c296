import type { Clock, Timer } from "../clock.ts";

interface Armed {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * Time that moves only when told. Timers fire in the order of their deadlines, then of their making.
 * `jump` moves the wall clock alone, as an operator or NTP would.
 */
export class FakeClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
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

  setTimeout(fire: () => void, delayMs: number): Timer {
    const timer: Armed = { at: this.#monotonicMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#armed.add(timer);
    return { cancel: () => void this.#armed.delete(timer) };
  }

  /** Timers that wait. */
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
