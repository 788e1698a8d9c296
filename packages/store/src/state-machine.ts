import { AsyncQueue, noMetrics, type Metrics } from "@warren/std";
import { StoreResult } from "@warren/api";

import { difference, type ChangeBatch, type StoreChange } from "./change.ts";
import { applyCommand, decodeCommand } from "./command.ts";
import { StoreError } from "./errors.ts";
import { checkProgramLevel, type Program } from "./level.ts";
import { storeMetrics, type StoreMetrics } from "./metrics.ts";
import { schema, type Schema } from "./schema.ts";
import { readSnapshot, writeSnapshot } from "./snapshot.ts";
import { State } from "./state.ts";
import type { TableName } from "./tables.ts";
import { StateView, type View } from "./view.ts";

export interface WatchOptions {
  /** Only changes of these tables. @default all */
  readonly tables?: readonly TableName[];
  /** Unread batches past which the watch is ended with `STORE_WATCH_LAGGED`. @default 10000 */
  readonly limit?: number;
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

export interface Watch {
  /** The state that the changes follow. */
  readonly view: View;
  /** Can be iterated once. Ends when the signal is aborted. @throws StoreError `STORE_WATCH_LAGGED` */
  readonly changes: AsyncIterable<ChangeBatch>;
}

export interface StateMachineOptions {
  readonly metrics?: Metrics;
  /** The levels and tables of the program. @default those of this program */
  readonly schema?: Schema;
  /** The manager's name, for messages. */
  readonly name?: string;
}

/** A command as it stands in the log. */
export interface LogCommand {
  readonly index: number;
  /** The term of the log entry. */
  readonly term: number;
  readonly data: Uint8Array;
}

interface Watcher {
  readonly tables: ReadonlySet<TableName> | undefined;
  readonly limit: number;
  readonly queue: AsyncQueue<ChangeBatch>;
  readonly end: () => void;
}

const defaultWatchLimit = 10_000;

/**
 * The replicated state machine; `apply`, `snapshot` and `restore` have the shape of `@warren/raft`'s StateMachine.
 *
 * Every member applies the same commands in the same order and has the same state, whichever snapshot it began with.
 */
export class StoreStateMachine {
  readonly #metrics: StoreMetrics;
  readonly #watchers = new Set<Watcher>();
  readonly #program: Program & { readonly schema: Schema };
  #state: State;
  #view: View | undefined;

  constructor({ metrics, schema: program = schema, name = "this manager" }: StateMachineOptions = {}) {
    this.#metrics = storeMetrics(metrics ?? noMetrics);
    this.#program = { name, schema: program };
    this.#state = State.empty(program);
  }

  /** The current state. */
  view(): View {
    this.#view ??= new StateView(this.#state);
    return this.#view;
  }

  /** For the store's transactions. */
  get state(): State {
    return this.#state;
  }

  /** A snapshot of the state and the changes after it, without a gap between them. */
  watch({ tables, limit = defaultWatchLimit, signal }: WatchOptions): Watch {
    const queue = new AsyncQueue<ChangeBatch>(limit);
    const end = (): void => {
      signal.removeEventListener("abort", end);
      this.#watchers.delete(watcher);
      this.#metrics.watchers.set(this.#watchers.size);
      queue.drain();
      queue.close();
    };
    const watcher: Watcher = { tables: tables === undefined ? undefined : new Set(tables), limit, queue, end };
    const view = this.view();
    if (signal.aborted) {
      queue.close();
    } else {
      signal.addEventListener("abort", end, { once: true });
      this.#watchers.add(watcher);
      this.#metrics.watchers.set(this.#watchers.size);
    }
    return { view, changes: endingWith(queue, end) };
  }

  /**
   * @throws StoreError for a command that this program can't read, and for one that raises the active level above the
   *   program's: the member must end, since its state would differ from the others'
   */
  apply(batch: readonly LogCommand[]): Uint8Array[] {
    return batch.map((entry) => {
      const { state, result, changes } = applyCommand(this.#state, decodeCommand(entry.data, this.#program), entry);
      this.#metrics.commands.add(1, { result: result.conflicts.length > 0 ? "conflict" : "applied" });
      checkProgramLevel(this.#program, state.level);
      if (state !== this.#state) this.#publish(state, changes);
      return StoreResult.encode(result).finish();
    });
  }

  /** The state as of this call. */
  snapshot(): AsyncIterable<Uint8Array> {
    return writeSnapshot(this.#state);
  }

  /** Replaces the state, once `chunks` has been read to its end; before that, or if it throws, nothing changes. */
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const state = await readSnapshot(chunks, this.#program);
    checkProgramLevel(this.#program, state.level);
    this.#publish(state, this.#watchers.size === 0 ? [] : difference(this.#state, state));
  }

  #publish(state: State, changes: readonly StoreChange[]): void {
    this.#state = state;
    this.#view = undefined;
    this.#metrics.version.set(state.version);
    for (const { size, definition } of state.tables()) this.#metrics.objects.set(size, { table: definition.name });
    for (const watcher of this.#watchers) {
      const { tables, queue, limit } = watcher;
      const wanted = tables === undefined ? changes : changes.filter(({ table }) => tables.has(table));
      if (wanted.length === 0 || queue.push({ version: state.version, changes: wanted })) continue;
      this.#metrics.lagged.add();
      queue.fail(
        new StoreError(
          { code: "STORE_WATCH_LAGGED", limit },
          `the watch was ended, since more than ${limit} batches of changes were unread; watch again from a new snapshot`,
        ),
      );
      watcher.end();
    }
  }
}

/** The queue's values; `end` is called when the reader stops, for whatever reason. */
async function* endingWith(queue: AsyncQueue<ChangeBatch>, end: () => void): AsyncGenerator<ChangeBatch, void, void> {
  try {
    yield* queue;
  } finally {
    end();
  }
}
