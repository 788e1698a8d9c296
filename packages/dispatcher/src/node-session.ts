import { AsyncQueue } from "@warren/std";
import type { Node, Point, SessionMessage } from "@warren/api";
import { isDeepStrictEqual } from "node:util";

import { isHere } from "./node-status.ts";

/** What is the same in every message of a session. */
export type SessionHead = Pick<
  SessionMessage,
  "sessionId" | "clusterId" | "taskPool" | "vipPool" | "level" | "historyLost" | "removed"
>;

/** Messages that may wait for a worker that does not read. */
const maxWaiting = 1_000;

/** A node's session, from its request until it ends for whatever reason. */
export class NodeSession {
  readonly id: string;
  readonly nodeId: string;
  /** Why the node is sent no assignments; empty: it is. */
  readonly historyFault: string;
  readonly #ended = new AbortController();
  readonly #messages = new AsyncQueue<Partial<SessionMessage>>(maxWaiting);
  #node: Node | undefined;

  constructor(id: string, nodeId: string, historyFault: string) {
    this.id = id;
    this.nodeId = nodeId;
    this.historyFault = historyFault;
  }

  /** Aborted when it has ended; the reason says why. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether its node is stored as here and was sent how. */
  get isOpen(): boolean {
    return this.#node !== undefined && !this.signal.aborted;
  }

  /** Whether the node is stored as this session has it. */
  isStored(node: Node): boolean {
    return isHere(node, this.historyFault);
  }

  end(error: Error): void {
    this.#messages.fail(error);
    this.#ended.abort(error);
  }

  /** Sends a message; false if too many wait. */
  send(message: Partial<SessionMessage>): boolean {
    return this.#messages.push(message);
  }

  /** Sends how the node is stored, if what concerns it has changed; false if too many messages wait. */
  sendNode(node: Node): boolean {
    const before = this.#node;
    this.#node = node;
    const same = before !== undefined && isDeepStrictEqual(settingsOf(before), settingsOf(node));
    return same || this.send({ node });
  }

  /** To be read once. Throws what `end` was given. */
  async *messages(head: SessionHead, point: () => Point): AsyncGenerator<SessionMessage, void, void> {
    for await (const message of this.#messages)
      yield { node: undefined, relay: undefined, ...head, point: point(), ...message };
  }
}

function settingsOf({ spec, subnet, description }: Node): unknown {
  return { spec, subnet, description };
}
