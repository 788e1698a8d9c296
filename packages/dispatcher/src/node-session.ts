import { AsyncQueue } from "@warren/std";
import type { Node, SessionMessage } from "@warren/api";
import { isDeepStrictEqual } from "node:util";

/** What is the same in every message of a session. */
export type SessionHead = Pick<SessionMessage, "sessionId" | "clusterId" | "taskPool" | "vipPool">;

/** Messages that may wait for a worker that does not read. */
const maxWaiting = 1_000;

/** A node's session, from its request until it ends for whatever reason. */
export class NodeSession {
  readonly id: string;
  readonly nodeId: string;
  readonly #ended = new AbortController();
  readonly #messages = new AsyncQueue<Partial<SessionMessage>>(maxWaiting);
  #node: Node | undefined;

  constructor(id: string, nodeId: string) {
    this.id = id;
    this.nodeId = nodeId;
  }

  /** Aborted when it has ended; the reason says why. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether its node is stored as ready and told what it is. */
  get isOpen(): boolean {
    return this.#node !== undefined && !this.signal.aborted;
  }

  end(error: Error): void {
    this.#messages.fail(error);
    this.#ended.abort(error);
  }

  /** Sends a message; false if too many wait. */
  send(message: Partial<SessionMessage>): boolean {
    return this.#messages.push(message);
  }

  /** Tells the node how it is stored, if what concerns it has changed. */
  tellNode(node: Node): boolean {
    const before = this.#node;
    this.#node = node;
    const same = before !== undefined && isDeepStrictEqual(settingsOf(before), settingsOf(node));
    return same || this.send({ node });
  }

  /** To be read once. Throws what `end` was given. */
  async *messages(head: SessionHead): AsyncGenerator<SessionMessage, void, void> {
    for await (const message of this.#messages) yield { node: undefined, relay: undefined, ...head, ...message };
  }
}

function settingsOf({ spec, subnet, description }: Node): unknown {
  return { spec, subnet, description };
}
