/**
 * Messages on their way to the transport.
 *
 * News of a commit alone is half of all messages when writes come one by one. It waits a little for an append to the
 * same peer, which says the same; not so to a peer whose own clients wait for what is committed.
 */
import type { Clock, Timer } from "@warren/std";

import type { Message, NodeId } from "../core/index.ts";
import type { Transport } from "../transport/transport.ts";

/** How long news waits at most. */
const newsMs = 5;
/** How long after its last request a peer counts as one with clients. */
const clientsMs = 1_000;

/** Requests that a member hands on for its clients. */
const requests: ReadonlySet<Message["type"]> = new Set(["MsgProp", "MsgReadIndex"]);

export class Outbox {
  private readonly transport: Transport;
  private readonly clock: Clock;
  private readonly held = new Map<NodeId, Message>();
  /** When a peer last asked something for its clients. */
  private readonly asked = new Map<NodeId, number>();
  private timer: Timer | undefined;

  constructor(transport: Transport, clock: Clock) {
    this.transport = transport;
    this.clock = clock;
  }

  /** Sees what comes from a peer. */
  heard(m: Message): void {
    if (requests.has(m.type)) this.asked.set(m.from, this.clock.monotonic());
  }

  /** A peer is none any more. */
  forget(id: NodeId): void {
    this.held.delete(id);
    this.asked.delete(id);
  }

  send(messages: readonly Message[]): void {
    const now: Message[] = [];
    for (const m of messages) {
      const news = this.held.get(m.to);
      this.held.delete(m.to);
      if (this.mayWait(m)) {
        this.held.set(m.to, m);
        continue;
      }
      if (news !== undefined && m.type !== "MsgApp") now.push(news);
      now.push(m);
    }
    if (this.held.size > 0) this.timer ??= this.clock.setTimeout(() => this.flush(), newsMs);
    if (now.length > 0) this.transport.send(now);
  }

  close(): void {
    this.timer?.cancel();
    this.held.clear();
  }

  private mayWait(m: Message): boolean {
    if (m.type !== "MsgApp" || m.entries.length > 0) return false;
    const asked = this.asked.get(m.to);
    return asked === undefined || this.clock.monotonic() - asked > clientsMs;
  }

  private flush(): void {
    this.timer = undefined;
    const news = [...this.held.values()];
    this.held.clear();
    if (news.length > 0) this.transport.send(news);
  }
}
