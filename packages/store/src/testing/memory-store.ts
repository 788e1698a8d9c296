import {
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
import { StoreStateMachine } from "../state-machine.ts";
import { Store } from "../store.ts";
import { MemoryProposer } from "./memory-proposer.ts";

export interface MemoryStoreDependencies {
  /** @default systemClock */
  readonly clock?: Clock;
  /** @default systemRandom */
  readonly random?: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

export interface MemoryStore {
  readonly store: Store;
  readonly machine: StoreStateMachine;
  /** Its switches: `leader`, `failNext(…)`, `hold()`. */
  readonly proposer: MemoryProposer;
}

/** The real store on a log in memory: everything but consensus is what a manager runs. */
export function memoryStore(dependencies: MemoryStoreDependencies = {}, options: StoreOptions = {}): MemoryStore {
  const { clock = systemClock, random = systemRandom, log = silentLogger, metrics = noMetrics } = dependencies;
  const machine = new StoreStateMachine({ metrics });
  const proposer = new MemoryProposer(machine);
  const store = new Store({ clock, random, machine, proposer, log, metrics }, options);
  return { store, machine, proposer };
}
