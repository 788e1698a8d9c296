import {
  TaskGroup,
  abortable,
  logFailures,
  noMetrics,
  silentLogger,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import type {
  AssignmentsMessage,
  AssignmentsRequest,
  DispatcherDefinition,
  HeartbeatRequest,
  HeartbeatResponse,
  LeaseReport,
  Relay,
  RelayDown,
  RelayUp,
  ReportRequest,
  ReportResponse,
  SessionMessage,
  SessionRequest,
} from "@warren/api";
import { mustSpeakFor, type CallContext, type Handlers } from "@warren/api/server";
import { leaseKey } from "@warren/api/model";
import { StoreError, type Store, type StoreTerm, type Transaction } from "@warren/store";

import { heldDigests } from "./assignment-stream.ts";
import { Assignments } from "./assignments.ts";
import { callerGone, noAssignments, notLeading, streamReplaced, wrong } from "./errors.ts";
import { isOfThisHistory } from "./history.ts";
import { dispatcherMetrics, type DispatcherMetrics } from "./metrics.ts";
import { checkDescription, register } from "./node-status.ts";
import { resolveOptions, type DispatcherOptions } from "./options.ts";
import { relayOf, Relays } from "./relays.ts";
import { batchesOf, checkReports } from "./report.ts";
import { Sessions } from "./sessions.ts";
import { joined, storeReports, type ReportOutcome } from "./store-report.ts";

export interface DispatcherDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** Leases of another history that a line of the log names. */
const loggedLeases = 10;

/** State of one term that this manager leads. */
interface Leadership {
  readonly term: StoreTerm;
  readonly signal: AbortSignal;
  readonly sessions: Sessions;
  readonly assignments: Assignments;
  readonly relays: Relays;
  /** Resolves when the stored nodes are marked as unknown; no session is accepted before. */
  readonly started: PromiseWithResolvers<void>;
}

/**
 * The manager's side of node sessions. It serves only while `run` runs, for a term that this manager leads. Outside it
 * every call fails with `API_UNAVAILABLE`, so that the worker tries another manager.
 */
export class Dispatcher {
  readonly #dependencies: DispatcherDependencies;
  readonly #options: Required<DispatcherOptions>;
  readonly #log: Logger;
  readonly #metrics: DispatcherMetrics;
  #lead: Leadership | undefined;
  /** For `bind(DispatcherDefinition, …)` of `@warren/api/server`. */
  readonly handlers: Handlers<DispatcherDefinition>;
  /** Calls to nodes, which `@warren/control` makes for its callers. */
  readonly relay: Relay;

  /** @throws RangeError for options out of range */
  constructor(dependencies: DispatcherDependencies, options: DispatcherOptions = {}) {
    this.#dependencies = dependencies;
    this.#options = resolveOptions(options);
    this.#log = (dependencies.log ?? silentLogger).child({ component: "dispatcher" });
    this.#metrics = dispatcherMetrics(dependencies.metrics ?? noMetrics);
    this.handlers = {
      session: (request, context) => this.#session(request, context),
      heartbeat: (request, context) => this.#heartbeat(request, context),
      report: (request, context) => this.#report(request, context),
      assignments: (request, context) => this.#assignments(request, context),
      relay: (requests, context) => this.#relay(requests, context),
    };
    this.relay = relayOf(() => this.#leading().relays);
  }

  /**
   * Serves workers for a term that this manager has begun; resolves when `signal` is aborted or the term is over. Every
   * session, stream and relay of the term then ends with `API_UNAVAILABLE`.
   */
  async run(term: StoreTerm, signal: AbortSignal): Promise<void> {
    const { clock, random, store } = this.#dependencies;
    const deposed = new AbortController();
    const isOver = (): boolean => store.term?.reign !== term.reign;
    const failed = logFailures(this.#log);
    const onFailure = (name: string, error: unknown): void => (isOver() ? deposed.abort() : failed(name, error));
    await using group = new TaskGroup(onFailure, AbortSignal.any([signal, deposed.signal]));
    const background = (name: string, work: (ended: AbortSignal) => Promise<void>): void => group.run(name, work);
    const shared = { clock, random, metrics: this.#metrics };
    const sessions = new Sessions({ ...shared, store, term, log: this.#log, background }, this.#options);
    const relays = new Relays({ ...shared, sessionOf: (nodeId) => sessions.ofNode(nodeId) }, this.#options);
    const assignments = new Assignments({ clock, point: () => store.point() }, this.#options);
    const started = Promise.withResolvers<void>();
    started.promise.catch(() => undefined); // Also rejected when no session waits for it.
    const lead: Leadership = { term, signal: group.signal, sessions, assignments, relays, started };
    this.#lead = lead;
    try {
      await sessions.start(group.signal);
      this.#log.info("serves workers", { term: term.term });
      while (!group.signal.aborted && !isOver()) await this.#follow(lead);
    } catch (error) {
      if (!group.signal.aborted && !(isOver() && StoreError.is(error))) throw error;
    } finally {
      if (isOver()) this.#log.info("the term is over", { term: term.term });
      // The next term may have begun.
      if (this.#lead === lead) this.#lead = undefined;
      started.reject(notLeading());
      sessions.stop(notLeading());
      assignments.stop(notLeading());
    }
  }

  /** Follows the state from a new snapshot. Returns when a new snapshot is needed, or the term is over. */
  async #follow({ term, signal, sessions, assignments, started }: Leadership): Promise<void> {
    const { store } = this.#dependencies;
    const { changes } = store.watch({ signal });
    assignments.resync(store.view());
    sessions.resync();
    started.resolve();
    try {
      for await (const batch of changes) {
        // L13: a deposed leader does not send the decisions of its successor.
        if (store.term?.reign !== term.reign) return;
        assignments.follow(store.view(), batch.changes);
        sessions.follow(batch.changes);
      }
    } catch (error) {
      if (!StoreError.is(error, "STORE_WATCH_LAGGED")) throw error;
      this.#log.warn("fell behind the changes of the state; resyncs all of it");
    }
  }

  async *#session(request: SessionRequest, context: CallContext): AsyncGenerator<SessionMessage, void, void> {
    const { started, sessions } = this.#leading();
    mustSpeakFor(context.identity, request.nodeId);
    await abortable(started.promise, context.signal);
    yield* sessions.open(request, context.signal);
  }

  async #heartbeat({ nodeId, sessionId }: HeartbeatRequest, context: CallContext): Promise<HeartbeatResponse> {
    mustSpeakFor(context.identity, nodeId);
    return { periodMs: this.#leading().sessions.heartbeat(nodeId, sessionId) };
  }

  async #report(
    { nodeId, sessionId, leases, description }: ReportRequest,
    context: CallContext,
  ): Promise<ReportResponse> {
    const { store } = this.#dependencies;
    const { sessions, assignments } = this.#leading();
    mustSpeakFor(context.identity, nodeId);
    checkReports(leases);
    if (description !== undefined) checkDescription(description);
    const session = sessions.find(nodeId, sessionId);
    // Reports of several nodes that arrive during a log write share the next one: see Store.update.
    const work = (batch: readonly LeaseReport[], isFirst: boolean) => {
      return (tx: Transaction): ReportOutcome => {
        if (session.signal.aborted) throw session.signal.reason;
        if (isFirst && description !== undefined)
          register(tx, nodeId, description, session.historyFault, new Date(tx.now));
        return storeReports(tx, nodeId, batch);
      };
    };
    const outcomes = await Promise.all(batchesOf(leases).map((batch, index) => store.update(work(batch, index === 0))));
    const { stored, stale, refused, records, unknown } = joined(outcomes);
    // L10: leases of this history that the state lacks are gone. L14: of other histories nothing is known.
    const gone = unknown.filter(({ epoch }) => isOfThisHistory(store, epoch));
    const kept = unknown.filter(({ epoch }) => !isOfThisHistory(store, epoch));
    assignments.removeLeases(
      nodeId,
      gone.map(({ slotId, epoch }) => leaseKey(slotId, epoch)),
    );
    const counts = { stored, stale, refused: refused.length, removed: gone.length, kept: kept.length };
    for (const [result, count] of Object.entries(counts)) this.#metrics.reports.add(count, { result });
    for (const { why } of refused) this.#log.warn("a report is refused", { node: nodeId, why });
    if (kept.length > 0)
      this.#log.warn("leases of another history are kept as unknown", {
        node: nodeId,
        leases: kept.length,
        first: kept.slice(0, loggedLeases).map(({ slotId, epoch, versionId, address }) => ({
          lease: leaseKey(slotId, epoch),
          version: versionId,
          address,
        })),
      });
    return { refused: [...refused], records: [...records] };
  }

  async *#assignments(
    { nodeId, sessionId, held }: AssignmentsRequest,
    context: CallContext,
  ): AsyncGenerator<AssignmentsMessage, void, void> {
    const { sessions, assignments } = this.#leading();
    mustSpeakFor(context.identity, nodeId);
    const session = sessions.find(nodeId, sessionId);
    // L13, L14.
    if (session.historyFault !== "") throw noAssignments(nodeId, session.historyFault);
    const stream = assignments.open(this.#dependencies.store.view(), nodeId, heldDigests(held), streamReplaced());
    const onEnded = (): void => stream.end(session.signal.reason as Error);
    const onGone = (): void => stream.end(callerGone());
    session.signal.addEventListener("abort", onEnded, { once: true });
    context.signal.addEventListener("abort", onGone, { once: true });
    try {
      for await (const message of stream.messages()) {
        this.#metrics.assignmentMessages.add(1, { type: message.appliesTo === "" ? "complete" : "incremental" });
        this.#metrics.assignmentChanges.add(message.changes.length);
        yield message;
      }
    } finally {
      session.signal.removeEventListener("abort", onEnded);
      context.signal.removeEventListener("abort", onGone);
      onGone();
    }
  }

  async *#relay(requests: AsyncIterable<RelayUp>, context: CallContext): AsyncGenerator<RelayDown, void, void> {
    const { sessions, relays } = this.#leading();
    const up = requests[Symbol.asyncIterator]();
    const first = await up.next();
    const message = first.done === true ? undefined : first.value.message;
    if (message?.$case !== "open") throw wrong("open", "is missing; it is the first message of a relay");
    const { nodeId, sessionId, relayId } = message.value;
    mustSpeakFor(context.identity, nodeId);
    sessions.find(nodeId, sessionId);
    yield* relays.serve(relayId, nodeId, up, context.signal);
  }

  /** @throws ApiError `API_UNAVAILABLE` on a deposed leader, even before its `run` has returned */
  #leading(): Leadership {
    const lead = this.#lead;
    if (lead === undefined || this.#dependencies.store.term?.reign !== lead.term.reign) throw notLeading();
    return lead;
  }
}
