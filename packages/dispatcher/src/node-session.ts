import { AsyncQueue } from "@warren/std";
import type { Node, Point, SessionMessage } from "@warren/api";
import { isDeepStrictEqual } from "node:util";

import { isRegistered } from "./node-status.ts";

/** The fields that every message of a session repeats. */
export type SessionHead = Pick<
  SessionMessage,
  "sessionId" | "clusterId" | "taskPool" | "vipPool" | "level" | "historyLost" | "removed"
>;

/** Messages that are queued for a worker that does not read. */
const maxWaiting = 1_000;

/** One session of a node. */
export class NodeSession {
  readonly id: string;
  readonly nodeId: string;
  /** Why the node gets no assignments. Empty: it gets them. */
  readonly historyFault: string;
  readonly #ended = new AbortController();
  readonly #messages = new AsyncQueue<Partial<SessionMessage>>(maxWaiting);
  #node: Node | undefined;

  constructor(id: string, nodeId: string, historyFault: string) {
    this.id = id;
    this.nodeId = nodeId;
    this.historyFault = historyFault;
  }

  /** Aborted when the session has ended, with the reason. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether the node is registered and was sent its stored state. */
  get isOpen(): boolean {
    return this.#node !== undefined && !this.signal.aborted;
  }

  /** Whether `node` is stored as registered by this session. */
  isStored(node: Node): boolean {
    return isRegistered(node, this.historyFault);
  }

  end(error: Error): void {
    this.#messages.fail(error);
    this.#ended.abort(error);
  }

  /** Sends a message; false if the queue is full. */
  send(message: Partial<SessionMessage>): boolean {
    return this.#messages.push(message);
  }

  /** Sends the stored node if its spec, subnet or description has changed; false if the queue is full. */
  sendNode(node: Node): boolean {
    const before = this.#node;
    this.#node = node;
    const same = before !== undefined && isDeepStrictEqual(settingsOf(before), settingsOf(node));
    return same || this.send({ node });
  }

  /** May be read once. Throws the error of `end`. */
  async *messages(head: SessionHead, point: () => Point): AsyncGenerator<SessionMessage, void, void> {
    for await (const message of this.#messages)
      yield { node: undefined, relay: undefined, ...head, point: point(), ...message };
  }
}

function settingsOf({ spec, subnet, description }: Node): unknown {
  return { spec, subnet, description };
}
