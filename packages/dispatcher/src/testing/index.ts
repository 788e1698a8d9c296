/**
 * For tests against a dispatcher: a real one on a store in memory, which leads.
 *
 *     await using manager = await memoryDispatcher();
 *     const session = manager.dispatcher.handlers.session({ nodeId, description }, context);
 */
import { Cluster, ClusterSpec, Network, type Incarnation } from "@warren/api";
import { level } from "@warren/api/model";
import { systemClock, systemRandom, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import type { Store } from "@warren/store";
import { memoryStore, type MemoryStore } from "@warren/store/testing";

import { Dispatcher } from "../dispatcher.ts";
import type { DispatcherOptions } from "../options.ts";

export interface MemoryDispatcherDependencies {
  /** @default systemClock */
  readonly clock?: Clock;
  /** @default systemRandom */
  readonly random?: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** The store to use, such as one of several on a shared log. @default a new one */
  readonly made?: MemoryStore;
}

export interface MemoryDispatcher extends MemoryStore, AsyncDisposable {
  readonly dispatcher: Dispatcher;
  /** Serves in the store's present term. Returns a function that ends it, as the loss of leadership does. */
  lead(): () => Promise<void>;
}

/** A dispatcher on a store in memory with a cluster and a network `net` named `default`. Call `lead()` to serve. */
export async function memoryDispatcher(
  dependencies: MemoryDispatcherDependencies = {},
  options: DispatcherOptions = {},
): Promise<MemoryDispatcher> {
  const { clock = systemClock, random = systemRandom, log, metrics } = dependencies;
  const made = dependencies.made ?? memoryStore({ clock, random });
  const { store } = made;
  const extras = { ...(log !== undefined && { log }), ...(metrics !== undefined && { metrics }) };
  const dispatcher = new Dispatcher({ clock, random, store, ...extras }, options);
  if (store.view().cluster === undefined) await createCluster(store);
  const runs: (() => Promise<void>)[] = [];
  return {
    ...made,
    dispatcher,
    lead() {
      const { term } = store;
      if (term === undefined) throw new Error("the store has begun no term: call beginTerm()");
      const stop = new AbortController();
      const run = dispatcher.run(term, stop.signal);
      const end = (): Promise<void> => {
        stop.abort();
        return run;
      };
      runs.push(end);
      return end;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(runs.map((end) => end()));
    },
  };
}

/** Creates the cluster and the network `default`, as `warren cluster init` does. */
export async function createCluster(
  store: Store,
  incarnation: Incarnation = { counter: 1, id: "first" },
): Promise<void> {
  await store.update((tx) => {
    tx.create("clusters", Cluster.create({ meta: { id: "cluster" }, spec: ClusterSpec.create(), incarnation, level }));
    tx.create("networks", Network.create({ meta: { id: "net" }, spec: { name: "default" } }));
  });
}
