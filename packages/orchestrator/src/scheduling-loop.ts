/**
 * Wanted leases get a node and an address. The scheduler takes in each change of nodes and slots; what it decides is
 * written in batches, and what could not be written is applied to it as it is stored.
 *
 * An idle cluster places what comes at once. While changes follow one another, decisions wait until it is quiet for
 * `debounceMs`, though never longer than `debounceCapMs`, so that the leases of a busy time are placed together.
 */
import { setImmediate } from "node:timers/promises";
import type { Service } from "@warren/api";
import { idOf } from "@warren/api/model";
import { Backoff, Changes, type Timer } from "@warren/std";
import { StoreError, type StoreChange, type Transaction, type View } from "@warren/store";
import { AddressBook } from "./addresses.ts";
import { isTermOver, pause, rest, type LoopDependencies } from "./control-loop.ts";
import type { ResolvedOptions } from "./options.ts";
import { recordDecision, type Placed, type Waiting } from "./offer.ts";
import { SchedulerMirror } from "./scheduler-mirror.ts";
import { isStartFirst } from "./settings.ts";

/** How long a lease waits that found its node out of addresses, ms: until the first may have rested. */
const addressRetryMs = 5_000;

export class SchedulingLoop {
  readonly #deps: LoopDependencies;
  readonly #options: ResolvedOptions;
  readonly #addresses = new AddressBook();
  readonly #mirror: SchedulerMirror;
  readonly #marked = new Changes();
  /** When the oldest and the latest change came that no pass has answered yet, by the monotonic clock. */
  #unanswered: { readonly first: number; last: number } | undefined;
  #lastPass = Number.NEGATIVE_INFINITY;
  #later: Timer | undefined;

  constructor(deps: LoopDependencies, options: ResolvedOptions) {
    this.#deps = { ...deps, log: deps.log.child({ loop: "scheduling" }) };
    this.#options = options;
    this.#mirror = new SchedulerMirror(deps, this.#addresses);
  }

  /** Runs until the signal is aborted. @throws StoreError `STORE_NOT_LEADER` once the term is over */
  async run(signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#marked.notify();
    signal.addEventListener("abort", wake, { once: true });
    try {
      await Promise.all([this.#listen(signal), this.#work(signal)]);
    } finally {
      signal.removeEventListener("abort", wake);
      this.#later?.cancel();
    }
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#deps;
    while (!signal.aborted) {
      const { view, changes } = store.watch({ tables: ["nodes", "managers", "slots", "tasks", "services"], signal });
      this.#mirror.begin(view);
      this.#mark();
      try {
        for await (const batch of changes) {
          // The newest state, not the change's: what was applied once is never undone by an older batch.
          const now = store.view();
          for (const change of batch.changes) if (this.#take(change, now)) this.#mark();
        }
      } catch (error) {
        if (!StoreError.is(error, "STORE_WATCH_LAGGED")) throw error;
        log.warn("watch lagged; the scheduler is filled anew");
      }
    }
  }

  /** True if there may be something to decide. */
  #take(change: StoreChange, view: View): boolean {
    const id = idOf(change.object);
    switch (change.table) {
      case "nodes":
      case "managers":
        return this.#mirror.putNode(view, id) && this.#mirror.waiting.size > 0;
      case "slots":
        return this.#mirror.putSlot(view, id);
      case "tasks":
        this.#mirror.putTask(view, change.before, change.object);
        return false;
      case "services":
        return concernsPlacement(change.before, change.object) && this.#mirror.putService(view, id);
      default:
        return false;
    }
  }

  #mark(): void {
    const now = this.#deps.clock.monotonic();
    this.#unanswered ??= { first: now, last: now };
    this.#unanswered.last = now;
    this.#marked.notify();
  }

  async #work(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#deps.random);
    while (!signal.aborted) {
      await this.#marked.until(() => this.#unanswered !== undefined || signal.aborted || undefined);
      await this.#quiet(signal);
      if (signal.aborted) return;
      this.#unanswered = undefined;
      try {
        await this.#pass();
        backoff.reset();
      } catch (error) {
        if (isTermOver(error)) throw error;
        await rest(this.#deps, "scheduling", error, backoff.next(), signal);
      }
      this.#lastPass = this.#deps.clock.monotonic();
    }
  }

  /** Until a pass is due for the changes that have come. */
  async #quiet(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { debounceMs, debounceCapMs } = this.#options;
    while (this.#unanswered !== undefined && !signal.aborted) {
      const { first, last } = this.#unanswered;
      const idle = first - this.#lastPass >= debounceMs;
      const waitMs = idle ? 0 : Math.min(last + debounceMs, first + debounceCapMs) - clock.monotonic();
      if (waitMs <= 0) return;
      await pause(clock, waitMs, signal);
    }
  }

  async #pass(): Promise<void> {
    const { store, clock, metrics } = this.#deps;
    const begun = clock.monotonic();
    const decisions = this.#mirror.decide(store.view(), begun);
    metrics.scheduleSeconds.observe((clock.monotonic() - begun) / 1_000);
    if (this.#mirror.retryInMs !== undefined) this.#markIn(this.#mirror.retryInMs);
    await this.#write(decisions);
    metrics.waiting.set(this.#mirror.waiting.size);
  }

  /** In batches, smaller ones if the log takes no more at once. */
  async #write(decisions: readonly (Placed | Waiting)[]): Promise<void> {
    let size = this.#options.maxWrites;
    for (let from = 0; from < decisions.length;) {
      const batch = decisions.slice(from, from + size);
      try {
        await this.#writeBatch(batch);
        from += batch.length;
      } catch (error) {
        if (StoreError.is(error, "STORE_TOO_LARGE") && batch.length > 1) {
          size = Math.ceil(batch.length / 2);
          continue;
        }
        const view = this.#deps.store.view();
        for (const { taskId } of decisions.slice(from)) this.#mirror.putLease(view, taskId);
        this.#mark();
        throw error;
      }
      if (from < decisions.length) await setImmediate();
    }
  }

  /** What was not written, as things have changed, is applied to the scheduler as it is stored. */
  async #writeBatch(batch: readonly (Placed | Waiting)[]): Promise<void> {
    const { store, metrics, clock, clockSteps, term } = this.#deps;
    const begun = clock.monotonic();
    const at = clockSteps.moment();
    const outcomes = await store.update(
      (tx: Transaction) => batch.map((decision) => recordDecision(tx, decision, this.#addresses, at)),
      { term },
    );
    const view = store.view();
    for (const [index, { kind, taskId }] of batch.entries()) {
      const outcome = outcomes[index];
      if (outcome === "written") {
        if (kind === "placed") metrics.placements.add();
        continue;
      }
      const waits = this.#mirror.putLease(view, taskId);
      if (outcome === "no-address") this.#markIn(addressRetryMs);
      else if (waits) this.#mark();
    }
    metrics.transactions.add(1, { loop: "scheduling" });
    metrics.transactionSeconds.observe((clock.monotonic() - begun) / 1_000, { loop: "scheduling" });
  }

  /** A pass by time; each pass asks for the next one, so that the last to ask is right. */
  #markIn(ms: number): void {
    this.#later?.cancel();
    this.#later = this.#deps.clock.setTimeout(() => this.#mark(), ms);
  }
}

/** Whether a service's change may place its leases otherwise. Its update's progress does not. */
function concernsPlacement(before: Service | undefined, after: Service): boolean {
  return (
    before === undefined ||
    before.versionId !== after.versionId ||
    isStartFirst(before) !== isStartFirst(after) ||
    JSON.stringify(before.endpoint) !== JSON.stringify(after.endpoint)
  );
}
