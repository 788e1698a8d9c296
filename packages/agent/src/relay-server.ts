import type { ExecRequest, RelayRequest, RelayUp } from "@warren/api";
import { RuntimeError } from "@warren/runtime";
import { errorText } from "@warren/std";
import { Channel } from "./channel.ts";
import { relayExec } from "./relay-exec.ts";
import { relayLogs } from "./relay-logs.ts";
import { relayStats } from "./relay-stats.ts";
import { RelayRefused, relayStatus, type Relay, type RelayDependencies } from "./relay.ts";

/** Messages that wait for the manager or for a process, of one relay. */
const waitingMessages = 4;

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
