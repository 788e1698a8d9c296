import {
  assert,
  errorText,
  noMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";

import type { StoreOptions } from "../options.ts";
import { schema, type Schema } from "../schema.ts";
import { StoreStateMachine } from "../state-machine.ts";
import { Store, type StoreTerm } from "../store.ts";
import { MemoryLog, MemoryProposer } from "./memory-proposer.ts";

export interface MemoryStoreDependencies {
  /** @default systemClock */
  readonly clock?: Clock;
  /** @default systemRandom */
  readonly random?: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** The program that the managers run. @default this one's */
  readonly schema?: Schema;
}

export interface MemoryStore {
  readonly store: Store;
  readonly machine: StoreStateMachine;
  /** Injects faults: `failNext(…)`, `hold()`, `holdBack()`. */
  readonly proposer: MemoryProposer;
  /** Elects this manager and begins its term; another manager's term ends. */
  readonly beginTerm: () => Promise<StoreTerm>;
  /** Ends the term, here and in the log: there is no leader. */
  readonly endTerm: () => void;
}

/** The real store on a log in memory, with a term begun: everything except consensus is as in a manager. */
export function memoryStore(dependencies: MemoryStoreDependencies = {}, options: StoreOptions = {}): MemoryStore {
  const [only] = memoryManagers(1, dependencies, options);
  assert(only !== undefined, "one manager was asked for");
  return only;
}

/**
 * Managers on one log in memory; the first has begun a term.
 *
 * A manager that another's `beginTerm` deposes ends its term when it applies the other's first command, or by `endTerm` of
 * its own store.
 *
 * @param schemas the programs of the managers, where they are not the same
 */
export function memoryManagers(
  count: number,
  dependencies: MemoryStoreDependencies = {},
  options: StoreOptions = {},
  schemas: readonly Schema[] = [],
): MemoryStore[] {
  const { clock = systemClock, random = systemRandom, log = silentLogger, metrics = noMetrics } = dependencies;
  const shared = new MemoryLog();
  const managers = Array.from({ length: count }, (_, at): MemoryStore => {
    const machine = new StoreStateMachine({ metrics, schema: schemas[at] ?? dependencies.schema ?? schema });
    const proposer = new MemoryProposer(machine, shared);
    const store = new Store({ clock, random, machine, proposer, log, metrics }, options);
    return {
      store,
      machine,
      proposer,
      beginTerm: () => store.beginTerm(shared.elect(proposer)),
      endTerm() {
        shared.elect(undefined);
        store.endTerm();
      },
    };
  });
  const [first] = managers;
  // The log in memory has applied it when this returns. It rejects where a test ends the term before the promise settles.
  first?.beginTerm().catch((error: unknown) => log.debug("the first term ended at once", { error: errorText(error) }));
  assert(first?.store.term !== undefined, "the first manager's term is begun");
  return managers;
}
