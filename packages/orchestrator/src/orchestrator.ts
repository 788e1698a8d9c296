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
import { ClockSteps } from "./clock-steps.ts";
import { ControlLoop, isTermOver, pause, type LoopDependencies, type StoreAccess } from "./control-loop.ts";
import { OrchestratorError } from "./errors.ts";
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

/** The loops of a leader, in one term. */
export interface Orchestrator extends AsyncDisposable {
  /** Resolves once all loops have ended: when it was closed, or found that its term is over. */
  readonly ended: Promise<void>;
  /** Ends all loops and waits for what they are writing. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a leader's control loops. To be called once the store's term has begun, and again in each further term.
 *
 * All that they write is of that term; they end with it. Everything they go by is in the store: they begin with a full
 * pass, so one that was killed is simply started again.
 *
 * @throws OrchestratorError `ORCHESTRATOR_OPTIONS_INVALID`, `ORCHESTRATOR_NO_TERM`
 */
export function startOrchestrator(
  { store, clock, random, log = silentLogger, metrics = noMetrics }: OrchestratorDependencies,
  options: OrchestratorOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Orchestrator {
  const resolved = resolveOptions(options);
  const term = store.term?.term;
  if (term === undefined)
    throw new OrchestratorError(
      { code: "ORCHESTRATOR_NO_TERM" },
      "this manager has no term: start the orchestrator once the store has begun one",
    );
  const ownLog = log.child({ component: "orchestrator" });
  const clockSteps = new ClockSteps(clock);
  const deps = { store, term, clock, clockSteps, random, log: ownLog, metrics: orchestratorMetrics(metrics) };
  const allocator = new Allocator();
  const over = new AbortController();
  const ends = AbortSignal.any([over.signal, ...(signal === undefined ? [] : [signal])]);

  const loops: Readonly<Record<string, () => { run(signal: AbortSignal): Promise<void> }>> = {
    nodes: () => new ControlLoop(deps, nodeReconciler({ clockSteps, allocator, log: ownLog }), resolved),
    services: () =>
      new ControlLoop(deps, serviceReconciler({ clockSteps, random, allocator, log: ownLog }, resolved), resolved),
    scheduling: () => new SchedulingLoop(deps, resolved),
  };
  const group = new TaskGroup(logFailures(ownLog), ends);
  const running = Object.entries(loops).map(async ([name, make]) => {
    const done = Promise.withResolvers<void>();
    group.run(name, async (ended) => {
      try {
        await keepRunning(deps, name, make, ended, () => over.abort());
      } finally {
        done.resolve();
      }
    });
    await done.promise;
  });
  return {
    ended: Promise.all(running).then(() => undefined),
    close: () => group.close(),
    [Symbol.asyncDispose]: () => group.close(),
  };
}

/**
 * A loop that breaks is a fault of ours; it is logged, and begun anew from a full pass, since a leader without it is
 * none. One that finds its term over ends them all.
 */
async function keepRunning(
  { clock, random, log, metrics }: LoopDependencies,
  loop: string,
  make: () => { run(signal: AbortSignal): Promise<void> },
  signal: AbortSignal,
  endAll: () => void,
): Promise<void> {
  const backoff = new Backoff(random);
  while (!signal.aborted) {
    const own = new AbortController();
    try {
      await make().run(AbortSignal.any([signal, own.signal]));
    } catch (error) {
      own.abort();
      if (isTermOver(error)) {
        log.info("the term is over", { loop });
        return endAll();
      }
      const inMs = backoff.next();
      metrics.failures.add(1, { loop });
      log.error("a loop broke; it is begun anew", { loop, error, inMs: Math.round(inMs) });
      await pause(clock, inMs, signal);
    }
  }
}
