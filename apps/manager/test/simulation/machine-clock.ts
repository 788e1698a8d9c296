import type { BootClock, BootTime, Clock, Timer } from "@warren/std";

/** One machine's time, on the clock of the world: its wall clock may be wrong, and its boot time begins at each boot. */
export class MachineClock implements Clock, BootClock {
  readonly #world: Clock;
  readonly #name: string;
  #wallOffsetMs = 0;
  #boot = 1;
  #bootedAt = 0;

  constructor(name: string, world: Clock) {
    this.#name = name;
    this.#world = world;
  }

  now(): number {
    return this.#world.now() + this.#wallOffsetMs;
  }

  monotonic(): number {
    return this.#world.monotonic();
  }

  bootTime(): BootTime {
    return { bootId: `${this.#name}/${this.#boot}`, elapsedMs: this.#world.monotonic() - this.#bootedAt };
  }

  /** Fires only in the boot in which it was set. */
  setTimeout(fire: () => void, delayMs: number): Timer {
    const boot = this.#boot;
    return this.#world.setTimeout(() => boot === this.#boot && fire(), delayMs);
  }

  setWallOffset(ms: number): void {
    this.#wallOffsetMs = ms;
  }

  reboot(): void {
    this.#boot += 1;
    this.#bootedAt = this.#world.monotonic();
  }
}
