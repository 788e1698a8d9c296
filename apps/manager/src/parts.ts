/** A member's parts, joined: what it serves, and what it runs while it leads. */
import { Dispatcher } from "@warren/dispatcher";
import type { LeaderWork } from "@warren/membership";
import { startOrchestrator } from "@warren/orchestrator";
import { TaskGroup, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import type { Store } from "@warren/store";

export interface Base {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What a member serves, and what it runs while it leads. */
export function joinParts(base: Base, store: Store): { readonly work: Dispatcher; readonly lead: LeaderWork } {
  const dispatcher = new Dispatcher({ store, ...base });
  const lead: LeaderWork = (term, _signal, failed) => {
    const group = new TaskGroup((_name, error) => failed(error));
    group.run("dispatcher", (signal) => dispatcher.run(term, signal));
    const orchestrator = startOrchestrator({ store, ...base });
    return {
      async [Symbol.asyncDispose]() {
        await Promise.all([group.close(), orchestrator.close()]);
      },
    };
  };
  return { work: dispatcher, lead };
}
