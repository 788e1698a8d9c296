import type {
  AssignmentsMessage,
  NodeDescription,
  Point,
  RelayRequest,
  ReportRequest,
  ReportResponse,
  SessionMessage,
} from "@warren/api";
import { Backoff, delay, TaskGroup, type Changes, type Clock, type Logger, type Random } from "@warren/std";
import { AgentError } from "./errors.ts";
import type { LeaseReporter } from "./lease-reporter.ts";
import type { AgentMetrics } from "./metrics.ts";
import { checkPoint } from "./points.ts";
import type { Session } from "./seams.ts";

export interface SessionHandlers {
  readonly nodeId: string;
  readonly describe: (signal: AbortSignal) => Promise<NodeDescription>;
  /** Notified when the description has changed. */
  readonly descriptionChanges: Changes;
  readonly reporter: LeaseReporter;
  /** Reports all leases again. */
  readonly reportAll: () => void;
  /** The last point of the cluster's history whose assignments were applied. */
  readonly lastApplied: () => Point | undefined;
  /** Digests of the assigned objects, in ascending order. */
  readonly held: () => Buffer;
  /** Called with each message that carries the node, unless the manager has lost history. */
  readonly onNode: (message: SessionMessage) => void;
  /** Applies a message. False: it is stale or does not follow its predecessor, and the stream is opened again. */
  readonly onAssignments: (message: AssignmentsMessage) => boolean;
  /** L15: the node was removed from the cluster, as of that point of its history. */
  readonly onRemoved: (point: Point | undefined) => void;
  /** Serves a relay until it ends or the signal aborts; rejects only if its stream to the manager fails. */
  readonly onRelay: (request: RelayRequest, sessionId: string, signal: AbortSignal) => Promise<void>;
}

export interface SessionLoopDependencies {
  readonly session: Session;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
}

/** Keeps a session with a manager, and opens another when it breaks: after 100 ms at first, then up to 8 s. */
export class SessionLoop {
  readonly #dependencies: SessionLoopDependencies;
  readonly #handlers: SessionHandlers;
  readonly #timeoutMs: number;
  #connected = false;
  /** The last session's manager sent `historyLost`. */
  #wasLost = false;

  constructor(dependencies: SessionLoopDependencies, handlers: SessionHandlers, timeoutMs: number) {
    this.#dependencies = dependencies;
    this.#handlers = handlers;
    this.#timeoutMs = timeoutMs;
  }

  get connected(): boolean {
    return this.#connected;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#dependencies;
    const backoff = new Backoff(random);
    for (;;) {
      const lasted = new AbortController();
      try {
        await this.#session(AbortSignal.any([signal, lasted.signal]), () => backoff.reset());
        log.info("the manager ended the session");
      } catch (error) {
        signal.throwIfAborted();
        log.warn("no session with a manager", { error });
      } finally {
        lasted.abort();
        this.#setConnected(false);
      }
      await delay(clock, backoff.next(), signal);
    }
  }

