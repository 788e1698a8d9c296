import type { AssignedTask, ExecRequest, RelayRequest, RelayUp } from "@warren/api";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { errorText, type Clock, type Logger } from "@warren/std";
import { Channel } from "./channel.ts";
import type { Containers } from "./containers.ts";
import { relayExec } from "./relay-exec.ts";
import { relayLogs } from "./relay-logs.ts";
import { relayStats } from "./relay-stats.ts";
import type { Session } from "./seams.ts";

/** Messages that wait for the manager or for a process, of one relay. */
const waitingMessages = 4;

export interface RelayDependencies {
  readonly session: Session;
  readonly runtime: Runtime;
  readonly containers: Containers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeId: string;
  /** All tasks of this node, ended ones included. */
  readonly tasks: () => readonly AssignedTask[];
  /** Resolves when the task has a container, with false if it never will. */
  readonly hasContainer: (taskId: string, signal: AbortSignal) => Promise<boolean>;
}

/** What a relay's content is given to work with. */
export interface Relay {
  /** Resolves when there is room for more. */
  send(message: NonNullable<RelayUp["message"]>): Promise<void>;
  /** Of an exec: what its caller sends. Ends with the caller. */
  readonly received: AsyncIterable<ExecRequest>;
}

/** A request that can't be served, with the gRPC status that its caller is told. */
export class RelayRefused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** gRPC's numbers. */
export const relayStatus = {
  invalidArgument: 3,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

/** Serves what callers of the API want of this node: logs, execs, measurements. */
export class RelayServer {
  readonly #dependencies: RelayDependencies;
  readonly #limit: number;
  #serving = 0;

  constructor(dependencies: RelayDependencies, limit: number) {
    this.#dependencies = dependencies;
    this.#limit = limit;
  }

  /** Serves one request until all is told, the caller has gone or `signal` aborts. Fails where the way to the manager does. */
  async serve(request: RelayRequest, sessionId: string, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const up = new Channel<RelayUp>(waitingMessages);
    const down = new Channel<ExecRequest>(waitingMessages);
    const { nodeId, session } = this.#dependencies;
    this.#serving += 1;
    const content = (async (): Promise<void> => {
      await up.send({ message: { $case: "open", value: { nodeId, sessionId, relayId: request.relayId } } });
      try {
        await this.#content(request, { send: (message) => up.send({ message }), received: down }, both);
        if (!both.aborted) await up.send({ message: { $case: "done", value: true } });
      } catch (error) {
        if (both.aborted) return;
        const status = statusOf(error);
        if (status === relayStatus.internal) this.#dependencies.log.error("a relay failed", { error });
        await up.send({ message: { $case: "failure", value: { status, message: errorText(error) } } });
      } finally {
        up.close();
      }
    })();
    try {
      for await (const { message } of session.relay(up, both)) {
        if (message?.$case === "end") break;
        if (message?.$case === "exec") await down.send(message.value);
      }
    } finally {
      over.abort(new DOMException("the caller has gone", "AbortError"));
      up.close();
      down.close();
      await content;
      this.#serving -= 1;
    }
  }

  async #content({ what }: RelayRequest, relay: Relay, signal: AbortSignal): Promise<void> {
    if (this.#serving > this.#limit)
      throw new RelayRefused(
        relayStatus.resourceExhausted,
        `this node serves ${this.#limit} streams already: end some, or try later`,
      );
    switch (what?.$case) {
      case "logs":
        return relayLogs(this.#dependencies, what.value, relay, signal);
      case "exec":
        return relayExec(this.#dependencies, what.value, relay, signal);
      case "stats":
        return relayStats(this.#dependencies, what.value, relay, signal);
      case undefined:
        throw new RelayRefused(relayStatus.unimplemented, "this worker does not know what is asked: upgrade it");
      default:
        return what satisfies never;
    }
  }
}

function statusOf(error: unknown): number {
  if (error instanceof RelayRefused) return error.status;
  if (!RuntimeError.is(error)) return relayStatus.internal;
  switch (error.code) {
    case "RUNTIME_NOT_FOUND":
      return relayStatus.notFound;
    case "RUNTIME_WRONG_STATE":
      return relayStatus.failedPrecondition;
    case "RUNTIME_SPEC_INVALID":
      return relayStatus.invalidArgument;
    case "RUNTIME_UNAVAILABLE":
      return relayStatus.unavailable;
    default:
      return relayStatus.internal;
  }
}
