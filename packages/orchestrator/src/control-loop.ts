/**
 * What all loops are: a snapshot and a watch in one step, a full pass, then a small step for each event, with time as
 * one more kind of event.
 *
 * C1: a step is one transaction over whatever is stored now, never over what an event said. So steps may be repeated,
 *     merged and lost with their manager, and the next full pass does the rest.
 * C2: all that a loop writes is of the term in which it was started. It ends with that term.
 */
import { setImmediate } from "node:timers/promises";
import { Backoff, Changes, delay, errorText, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import { StoreError, type Store, type StoreChange, type TableName, type Transaction, type View } from "@warren/store";
import type { ClockSteps } from "./clock-steps.ts";
import type { OrchestratorMetrics } from "./metrics.ts";

/** The part that differs: what is looked after, under which keys, and the step. */
export interface Reconciler {
  readonly name: string;
  readonly tables: readonly TableName[];
  /** Every key that there is. */
  keys(view: View): Iterable<string>;
  /** Keys for which `change` may have made something to do. */
  touched(change: StoreChange, view: View): Iterable<string>;
  /** Decides for one key, with at most about `budget` writes; `tx` is read, and written by the step. */
  plan(tx: Transaction, key: string, budget: number): Step;
}

export interface Step {
  /** Objects that `writeTo` writes. */
  readonly size: number;
  /** When to decide again though nothing has changed, ms from now. */
  readonly wakeInMs?: number | undefined;
  /** There is more to do at once. */
  readonly again: boolean;
  writeTo(tx: Transaction): void;
}

/** What the loops need of a store. */
export type StoreAccess = Pick<Store, "view" | "update" | "watch" | "term">;

export interface LoopDependencies {
  readonly store: StoreAccess;
  /** The term that the loops are of. */
  readonly term: number;
  readonly clock: Clock;
  /** Of the same clock. */
  readonly clockSteps: ClockSteps;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: OrchestratorMetrics;
}

/** Keys that one transaction looks at, so that a full pass over all of them does not hold up the process. */
const maxKeys = 256;

/** How long a key rests whose step threw, so that it does not hold up the others, ms. */
const faultRestMs = 5_000;

export class ControlLoop {
  readonly #deps: LoopDependencies;
  readonly #reconciler: Reconciler;
  readonly #resyncMs: number;
  readonly #maxWrites: number;
  /** What a transaction takes now: less than `maxWrites` while the objects are so large that the log refuses as many. */
  #limit: number;
  readonly #due = new Set<string>();
  readonly #timers = new Map<string, Timer>();
  readonly #marked = new Changes();
  /** Keys of a pass by time; what is written for one was missed by events. */
  readonly #resynced = new Set<string>();

  constructor(deps: LoopDependencies, reconciler: Reconciler, options: { resyncMs: number; maxWrites: number }) {
    this.#deps = { ...deps, log: deps.log.child({ loop: reconciler.name }) };
    this.#reconciler = reconciler;
    this.#resyncMs = options.resyncMs;
    this.#maxWrites = options.maxWrites;
    this.#limit = options.maxWrites;
  }

  /** Runs until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#marked.notify();
    signal.addEventListener("abort", wake, { once: true });
    try {
      await Promise.all([this.#listen(signal), this.#work(signal)]);
    } finally {
      signal.removeEventListener("abort", wake);
      for (const timer of this.#timers.values()) timer.cancel();
      this.#timers.clear();
    }
  }

  /** Turns changes into keys. A watch that ended for lagging is begun anew with a full pass. */
  async #listen(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#deps;
    const { tables, name } = this.#reconciler;
    while (!signal.aborted) {
      const { view, changes } = store.watch({ tables, signal });
      for (const key of this.#reconciler.keys(view)) this.#mark(key);
      const resync = every(clock, this.#resyncMs, () => {
        for (const key of this.#reconciler.keys(store.view())) {
          if (!this.#due.has(key) && !this.#timers.has(key)) this.#resynced.add(key);
          this.#mark(key);
        }
      });
      try {
        for await (const batch of changes) {
          const now = store.view();
          for (const change of batch.changes) {
            for (const key of this.#reconciler.touched(change, now)) {
              this.#resynced.delete(key);
              this.#mark(key);
            }
          }
        }
      } catch (error) {
        if (!StoreError.is(error, "STORE_WATCH_LAGGED")) throw error;
        log.warn("watch lagged; a full pass follows", { loop: name });
      } finally {
        resync.cancel();
      }
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#deps.random);
    while (!signal.aborted) {
      await this.#marked.until(() => this.#due.size > 0 || signal.aborted || undefined);
      if (signal.aborted) return;
      const keys = [...this.#due].slice(0, maxKeys);
      for (const key of keys) this.#due.delete(key);
      try {
        await this.#step(keys);
        backoff.reset();
        // A long pass that writes nothing must let others have their turn.
        if (this.#due.size > 0) await setImmediate();
        else this.#limit = this.#maxWrites;
      } catch (error) {
        if (isTermOver(error)) throw error;
        for (const key of keys) this.#due.add(key);
        if (StoreError.is(error, "STORE_TOO_LARGE") && this.#limit > 1) {
          this.#limit = Math.ceil(this.#limit / 2);
          continue;
        }
        await rest(this.#deps, this.#reconciler.name, error, backoff.next(), signal);
      }
    }
  }

  /** One transaction over as many of the keys as it takes. */
  async #step(keys: readonly string[]): Promise<void> {
    const { store, term, clock, log, metrics } = this.#deps;
    const labels = { loop: this.#reconciler.name };
    const begun = clock.monotonic();
    const { steps, writes } = await store.update((tx) => this.#plan(tx, keys), { term });
    for (const key of keys) {
      const step = steps.get(key);
      this.#wake(key, step?.wakeInMs);
      if (step === undefined || step.again) this.#mark(key);
      if (!this.#resynced.delete(key) || step === undefined || step.size === 0) continue;
      metrics.resyncFinds.add(1, labels);
      log.info("a full pass found something to do that no event had announced", { key, writes: step.size });
    }
    if (writes === 0) return;
    metrics.transactions.add(1, labels);
    metrics.transactionSeconds.observe((clock.monotonic() - begun) / 1_000, labels);
  }

  #plan(
    tx: Transaction,
    keys: readonly string[],
  ): { readonly steps: ReadonlyMap<string, Omit<Step, "writeTo">>; readonly writes: number } {
    const steps = new Map<string, Omit<Step, "writeTo">>();
    let writes = 0;
    for (const key of keys) {
      if (writes >= this.#limit) break;
      const step = this.#planOne(tx, key, this.#limit - writes);
      step.writeTo(tx);
      writes += step.size;
      steps.set(key, step);
    }
    return { steps, writes };
  }

  /** One key's fault must not keep the others from their step. */
  #planOne(tx: Transaction, key: string, budget: number): Step {
    try {
      return this.#reconciler.plan(tx, key, budget);
    } catch (error) {
      if (isTermOver(error)) throw error;
      this.#deps.metrics.failures.add(1, { loop: this.#reconciler.name });
      this.#deps.log.error("a step failed; it is tried again", { key, error, inMs: faultRestMs });
      return { size: 0, wakeInMs: faultRestMs, again: false, writeTo: () => undefined };
    }
  }

  #mark(key: string): void {
    this.#due.add(key);
    this.#marked.notify();
  }

  /** Replaces the key's timer. */
  #wake(key: string, inMs: number | undefined): void {
    const { clock } = this.#deps;
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
    if (inMs === undefined) return;
    const timer = clock.setTimeout(() => {
      this.#timers.delete(key);
      this.#mark(key);
    }, inMs);
    this.#timers.set(key, timer);
  }
}

/** Whether another manager leads, or none: nothing more is to be written in this term. */
export function isTermOver(error: unknown): boolean {
  return StoreError.is(error, "STORE_NOT_LEADER");
}

/** Logs a transaction that failed, and waits before it is tried again. */
export async function rest(
  { clock, log, metrics }: LoopDependencies,
  loop: string,
  error: unknown,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  metrics.failures.add(1, { loop });
  log.warn("transaction failed; it is tried again", { error: errorText(error), inMs: Math.round(delayMs) });
  await pause(clock, delayMs, signal);
}

/** Waits, or until the signal is aborted, whichever is first. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return delay(clock, delayMs, signal).catch((reason: unknown) => {
    if (!signal.aborted) throw reason;
  });
}

/** Calls `fire` again and again, `periodMs` apart. */
function every(clock: Clock, periodMs: number, fire: () => void): Timer {
  let timer: Timer;
  const arm = (): void => {
    timer = clock.setTimeout(() => {
      fire();
      arm();
    }, periodMs);
  };
  arm();
  return { cancel: () => timer.cancel() };
}
