/** Work that a manager does while it leads: started with each term, ended with it, and started again where it failed. */
import { aborted, Backoff, delay, serially, type Clock, type Logger, type Random } from "@warren/std";
import type { Store, StoreTerm } from "@warren/store";

/** A term in which this manager leads, once it has applied an entry of that term. `RaftNode.onLeaderTerm` reports them. */
export interface LeaderTerm {
  readonly term: number;
  /** Aborted when this manager no longer leads that term. */
  readonly signal: AbortSignal;
}

/**
 * Starts a leader's work for one term. Parts that run in the background call `failed` when they end with an error: all of
 * the work is then ended and started again. Later calls, and those after the term, have no effect.
 */
export type LeaderWork = (
  term: StoreTerm,
  signal: AbortSignal,
  failed: (error: unknown) => void,
) => AsyncDisposable | Promise<AsyncDisposable>;

export interface LeaderWorkDependencies {
  /** Calls the listener with each term of this manager, in order; returns what ends that. */
  readonly onLeaderTerm: (listener: (term: LeaderTerm) => void) => () => void;
  readonly store: Pick<Store, "beginTerm" | "endTerm">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Calls `start` for each term in which this manager leads. Its result is disposed of when the term ends, before the next
 * term's work begins. If `start` rejects, or the work fails later, the error is logged, and `start` is retried after
 * 100 ms at first, then up to 8 s, while the term lasts: a leader with a part that has ended would lead nothing.
 *
 * I1: nothing is written before the term's first command is applied, and nothing with another term's number: the store
 *     refuses it.
 */
export function whileLeading(
  { onLeaderTerm, store, clock, random, log }: LeaderWorkDependencies,
  start: LeaderWork,
): AsyncDisposable {
  const inTurn = serially();
  const closing = new AbortController();
  const lead = async ({ term, signal }: LeaderTerm): Promise<void> => {
    const ending = AbortSignal.any([signal, closing.signal]);
    const backoff = new Backoff(random);
    while (!ending.aborted) {
      let leads = false;
      try {
        const begun = await store.beginTerm(term, ending); // I1
        const failure = Promise.withResolvers<never>();
        failure.promise.catch(() => undefined); // `start` may reject before anything waits for it.
        await using _work = await start(begun, ending, (error) => failure.reject(error));
        leads = true;
        log.info("leads", { term });
        await Promise.race([aborted(ending), failure.promise]);
      } catch (error) {
        if (ending.aborted) break;
        const what = leads ? "failed, and is started again" : "could not be started, and is retried";
        log.error(`a leader's work ${what}`, { term, error });
        await delay(clock, backoff.next(), ending).catch((reason: unknown) => {
          if (!ending.aborted) throw reason;
        });
      }
    }
    store.endTerm();
    log.info("leadership ended", { term });
  };
  const stop = onLeaderTerm((term) => {
    void inTurn(() => lead(term)).catch((error: unknown) => log.error("a leader's work could not be ended", { error }));
  });
  return {
    async [Symbol.asyncDispose]() {
      stop();
      closing.abort(new DOMException("closed", "AbortError"));
      await inTurn(async () => undefined);
    },
  };
}
