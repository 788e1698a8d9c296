import type { Runtime } from "@warren/runtime";
import type { Clock, Logger, Random, Timer } from "@warren/std";
import type { Containers } from "./containers.ts";
import type { LocalRecord, RunRecord } from "./local-record.ts";
import { persistently } from "./waiting.ts";

/** Most runs of forgotten leases that a node keeps. */
const most = 100;

export interface KeptRunsDependencies {
  readonly runtime: Pick<Runtime, "remove">;
  readonly containers: Containers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly record: LocalRecord;
  /** Called after a container was removed, whose image may be unused now. */
  readonly removed: () => void;
}

/**
 * Runs whose lease is forgotten. Their containers are kept for a time, for their logs; runs without a container are
 * removed at once. At most the newest `most` are kept.
 */
export class KeptRuns {
  readonly #dependencies: KeptRunsDependencies;
  readonly #keepMs: number;
  /** When a run was first seen without its lease, in monotonic time. */
  readonly #since = new Map<string, number>();
  #timer: Timer | undefined;
  #collecting: Promise<void> = Promise.resolve();

  constructor(dependencies: KeptRunsDependencies, keepMs: number) {
    this.#dependencies = dependencies;
    this.#keepMs = keepMs;
  }

  /** Call when a lease was forgotten: removes what is due now, and again later when more is due. */
  collect(signal: AbortSignal): void {
    // One after the other; a failure is logged, and the next event tries again.
    this.#collecting = this.#collecting.then(() => this.#collect(signal));
  }

  /** Removes all ended containers but that of each lease's newest run, with their logs. Returns their number. */
  async free(signal: AbortSignal): Promise<number> {
    const { record, containers } = this.#dependencies;
    const newest = new Set([...record.leases.keys()].map((lease) => record.runsOf(lease).at(-1)?.id));
    const ended = [...record.runs.values()].filter(
      ({ id }) => !newest.has(id) && containers.get(id)?.state.kind === "exited",
    );
    for (const { id } of ended) await this.#removeContainer(id, signal);
    return ended.length;
  }

  async #collect(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#dependencies;
    try {
      signal.throwIfAborted();
      for (const run of this.#due()) await this.#remove(run, signal);
      this.#timer?.cancel();
      const oldest = Math.min(...this.#since.values());
      if (!Number.isFinite(oldest)) return;
      const timer = clock.setTimeout(
        () => this.collect(signal),
        Math.max(0, oldest + this.#keepMs - clock.monotonic()),
      );
      this.#timer = timer;
      signal.addEventListener("abort", () => timer.cancel(), { once: true });
    } catch (error) {
      if (!signal.aborted) log.warn("logs of tasks that are gone could not be removed", { error });
    }
  }

  #due(): RunRecord[] {
    const { record, containers, clock } = this.#dependencies;
    const now = clock.monotonic();
    const orphans = [...record.runs.values()]
      .filter(({ id, local }) => !record.leases.has(local.lease) && containers.get(id)?.state.kind !== "running")
      .toSorted((a, b) => b.local.order - a.local.order);
    for (const { id } of orphans) if (!this.#since.has(id)) this.#since.set(id, now);
    return orphans.filter(
      ({ id }, index) =>
        index >= most || now - (this.#since.get(id) ?? now) >= this.#keepMs || containers.get(id) === undefined,
    );
  }

  async #remove({ id }: RunRecord, signal: AbortSignal): Promise<void> {
    const { containers, record, removed } = this.#dependencies;
    if (containers.get(id) !== undefined) {
      await this.#removeContainer(id, signal);
      removed();
    }
    this.#since.delete(id);
    record.deleteRun(id);
  }

  async #removeContainer(id: string, signal: AbortSignal): Promise<void> {
    const { runtime, containers } = this.#dependencies;
    const remove = (): Promise<void> => runtime.remove(id);
    await persistently(this.#dependencies, `removing container ${id}`, signal, remove, () => true);
    containers.forget(id);
  }
}
