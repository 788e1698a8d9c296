/** Messages that wait for the turn to end, bounded: what does not fit is lost, as a network loses, and Raft sends again. */
import type { Message } from "../core/index.ts";
import type { RaftMetrics } from "./metrics.ts";

/** Far more than peers with full windows send in a turn. */
const maxMessages = 65_536;
const maxBytes = 128 * 1024 * 1024;

export class Inbox {
  private readonly metrics: RaftMetrics;
  private messages: Message[] = [];
  private bytes = 0;

  constructor(metrics: RaftMetrics) {
    this.metrics = metrics;
  }

  push(m: Message): void {
    if (this.messages.length >= maxMessages || this.bytes > maxBytes) {
      this.metrics.messagesDropped.add();
      return;
    }
    this.messages.push(m);
    for (const { data } of m.entries) this.bytes += data.length;
  }

  drain(): Message[] {
    const { messages } = this;
    this.messages = [];
    this.bytes = 0;
    return messages;
  }
}