  /** One session, until any part of it fails or the manager ends it. */
  async #session(signal: AbortSignal, stable: () => void): Promise<void> {
    const { session } = this.#dependencies;
    const { nodeId, describe, descriptionChanges, lastApplied } = this.#handlers;
    const seen = descriptionChanges.count;
    const description = await describe(signal);
    const messages = session.open({ nodeId, description, lastApplied: lastApplied() }, signal)[Symbol.asyncIterator]();
    const first = await this.#inTime("registering the node", signal, () => messages.next());
    if (first.done === true) throw sessionFailed("the manager ended the session before it began");
    const { sessionId, historyLost } = first.value;
    this.#checkHistory(first.value);
    if (first.value.removed !== "" && historyLost === "") throw this.#removed(first.value);
    // L13: other managers lack what was reported to one that had lost history.
    if (historyLost === "" && this.#wasLost) this.#handlers.reportAll();
    this.#wasLost = historyLost !== "";
    this.#setConnected(true);
    this.#dependencies.log.info("session with a manager", { session: sessionId });
    const broken = Promise.withResolvers<never>();
    await using parts = new TaskGroup((_name, error) => broken.reject(error), signal);
    parts.run("heartbeat", (ending) => this.#heartbeat(sessionId, stable, ending));
    // L13: a manager that has lost history sends none, and gets the node's heartbeats and reports all the same.
    if (historyLost === "") parts.run("assignments", (ending) => this.#assignments(sessionId, ending));
    parts.run("description", (ending) => this.#describeAgain(sessionId, seen, ending));
    parts.run("reports", (ending) =>
      this.#handlers.reporter.run(
        (leases) => this.#report(sessionId, { leases, description: undefined }, ending),
        ending,
      ),
    );
    const reading = (async (): Promise<void> => {
      for (let next: IteratorResult<SessionMessage, unknown> = first; next.done !== true; next = await messages.next())
        this.#handle(next.value, parts);
    })();
    await Promise.race([reading, broken.promise]);
  }

  /** L13, L14: throws if the manager is of another history, or behind this node. */
  #checkHistory({ point, historyLost }: SessionMessage): void {
    const check = checkPoint(this.#handlers.lastApplied(), point);
    if (check.kind !== "accepted")
      throw new AgentError({ code: "AGENT_HISTORY_REFUSED" }, `the manager's session is refused: ${check.why}`);
    if (historyLost !== "") this.#dependencies.log.error("the manager sends no assignments", { why: historyLost });
  }

  /** L15: releases all leases, and returns the error that ends the session. */
  #removed({ point, removed }: SessionMessage): AgentError {
    this.#handlers.onRemoved(point);
    this.#dependencies.log.error("this node was removed from the cluster", { why: removed });
    return new AgentError({ code: "AGENT_NODE_REMOVED" }, removed);
  }

  #handle(message: SessionMessage, parts: TaskGroup): void {
    // L13: settings of a manager that has lost history are ignored.
    if (message.node !== undefined && message.historyLost === "") this.#handlers.onNode(message);
    const { relay } = message;
    if (relay === undefined) return;
    parts.run("relay", async (ending) => {
      try {
        await this.#handlers.onRelay(relay, message.sessionId, ending);
      } catch (error) {
        // The relay's caller gets an error; the session goes on.
        if (!ending.aborted) this.#dependencies.log.warn("a relay broke off", { relay: relay.relayId, error });
      }
    });
  }

  async #heartbeat(sessionId: string, stable: () => void, signal: AbortSignal): Promise<void> {
    const { session, clock } = this.#dependencies;
    const { nodeId } = this.#handlers;
    for (let beats = 0; ; beats += 1) {
      const { periodMs } = await this.#inTime("heartbeat", signal, (inTime) =>
        session.heartbeat({ nodeId, sessionId }, inTime),
      );
      // Not after the first: two workers with one id, which end each other's sessions, get that far.
      if (beats === 1) stable();
      await delay(clock, periodMs, signal);
    }
  }

  async #assignments(sessionId: string, signal: AbortSignal): Promise<void> {
    const { session, clock, random, log } = this.#dependencies;
    const { nodeId, onAssignments, held } = this.#handlers;
    const backoff = new Backoff(random);
    for (;;) {
      for await (const message of session.assignments({ nodeId, sessionId, held: held() }, signal)) {
        if (!onAssignments(message)) {
          log.warn("assignments were missed or refused: opens the stream again");
          break;
        }
        backoff.reset();
      }
      await delay(clock, backoff.next(), signal);
    }
  }

  /** Reports the description after each change. @param seen the count of changes that the session began with */
  async #describeAgain(sessionId: string, seen: number, signal: AbortSignal): Promise<void> {
    const { describe, descriptionChanges } = this.#handlers;
    for (let known = seen; ;) {
      await descriptionChanges.after(known, signal);
      known = descriptionChanges.count;
      await this.#report(sessionId, { leases: [], description: await describe(signal) }, signal);
    }
  }

  #report(
    sessionId: string,
    report: Pick<ReportRequest, "leases" | "description">,
    signal: AbortSignal,
  ): Promise<ReportResponse> {
    const { session } = this.#dependencies;
    const { nodeId } = this.#handlers;
    return this.#inTime("reporting", signal, (inTime) => session.report({ nodeId, sessionId, ...report }, inTime));
  }

  /** Rejects if the manager does not answer in time. */
  async #inTime<T>(what: string, signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const timeout = Promise.withResolvers<never>();
    const timer = this.#dependencies.clock.setTimeout(() => {
      const error = sessionFailed(`${what}: no answer within ${this.#timeoutMs} ms`);
      timeout.reject(error);
      late.abort(error);
    }, this.#timeoutMs);
    try {
      return await Promise.race([call(AbortSignal.any([signal, late.signal])), timeout.promise]);
    } finally {
      timer.cancel();
    }
  }

  #setConnected(connected: boolean): void {
    this.#connected = connected;
    this.#dependencies.metrics.connected.set(connected ? 1 : 0);
  }
}

function sessionFailed(why: string): AgentError {
  return new AgentError({ code: "AGENT_SESSION_FAILED" }, why);
}
