/**
 * Simulated time: events in the order of their moments, then of their making. Between two events every promise that
 * can settle settles, so what a seed does depends on nothing but the seed.
 *
 * A process is what its events belong to: those of one that was killed never come, those of one that is stopped wait.
 */
import type { Clock, Timer } from "@warren/std";

export class Process {
  alive = true;
  /** Until when it is stopped, as by SIGSTOP; its clock runs on. */
  stoppedUntilMs = 0;

  /** Stops it, unless it is stopped for longer. */
  stop(untilMs: number): void {
    this.stoppedUntilMs = Math.max(this.stoppedUntilMs, untilMs);
  }

  kill(): void {
    this.alive = false;
  }
}

interface Event extends Timer {
  atMs: number;
  readonly order: number;
  readonly run: () => void;
  readonly process: Process | undefined;
  cancelled: boolean;
}

function cancel(this: Event): void {
  this.cancelled = true;
}

export class Scheduler {
  nowMs = 0;
  /** Events that ran. */
  events = 0;
  private order = 0;
  /** A binary heap. */
  private readonly heap: Event[] = [];

  after(delayMs: number, run: () => void, process?: Process): Timer {
    const event: Event = {
      atMs: this.nowMs + Math.max(0, delayMs),
      order: this.order++,
      run,
      process,
      cancelled: false,
      cancel,
    };
    this.push(event);
    return event;
  }

  /** Runs events up to `untilMs`, calling `check` after each, until it is true. */
  async run(untilMs: number, check: () => boolean): Promise<boolean> {
    for (let event = this.heap[0]; event !== undefined && event.atMs <= untilMs; event = this.heap[0]) {
      this.pop();
      this.nowMs = event.atMs;
      if (!this.due(event)) continue;
      this.events++;
      event.run();
      await settled();
      if (check()) return true;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
    return false;
  }

  private due(event: Event): boolean {
    if (event.cancelled || event.process?.alive === false) return false;
    const resumesMs = event.process?.stoppedUntilMs ?? 0;
    if (resumesMs <= this.nowMs) return true;
    event.atMs = resumesMs;
    this.push(event);
    return false;
  }

  private push(event: Event): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Event;
      if (!before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      const below = heap[child] as Event;
      if (!before(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Resolves when no promise is left that could settle: Node runs a tick only once its queue of jobs is empty. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** More than what is lost when a moment is reckoned from one clock to another, ms: no timer fires before its time. */
const roundingMs = 1e-6;

/** One machine's clock: it runs `rate` times as fast as the world's, and its wall time may be set. */
export class MachineClock {
  wallMs: number = Date.UTC(2026, 0, 1);
  private readonly scheduler: Scheduler;
  private readonly rate: number;

  constructor(scheduler: Scheduler, rate: number) {
    this.scheduler = scheduler;
    this.rate = rate;
  }

  /** As a process on that machine sees it. */
  of(process: Process): Clock {
    return {
      now: () => this.wallMs + this.scheduler.nowMs * this.rate,
      monotonic: () => this.scheduler.nowMs * this.rate,
      setTimeout: (fire, delayMs) => this.scheduler.after(delayMs / this.rate + roundingMs, fire, process),
    };
  }
}
