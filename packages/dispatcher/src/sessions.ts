/**
 * Sessions of nodes, heartbeats, and the deadline after which a silent node is down.
 *
 * S1: a node has one session; a later one ends it.
 * S2: a session is in the table before its node is stored as ready, and a node is stored as down only if the table has
 *     no session of it. So a node that reconnects just as its deadline passes ends up ready.
 */
import { abortable, Backoff, delay, newId, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import type { NodeDescription, SessionMessage, SessionRequest } from "@warren/api";
import { defaultTaskPool, defaultVipPool } from "@warren/api/model";
import { StoreError, type Store, type StoreChange, type StoreTerm, type Transaction } from "@warren/store";

import {
  callerGone,
  noCluster,
  nodeRemoved,
  nodeUnreachable,
  sessionUnknown,
  noHeartbeat,
  superseded,
} from "./errors.ts";
import { historyFault } from "./history.ts";
import type { DispatcherMetrics } from "./metrics.ts";
import { NodeSession } from "./node-session.ts";
import { checkSessionRequest, setDown, register, removalOf, setUnknown, spokenLevel } from "./node-status.ts";
import type { DispatcherOptions } from "./options.ts";

/** Nodes that one transaction writes: bounds a command's size. */
const nodesPerCommand = 100;

/** Factor of the heartbeat deadline at the start of a term, when every node must first find the new leader. */
const newLeaderFactor = 2;

export interface SessionsDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  /** The term that this manager leads; every write names it. */
  readonly term: StoreTerm;
  readonly log: Logger;
  readonly metrics: DispatcherMetrics;
  /** Runs work until it is done or the term ends. */
  readonly background: (name: string, work: (signal: AbortSignal) => Promise<void>) => void;
}

export class Sessions {
  readonly #dependencies: SessionsDependencies;
  readonly #options: Required<DispatcherOptions>;
  readonly #sessions = new Map<string, NodeSession>();
  readonly #deadlines = new Map<string, Timer>();
  #stopped: Error | undefined;

  constructor(dependencies: SessionsDependencies, options: Required<DispatcherOptions>) {
    this.#dependencies = dependencies;
    this.#options = options;
  }

  /** Marks all nodes that are not down as unknown, until each opens a session or its deadline passes. */
  async start(signal: AbortSignal): Promise<void> {
    const ids = this.#dependencies.store
      .view()
      .list("nodes")
      .map(({ meta }) => meta?.id ?? "");
    for (let at = 0; at < ids.length; at += nodesPerCommand) {
      const some = ids.slice(at, at + nodesPerCommand);
      const nodes = await this.#persist((tx) => setUnknown(tx, some, new Date(tx.now)), signal);
      for (const nodeId of nodes) this.#setDeadline(nodeId, newLeaderFactor * this.#graceMs());
    }
  }

