import { Changes } from "./changes.ts";
import type { Clock, Timer } from "./clock.ts";

export interface MergeOptions {
  /**
   * For sources without an end: a source that has not answered for `waitMs` counts as caught up, and the merge no longer waits
   * for it. Without `follow` the merge waits for every source that has not ended.
   */
  readonly follow?: { readonly clock: Clock; readonly waitMs: number };
  /**
   * `at-once`: the first failure of a source is thrown in place of the values that others still have. `last`: a failed
   * source counts as ended, and the first failure is thrown when all sources have ended.
   *
   * @default "at-once"
   */
  readonly failures?: "at-once" | "last";
}

interface Source<T> {
  readonly iterator: AsyncIterator<T, unknown>;
  head: { readonly value: T } | undefined;
  state: "idle" | "asked" | "ended";
  caughtUp: boolean;
}

/**
 * Merges several sources, each sorted by `compare`, into one sorted stream. Of equal values those of the earlier source come
 * first. One value of each source is held; leaving the loop asks every source to end and does not wait for it.
 */
export async function* mergeSorted<T>(
  sources: readonly AsyncIterable<T, unknown>[],
  compare: (a: T, b: T) => number,
  { follow, failures = "at-once" }: MergeOptions = {},
): AsyncGenerator<T, void, void> {
  const all = sources.map((source): Source<T> => ({
    iterator: source[Symbol.asyncIterator](),
    head: undefined,
    state: "idle",
    caughtUp: false,
  }));
  const changes = new Changes();
  let failure: { readonly error: unknown } | undefined;
  let timer: Timer | undefined;
  const ask = (source: Source<T>): void => {
    source.state = "asked";
    source.iterator
      .next()
      .then(
        (next) => {
          source.state = next.done === true ? "ended" : "idle";
          if (next.done !== true) source.head = { value: next.value };
        },
        (error: unknown) => {
          source.state = "ended";
          failure ??= { error };
        },
      )
      .finally(() => changes.notify());
  };
  const catchUp = (): void => {
    timer = undefined;
    for (const source of all) source.caughtUp ||= source.state === "asked";
    changes.notify();
  };
  try {
    for (;;) {
      if (failure !== undefined && failures === "at-once") throw failure.error;
      for (const source of all) if (source.state === "idle" && source.head === undefined) ask(source);
      const seen = changes.count;
      const late = all.some(({ state, caughtUp }) => state === "asked" && !caughtUp);
      const first = late ? undefined : least(all, compare);
      if (first !== undefined) {
        timer?.cancel();
        timer = undefined;
        const { value } = first.head as { readonly value: T };
        first.head = undefined;
        yield value;
        continue;
      }
      if (all.every(({ state, head }) => state === "ended" && head === undefined)) break;
      if (late && follow !== undefined) timer ??= follow.clock.setTimeout(catchUp, follow.waitMs);
      await changes.after(seen);
    }
  } finally {
    timer?.cancel();
    for (const { iterator } of all) iterator.return?.()?.then(undefined, () => undefined);
  }
  if (failure !== undefined) throw failure.error;
}

function least<T>(sources: readonly Source<T>[], compare: (a: T, b: T) => number): Source<T> | undefined {
  let first: Source<T> | undefined;
  for (const source of sources) {
    if (source.head === undefined) continue;
    if (first?.head === undefined || compare(source.head.value, first.head.value) < 0) first = source;
  }
  return first;
}
