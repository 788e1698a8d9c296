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
  RelayDown,
  RelayUp,
  SessionMessage,
  SessionRequest,
  UpdateTaskStatusRequest,
  UpdateTaskStatusResponse,
} from "@warren/api";
import { localIdentity, type CallContext, type Handlers } from "@warren/api/server";
import { StoreError, type Store } from "@warren/store";

import { Assignments } from "./assignments.ts";
import { callerGone, notLeading, notYourself, streamReplaced, wrong } from "./errors.ts";
import { dispatcherMetrics, type DispatcherMetrics } from "./metrics.ts";
import { resolveOptions, type DispatcherOptions } from "./options.ts";
import { relayOf, Relays, type Relay } from "./relays.ts";
import { Sessions } from "./sessions.ts";
import { checkUpdates, storeStatuses } from "./task-status.ts";

export interface DispatcherDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** What lives while this manager leads. */
interface Lead {
  readonly signal: AbortSignal;
  readonly sessions: Sessions;
  readonly assignments: Assignments;
  readonly relays: Relays;
  /** Resolves when the nodes that were there have been marked; no session is taken before. */
  readonly started: PromiseWithResolvers<void>;
}

/**
 * The manager's side of its workers. It serves while `run` runs, which is while this manager leads; otherwise every
 * call is refused with `API_UNAVAILABLE`, so that the worker tries another manager.
 */
export class Dispatcher {
  readonly #dependencies: DispatcherDependencies;
  readonly #options: Required<DispatcherOptions>;
  readonly #log: Logger;
  readonly #metrics: DispatcherMetrics;
  #lead: Lead | undefined;
  /** For `bind(DispatcherDefinition, …)` of `@warren/api/server`. */
  readonly handlers: Handlers<DispatcherDefinition>;
  /** What `@warren/control` asks of nodes on behalf of its callers. */
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
      updateTaskStatus: (request, context) => this.#updateTaskStatus(request, context),
      assignments: (request, context) => this.#assignments(request, context),
      relay: (requests, context) => this.#relay(requests, context),
    };
    this.relay = relayOf(() => this.#leading().relays);
  }

  /**
   * Serves workers until `signal` is aborted, which is when this manager no longer leads or stops; every session,
   * stream and relay then ends with `API_UNAVAILABLE`. Not to be called again before it has resolved.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, store } = this.#dependencies;
    await using group = new TaskGroup(logFailures(this.#log), signal);
    const sessions = new Sessions(
      {
        clock,
        random,
        store,
        log: this.#log,
        metrics: this.#metrics,
        background: (name, work) => group.run(name, work),
      },
      this.#options,
    );
    const relays = new Relays(
      { clock, random, metrics: this.#metrics, sessionOf: (nodeId) => sessions.ofNode(nodeId) },
      this.#options,
    );
    const assignments = new Assignments(clock, this.#options);
    const started = Promise.withResolvers<void>();
    started.promise.catch(() => undefined); // Told to who waits for it, if any.
    const lead: Lead = { signal: group.signal, sessions, assignments, relays, started };
    this.#lead = lead;
    try {
      await sessions.start(group.signal);
      this.#log.info("serves workers");
      while (!group.signal.aborted) await this.#follow(lead);
    } catch (error) {
      if (!group.signal.aborted) throw error;
    } finally {
      this.#lead = undefined;
      started.reject(notLeading());
      sessions.stop(notLeading());
      assignments.stop(notLeading());
    }
  }

  /** Follows the state from a new snapshot; returns when that must be taken again. */
  async #follow({ signal, sessions, assignments, started }: Lead): Promise<void> {
    const { store } = this.#dependencies;
    const { changes } = store.watch({ signal });
    assignments.resync(store.view());
    sessions.resync();
    started.resolve();
    try {
      for await (const batch of changes) {
        assignments.follow(store.view(), batch);
        sessions.follow(batch.changes);
      }
    } catch (error) {
      if (!StoreError.is(error, "STORE_WATCH_LAGGED")) throw error;
      this.#log.warn("fell behind the state; looks at all of it again");
    }
  }

  async *#session(request: SessionRequest, context: CallContext): AsyncGenerator<SessionMessage, void, void> {
    const { started, sessions } = this.#leading();
    speakFor(request.nodeId, context);
    await abortable(started.promise, context.signal);
    yield* sessions.open(request, context.signal);
  }

  async #heartbeat({ nodeId, sessionId }: HeartbeatRequest, context: CallContext): Promise<HeartbeatResponse> {
    speakFor(nodeId, context);
    return { periodMs: this.#leading().sessions.heartbeat(nodeId, sessionId) };
  }

  async #updateTaskStatus(
    { nodeId, sessionId, updates }: UpdateTaskStatusRequest,
    context: CallContext,
  ): Promise<UpdateTaskStatusResponse> {
    const { clock, store } = this.#dependencies;
    const { sessions, assignments } = this.#leading();
    speakFor(nodeId, context);
    checkUpdates(updates);
    const session = sessions.find(nodeId, sessionId);
    // Those of many nodes that come while the log is written are written together: see Store.update.
    const { applied, stale, unknown } = await store.update((tx) => {
      if (session.signal.aborted) throw session.signal.reason;
      return storeStatuses(tx, nodeId, updates, new Date(clock.now()));
    });
    this.#metrics.statusUpdates.add(applied, { result: "applied" });
    this.#metrics.statusUpdates.add(stale, { result: "stale" });
    this.#metrics.statusUpdates.add(unknown.length, { result: "unknown" });
    if (unknown.length > 0) assignments.remove(nodeId, unknown);
    return {};
  }

  async *#assignments(
    { nodeId, sessionId }: AssignmentsRequest,
    context: CallContext,
  ): AsyncGenerator<AssignmentsMessage, void, void> {
    const { sessions, assignments } = this.#leading();
    speakFor(nodeId, context);
    const session = sessions.find(nodeId, sessionId);
    const stream = assignments.open(this.#dependencies.store.view(), nodeId, streamReplaced());
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
    speakFor(nodeId, context);
    sessions.find(nodeId, sessionId);
    yield* relays.serve(relayId, nodeId, up, context.signal);
  }

  #leading(): Lead {
    if (this.#lead === undefined) throw notLeading();
    return this.#lead;
  }
}

/** A worker speaks for its own node; on the local socket, whose callers are the machine's own, for any. */
function speakFor(nodeId: string, { identity }: CallContext): void {
  if (identity.name !== localIdentity.name && identity.name !== nodeId) throw notYourself(identity.name, nodeId);
}
