import {
  ApiError,
  apiFailureOf,
  type ApiCode,
  type ApiFailureRecord,
  type RelayRequest,
  type RelayUp,
} from "@warren/api";
import { RuntimeError } from "@warren/runtime";
import { Channel, errorText } from "@warren/std";
import { relayExec } from "./relay-exec.ts";
import { relayImage } from "./relay-image.ts";
import { relayImages, relayPruneImages } from "./relay-images.ts";
import { relayLogin } from "./relay-login.ts";
import { relayLogs } from "./relay-logs.ts";
import { relayPortForward } from "./relay-port-forward.ts";
import { relayStats } from "./relay-stats.ts";
import { relayDeleteVolume, relayVolumes } from "./relay-volumes.ts";
import type { Relay, RelayDependencies, RelayReceived } from "./relay.ts";

/** Messages of one relay that are queued in each direction. */
const waitingMessages = 4;

/** Serves requests of the API's callers to this node: logs, execs, connections, measurements, images, volumes, logins. */
export class RelayServer {
  readonly #dependencies: RelayDependencies;
  readonly #limit: number;
  #serving = 0;

  constructor(dependencies: RelayDependencies, limit: number) {
    this.#dependencies = dependencies;
    this.#limit = limit;
  }

  /**
   * Serves one request until it is done, the caller disconnects or `signal` aborts. Rejects if the stream to the
   * manager fails.
   */
  async serve(request: RelayRequest, sessionId: string, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const up = new Channel<RelayUp>(waitingMessages);
    const down = new Channel<RelayReceived>(waitingMessages);
    const { nodeId, session } = this.#dependencies;
    this.#serving += 1;
    const content = (async (): Promise<void> => {
      await up.send({ message: { $case: "open", value: { nodeId, sessionId, relayId: request.relayId } } });
      try {
        await this.#content(request, { send: (message) => sendAll(up, message), received: down }, both);
        if (!both.aborted) await up.send({ message: { $case: "done", value: true } });
      } catch (error) {
        if (both.aborted) return;
        const failure = failureOf(error);
        if (failure.code === "API_INTERNAL") this.#dependencies.log.error("a relay failed", { error });
        await up.send({ message: { $case: "failure", value: failure } });
      } finally {
        up.close();
        // Nothing reads the caller's messages any more, and the loop below may wait until one is taken.
        down.close();
      }
    })();
    try {
      for await (const { message } of session.relay(up, both)) {
        if (message?.$case === "end") break;
        if (message !== undefined) await down.send(message);
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
      throw new ApiError({ code: "API_EXHAUSTED" }, `this node serves ${this.#limit} streams already`, {
        remedy: "end some, or try later",
      });
    switch (what?.$case) {
      case "logs":
        return relayLogs(this.#dependencies, what.value, relay, signal);
      case "exec":
        return relayExec(this.#dependencies, what.value, relay, signal);
      case "stats":
        return relayStats(this.#dependencies, what.value, relay, signal);
      case "image":
        return relayImage(this.#dependencies, what.value, relay, signal);
      case "volumes":
        return relayVolumes(this.#dependencies, relay);
      case "deleteVolume":
        return relayDeleteVolume(this.#dependencies, what.value);
      case "images":
        return relayImages(this.#dependencies, relay);
      case "portForward":
        return relayPortForward(this.#dependencies, what.value, relay, signal);
      case "pruneImages":
        return relayPruneImages(this.#dependencies, relay);
      case "registryLogin":
        return relayLogin(this.#dependencies, what.value, relay, signal);
      case undefined:
        throw new ApiError({ code: "API_UNIMPLEMENTED" }, "this worker does not know this request", {
          remedy: "upgrade it",
        });
      default:
        return what satisfies never;
    }
  }
}

async function sendAll(up: Channel<RelayUp>, message: NonNullable<RelayUp["message"]>): Promise<void> {
  await up.send({ message });
}

/** The failure for the caller: a code of the API, and the original code as its reason. */
function failureOf(error: unknown): { -readonly [K in keyof ApiFailureRecord]: ApiFailureRecord[K] } {
  if (!RuntimeError.is(error)) return apiFailureOf(error);
  const { code: reason, ...rest } = error.failure;
  const fields = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)]));
  return { code: codeOf(error), message: errorText(error), remedy: "", reason, fields };
}

function codeOf({ code }: RuntimeError): ApiCode {
  switch (code) {
    case "RUNTIME_NOT_FOUND":
    case "RUNTIME_IMAGE_NOT_FOUND":
      return "API_NOT_FOUND";
    case "RUNTIME_WRONG_STATE":
      return "API_PRECONDITION";
    case "RUNTIME_SPEC_INVALID":
    case "RUNTIME_REFERENCE_INVALID":
      return "API_INVALID";
    case "RUNTIME_REGISTRY_UNAUTHORIZED":
      return "API_DENIED";
    case "RUNTIME_UNAVAILABLE":
    case "RUNTIME_REGISTRY_UNREACHABLE":
      return "API_UNAVAILABLE";
    default:
      return "API_INTERNAL";
  }
}
