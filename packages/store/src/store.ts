import {
  abortable,
  assert,
  noMetrics,
  silentLogger,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import { StoreConflict_Kind, StoreResult, type Point, type StoreConflict } from "@warren/api";

import { encodeCommand, encodeReign, type CommandHead } from "./command.ts";
import { notLeader, StoreError, type ConflictKind } from "./errors.ts";
import { isInHistory, newReign, pointOf } from "./history.ts";
import { storeMetrics, type StoreMetrics } from "./metrics.ts";
import { resolveOptions, type StoreOptions } from "./options.ts";
import type { Proposer } from "./proposer.ts";
import type { State } from "./state.ts";
import type { StoreStateMachine, Watch, WatchOptions } from "./state-machine.ts";
import type { TableName } from "./tables.ts";
import { conflict, StoreTransaction, WriteSet, type Transaction } from "./transaction.ts";
import type { View } from "./view.ts";

export interface StoreDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** The one that the proposer's consensus applies commands to. */
  readonly machine: StoreStateMachine;
  readonly proposer: Proposer;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** A term that this manager leads, with its reign: the random number in its first command. */
export interface StoreTerm {
  readonly term: number;
  readonly reign: number;
}

export interface UpdateOptions {
  /** The term that the caller works in; in any other, nothing is written. @default the term at the time of the call */
  readonly term?: number;
  /** Nothing of what `work` writes is proposed: its result is what it would be. @default false */
  readonly dryRun?: boolean;
  /**
   * Whether an outcome that wrote nothing, a value or what `work` threw, is linearizable as well: it is then of a state
   * that has all that any manager had acknowledged before the call, at the cost of the barrier of a read. What is written
   * always is. @default false
   */
  readonly linearizable?: boolean;
}

/** A call of `update` that has not ended. */
interface Pending {
  /** The term at the time of the call; undefined if there was none. */
  readonly term: number | undefined;
  readonly work: (tx: Transaction) => unknown;
  readonly dryRun: boolean;
  /** Whether it passes the barrier before it is given an outcome that wrote nothing. */
  awaitsBarrier: boolean;
  readonly sinceMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  attempts: number;
}

/** The outcome of one run of an update's work; delivered only once the state that it read is committed. */
interface FinishedRun {
  readonly pending: Pending;
  readonly outcome:
    | { readonly kind: "value"; readonly value: unknown }
    | { readonly kind: "error"; readonly error: unknown };
}

/**
 * The cluster's state on this manager: reads of the state as applied here, and transactions, which are applied everywhere.
 *
 * Transactions of this manager run one after the other; those that are called while a command is being committed become
 * the next command together. So one fsync serves many writers, and each transaction reads the writes of those before it.
 */
export class Store {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #machine: StoreStateMachine;
  readonly #proposer: Proposer;
  readonly #log: Logger;
  readonly #metrics: StoreMetrics;
  readonly #options: Required<StoreOptions>;
  #waiting: Pending[] = [];
  #committing = false;
  /** The term of the last `beginTerm`: it has begun once the state is of its reign, and is over once it is of another. */
  #claim: StoreTerm | undefined;

  /** @throws RangeError for options out of range */
  constructor(dependencies: StoreDependencies, options: StoreOptions = {}) {
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#machine = dependencies.machine;
    this.#proposer = dependencies.proposer;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "store" });
    this.#metrics = storeMetrics(dependencies.metrics ?? noMetrics);
    this.#options = resolveOptions(options);
  }

  /** The state as applied here, at one version; it never changes. */
  view(): View {
    return this.#machine.view();
  }

  /** A view that has every command that was applied on any manager before the call. @throws StoreError `STORE_UNAVAILABLE` */
  async read(): Promise<View> {
    await this.barrier();
    return this.view();
  }

  /** Resolves once `view()` has every command that was applied on any manager before the call. @throws StoreError `STORE_UNAVAILABLE` */
  barrier(): Promise<void> {
    return this.#proposer.read();
  }

  /** The point of this manager's state in the cluster's history. */
  point(): Point {
    return pointOf(this.view());
  }

  /** Whether a point is in the history that this manager has applied; after `read()`, in the cluster's. */
  knows(point: Point | undefined): boolean {
    return isInHistory(this.view(), point);
  }

  /** The term that this manager leads and whose first command is applied here. */
  get term(): StoreTerm | undefined {
    return this.#claim?.reign === this.#machine.state.reign ? this.#claim : undefined;
  }

  /**
   * Proposes the first command of a term that this manager leads; resolves once it is applied here. From then on
   * `update` writes, until `endTerm`, the signal, or another manager's reign. Where it is rejected, it can be repeated.
   *
   * @throws StoreError those of `Proposer.propose`, and the signal's reason
   */
  async beginTerm(term: number, signal?: AbortSignal): Promise<StoreTerm> {
    signal?.throwIfAborted();
    const claim: StoreTerm = Object.freeze({ term, reign: newReign(this.#random) });
    const end = (): void => {
      if (this.#claim === claim) this.endTerm();
    };
    this.#claim = claim;
    signal?.addEventListener("abort", end, { once: true });
    try {
      const { schema, level, version: base } = this.#machine.state;
      const command = encodeReign({ schema, level, ...claim, base, at: new Date(this.#clock.now()) });
      const proposed = this.#proposer.propose(command, term);
      const { conflicts } = StoreResult.decode(await (signal === undefined ? proposed : abortable(proposed, signal)));
      if (conflicts.length > 0 || this.term !== claim) throw notLeader(this.#proposer.leader());
      return claim;
    } catch (error) {
      end();
      signal?.removeEventListener("abort", end);
      throw error;
    }
  }

  /** Ends the term: pending updates are rejected with `STORE_NOT_LEADER`. Idempotent. */
  endTerm(): void {
    this.#claim = undefined;
  }

  /** A snapshot and the changes after it, in one step. */
  watch(options: WatchOptions): Watch {
    return this.#machine.watch(options);
  }

  /**
   * Runs `work` and proposes what it wrote as one step; resolves with its result once that is applied here.
   *
   * `work` is synchronous and may run several times: after a conflict it is run again on the new state, at most
   * `maxAttempts` times. What it throws rejects the update, and nothing is written. Without writes nothing is proposed, so
   * that such a call succeeds on any manager.
   *
   * A call belongs to the term in which it was made: in a later one nothing is written.
   *
   * @throws StoreError `STORE_CONFLICT`, `STORE_NAME_TAKEN`, `STORE_TOO_LARGE`, and those of `Proposer.propose`; with
   *   `linearizable` those of `Proposer.read` too
   */
  update<R>(work: (tx: Transaction) => R, options: UpdateOptions = {}): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    this.#waiting.push({
      work,
      dryRun: options.dryRun ?? false,
      term: options.term ?? this.term?.term,
      awaitsBarrier: options.linearizable ?? false,
      sinceMs: this.#clock.monotonic(),
      resolve: resolve as (value: unknown) => void,
      reject,
      attempts: 0,
    });
    this.#wake();
    return promise;
  }

  #wake(): void {
    if (this.#committing) return;
    this.#committing = true;
    // After the other calls of this turn of the event loop, so that they share the command.
    queueMicrotask(() => void this.#commit());
  }

  async #commit(): Promise<void> {
    let limit = this.#options.maxUpdatesPerCommand;
    while (this.#waiting.length > 0) {
      const { ran, writes, head } = this.#run(limit);
      limit = this.#options.maxUpdatesPerCommand;
      if (writes.size === 0) {
        const unconfirmed = ran.filter(isUnconfirmed);
        this.#deliver(ran.filter((run) => !isUnconfirmed(run)));
        if (unconfirmed.length > 0) void this.#runBehindBarrier(unconfirmed.map(({ pending }) => pending));
        continue;
      }
      let command: Uint8Array;
      try {
        command = encodeCommand(head, writes.values());
      } catch (error) {
        // A value that no message can have, as a number beyond its field, is a bug of one caller: the others go on.
        limit = this.#split(ran, error);
        continue;
      }
      if (command.length > this.#options.maxCommandBytes) {
        limit = this.#split(ran, tooLarge(command.length, this.#options.maxCommandBytes));
        continue;
      }
      try {
        const { conflicts } = StoreResult.decode(await this.#proposer.propose(command, head.term));
        if (conflicts[0] === undefined) this.#deliver(ran);
        else this.#retry(ran, conflicts[0]);
      } catch (error) {
        for (const { pending } of ran) this.#fail(pending, error);
      }
    }
    this.#committing = false;
  }

  /**
   * Runs updates again once the barrier is passed. A state that was read before it may lack what a later leader, of which
   * this manager has not heard, has acknowledged.
   */
  async #runBehindBarrier(updates: readonly Pending[]): Promise<void> {
    try {
      await this.barrier();
    } catch (error) {
      for (const pending of updates) this.#fail(pending, error);
      return;
    }
    for (const pending of updates) pending.awaitsBarrier = false;
    this.#waiting.push(...updates);
    this.#wake();
  }

  /** Runs pending updates, as many as fit one command. */
  #run(limit: number): { readonly ran: readonly FinishedRun[]; readonly writes: WriteSet; readonly head: CommandHead } {
    const ran: FinishedRun[] = [];
    const writes = new WriteSet();
    const deferred: Pending[] = [];
    let state: State = this.#machine.state;
    const { term } = this;
    const now = this.#clock.now();
    const { schema, level, version: base } = state;
    const refused = (): StoreError => notLeader(this.#proposer.leader());
    const epoch = term === undefined ? refused() : Object.freeze({ reign: term.reign, index: base });
    const head = { schema, level, at: new Date(now), term: term?.term ?? 0, reign: term?.reign ?? 0, base };
    while (this.#waiting.length > 0 && ran.length < limit && writes.size < this.#options.maxWritesPerCommand) {
      const pending = this.#waiting.shift() as Pending;
      const inTerm = pending.term === undefined || pending.term === term?.term;
      const tx = new StoreTransaction(state, writes, {
        random: this.#random,
        now,
        level,
        epoch: inTerm ? epoch : refused(),
      });
      let outcome = attempt(pending.work, tx);
      const after = tx.close();
      if (tx.refusal !== undefined) outcome = { kind: "error", error: tx.refusal };
      if (tx.deferred) {
        deferred.push(pending);
        continue;
      }
      if (outcome.kind === "value" && !pending.dryRun) {
        for (const write of tx.writes) writes.add(write);
        state = after;
      }
      ran.push({ pending, outcome });
    }
    this.#waiting.unshift(...deferred);
    return { ran, writes, head };
  }

  #retry(ran: readonly FinishedRun[], { table, id, kind }: StoreConflict): void {
    this.#log.debug("conflict", { table, id, updates: ran.length });
    const again: Pending[] = [];
    for (const { pending } of ran) {
      pending.attempts += 1;
      if (pending.attempts < this.#options.maxAttempts) again.push(pending);
      else this.#fail(pending, conflict((table as TableName) || undefined, id, conflictKinds[kind], pending.attempts));
    }
    this.#metrics.retries.add(again.length);
    this.#waiting.unshift(...again);
  }

  /** There is no such command: half as many updates are tried next, and a single one is refused with this error. */
  #split(ran: readonly FinishedRun[], error: unknown): number {
    const [first] = ran;
    assert(first !== undefined, "a command without updates");
    if (ran.length === 1) {
      this.#fail(first.pending, error);
      return this.#options.maxUpdatesPerCommand;
    }
    this.#waiting.unshift(...ran.map(({ pending }) => pending));
    return Math.ceil(ran.length / 2);
  }

  #deliver(ran: readonly FinishedRun[]): void {
    this.#metrics.updatesPerCommand.observe(ran.length);
    for (const { pending, outcome } of ran) {
      if (outcome.kind === "error") {
        this.#fail(pending, outcome.error);
        continue;
      }
      this.#metrics.updates.add(1, { result: "ok" });
      this.#metrics.updateSeconds.observe((this.#clock.monotonic() - pending.sinceMs) / 1_000);
      pending.resolve(outcome.value);
    }
  }

  #fail(pending: Pending, error: unknown): void {
    this.#metrics.updates.add(1, { result: StoreError.is(error) ? error.code : "error" });
    pending.reject(error);
  }
}

function tooLarge(bytes: number, limit: number): StoreError {
  const text = `the transaction has ${bytes} bytes, and a command at most ${limit}: write less in one transaction`;
  return new StoreError({ code: "STORE_TOO_LARGE", bytes, limit }, text);
}

const conflictKinds: { readonly [kind in StoreConflict_Kind]: ConflictKind } = {
  [StoreConflict_Kind.UNSPECIFIED]: "stale",
  [StoreConflict_Kind.STALE]: "stale",
  [StoreConflict_Kind.MISSING]: "missing",
  [StoreConflict_Kind.ID_TAKEN]: "id-taken",
  [StoreConflict_Kind.NAME_TAKEN]: "name-taken",
  [StoreConflict_Kind.OVERTAKEN]: "overtaken",
};

/** Whether an outcome that wrote nothing may be of a state that is not current. A refusal to write is of this manager alone. */
function isUnconfirmed({ pending, outcome }: FinishedRun): boolean {
  return pending.awaitsBarrier && !(outcome.kind === "error" && StoreError.is(outcome.error, "STORE_NOT_LEADER"));
}

function attempt(work: Pending["work"], tx: StoreTransaction): FinishedRun["outcome"] {
  try {
    const value = work(tx);
    assert(!isThenable(value), "a transaction's work is synchronous; await before or after it");
    return { kind: "value", value };
  } catch (error) {
    return { kind: "error", error };
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
