import {
  Backoff,
  logFailures,
  noMetrics,
  silentLogger,
  TaskGroup,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import { Allocator } from "./allocator.ts";
import { ControlLoop, pause, type LoopDependencies, type StoreAccess } from "./control-loop.ts";
import { orchestratorMetrics } from "./metrics.ts";
import { nodeReconciler } from "./node-loop.ts";
import { resolveOptions, type OrchestratorOptions } from "./options.ts";
import { SchedulingLoop } from "./scheduling-loop.ts";
import { serviceReconciler } from "./service-loop.ts";

export interface OrchestratorDependencies {
  readonly store: StoreAccess;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** The loops of a leader; they run until it is closed. */
export interface Orchestrator extends AsyncDisposable {
  /** Ends all loops and waits for what they are writing. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a leader's control loops. To be called when this manager leads and closed when it no longer does; two at once,
 * as for a moment around a change of leaders, get in each other's way but do no harm.
 *
 * Everything they go by is in the store: they begin with a full pass, so one that was killed is simply started again.
 *
 * @throws OrchestratorError `ORCHESTRATOR_OPTIONS_INVALID`
 */
export function startOrchestrator(
  { store, clock, random, log = silentLogger, metrics = noMetrics }: OrchestratorDependencies,
  options: OrchestratorOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Orchestrator {
  const resolved = resolveOptions(options);
  const ownLog = log.child({ component: "orchestrator" });
  const deps = { store, clock, random, log: ownLog, metrics: orchestratorMetrics(metrics) };
  const allocator = new Allocator();

  const loops: Readonly<Record<string, () => { run(signal: AbortSignal): Promise<void> }>> = {
    nodes: () => new ControlLoop(deps, nodeReconciler({ clock, allocator, log: ownLog }, resolved), resolved),
    services: () =>
      new ControlLoop(deps, serviceReconciler({ clock, random, allocator, log: ownLog }, resolved), resolved),
    scheduling: () => new SchedulingLoop(deps, resolved),
  };
  const group = new TaskGroup(logFailures(ownLog), signal);
  for (const [name, make] of Object.entries(loops)) group.run(name, (ended) => keepRunning(deps, name, make, ended));
  return {
    close: () => group.close(),
    [Symbol.asyncDispose]: () => group.close(),
  };
}

/** A loop that breaks is a fault of ours; it is told, and begun anew from a full pass, since a leader without it is none. */
async function keepRunning(
  { clock, random, log, metrics }: LoopDependencies,
  loop: string,
  make: () => { run(signal: AbortSignal): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(random);
  while (!signal.aborted) {
    const own = new AbortController();
    try {
      await make().run(AbortSignal.any([signal, own.signal]));
    } catch (error) {
      const inMs = backoff.next();
      metrics.failures.add(1, { loop });
      log.error("a loop broke; it is begun anew", { loop, error, inMs: Math.round(inMs) });
      own.abort();
      await pause(clock, inMs, signal);
    }
  }
}