  /** Ends every session. */
  stop(error: Error): void {
    this.#stopped = error;
    for (const timer of this.#deadlines.values()) timer.cancel();
    this.#deadlines.clear();
    for (const session of this.#sessions.values()) this.#end(session, error);
  }

  /** Registers the node and returns its session's messages, until the worker disconnects or the session is ended. */
  async *open(request: SessionRequest, caller: AbortSignal): AsyncGenerator<SessionMessage, void, void> {
    const { random, store, log, metrics } = this.#dependencies;
    const { nodeId, description } = checkSessionRequest(request);
    // L13: the node's last applied point is looked up after a read barrier, so in every committed command.
    const { cluster } = await abortable(store.read(), caller);
    if (this.#stopped !== undefined) throw this.#stopped;
    if (cluster === undefined) throw noCluster();
    const level = spokenLevel(nodeId, description, cluster.level);
    const fault = historyFault(store, request.lastApplied);
    const head = {
      clusterId: cluster.meta?.id ?? "",
      taskPool: cluster.spec?.taskPool || defaultTaskPool,
      vipPool: cluster.spec?.vipPool || defaultVipPool,
      level,
      historyLost: fault,
    };
    const removed = removalOf(store.view(), nodeId);
    if (removed !== "") {
      log.warn("a node that was removed has come back", { node: nodeId, hostname: description.hostname });
      yield { ...head, sessionId: "", node: undefined, relay: undefined, point: store.point(), removed };
      throw nodeRemoved(nodeId);
    }
    const session = new NodeSession(newId(random), nodeId, fault);
    const before = this.#sessions.get(nodeId);
    if (before !== undefined) this.#end(before, superseded(nodeId));
    this.#sessions.set(nodeId, session);
    metrics.sessions.set(this.#sessions.size);
    const leave = (): void => this.#end(session, callerGone());
    caller.addEventListener("abort", leave, { once: true });
    try {
      await abortable(this.#register(session, description), session.signal);
      log.info("node has a session", { node: nodeId, hostname: description.hostname, session: session.id });
      if (fault !== "") log.warn("node is sent no assignments", { node: nodeId, why: fault });
      yield* session.messages({ ...head, sessionId: session.id, removed: "" }, () => store.point());
    } finally {
      caller.removeEventListener("abort", leave);
      leave();
    }
  }

  /** @throws ApiError `API_NOT_FOUND` */
  find(nodeId: string, sessionId: string): NodeSession {
    const session = this.#sessions.get(nodeId);
    if (session === undefined || session.id !== sessionId) throw sessionUnknown(nodeId, sessionId);
    return session;
  }

  ofNode(nodeId: string): NodeSession | undefined {
    const session = this.#sessions.get(nodeId);
    return session?.isOpen === true ? session : undefined;
  }

  /** Extends the deadline. Returns the time until the next heartbeat is due, ms. @throws ApiError `API_NOT_FOUND` */
  heartbeat(nodeId: string, sessionId: string): number {
    this.find(nodeId, sessionId);
    this.#setDeadline(nodeId, this.#graceMs());
    const { heartbeatMs, heartbeatJitterMs } = this.#options;
    return Math.round(heartbeatMs + (2 * this.#dependencies.random.next() - 1) * heartbeatJitterMs);
  }

  /** Handles every node that has a session as if it had changed. */
  resync(): void {
    for (const nodeId of this.#sessions.keys()) this.#nodeChanged(nodeId);
  }

  follow(changes: readonly StoreChange[]): void {
    for (const { table, object } of changes) if (table === "nodes") this.#nodeChanged(object.meta?.id ?? "");
  }

  #nodeChanged(nodeId: string): void {
    const node = this.#dependencies.store.view().get("nodes", nodeId);
    const session = this.#sessions.get(nodeId);
    if (node === undefined) {
      this.#deadlines.get(nodeId)?.cancel();
      this.#deadlines.delete(nodeId);
    }
    if (session?.isOpen !== true) return;
    if (node === undefined) {
      this.#end(session, nodeRemoved(nodeId));
      return;
    }
    if (!session.sendNode(node)) this.#end(session, nodeUnreachable(nodeId, "it does not read its messages"));
    const { description } = node;
    if (!session.isStored(node) && description !== undefined)
      this.#dependencies.background("register a node again", (signal) =>
        // Its session may have ended meanwhile, which is no failure.
        this.#register(session, description, (work) => this.#persist(work, signal)).catch((error: unknown) => {
          if (!session.signal.aborted) throw error;
        }),
      );
  }

  async #register(
    session: NodeSession,
    description: NodeDescription,
    write: (work: (tx: Transaction) => void) => Promise<void> = (work) => this.#write(work),
  ): Promise<void> {
    const { store } = this.#dependencies;
    const { nodeId, signal, historyFault: fault } = session;
    this.#setDeadline(nodeId, this.#graceMs());
    const work = (tx: Transaction): void => {
      // The node has another session, or none.
      if (signal.aborted) throw signal.reason;
      register(tx, nodeId, description, fault, new Date(tx.now));
    };
    await write(work);
    signal.throwIfAborted();
    const node = store.view().get("nodes", nodeId);
    if (node === undefined) throw nodeRemoved(nodeId);
    session.sendNode(node);
  }

  #end(session: NodeSession, error: Error): void {
    session.end(error);
    if (this.#sessions.get(session.nodeId) !== session) return;
    this.#sessions.delete(session.nodeId);
    const { log, metrics } = this.#dependencies;
    metrics.sessions.set(this.#sessions.size);
    log.info("session ended", { node: session.nodeId, session: session.id, why: error.message });
  }

  #graceMs(): number {
    return (this.#options.heartbeatMs + this.#options.heartbeatJitterMs) * this.#options.missedHeartbeats;
  }

  /** Sets the node down after `graceMs`, unless it is called again before. */
  #setDeadline(nodeId: string, graceMs: number): void {
    this.#deadlines.get(nodeId)?.cancel();
    const timer = this.#dependencies.clock.setTimeout(() => {
      this.#deadlines.delete(nodeId);
      const session = this.#sessions.get(nodeId);
      if (session !== undefined) this.#end(session, noHeartbeat(nodeId));
      this.#dependencies.background("set a node down", (signal) => this.#setDown(nodeId, graceMs, signal));
    }, graceMs);
    this.#deadlines.set(nodeId, timer);
  }

  async #setDown(nodeId: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#dependencies;
    const fell = await this.#persist(
      (tx) => !this.#sessions.has(nodeId) && setDown(tx, nodeId, graceMs, new Date(tx.now)), // S2
      signal,
    );
    if (!fell) return;
    metrics.nodesDown.add();
    log.warn("node is down", { node: nodeId, silentMs: graceMs });
  }

  /** Writes in this term. */
  #write<R>(work: (tx: Transaction) => R): Promise<R> {
    const { store, term } = this.#dependencies;
    return store.update(work, { term: term.term });
  }

  /** Retries a transaction, with back-off, until it is applied or the term ends. */
  async #persist<R>(work: (tx: Transaction) => R, signal: AbortSignal): Promise<R> {
    const { clock, random, store, term, log } = this.#dependencies;
    const backoff = new Backoff(random);
    for (;;) {
      try {
        return await this.#write(work);
      } catch (error) {
        if (!StoreError.is(error) || store.term?.reign !== term.reign) throw error;
        signal.throwIfAborted();
        log.warn("a write is tried again", { error });
        await delay(clock, backoff.next(), signal);
      }
    }
  }
}
