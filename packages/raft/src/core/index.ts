/**
 * The pure core of Raft: a state machine that is stepped, ticked and asked what to do. No I/O, no clock, no chance of
 * its own.
 *
 * - `types.ts`    the words: Entry, Message, HardState, ConfState, Snapshot, Ready, Storage
 * - `config.ts`   Config, its defaults and checks
 * - `event.ts`    RaftEvent: what happened, for logs and metrics
 * - `message.ts`  message(), and which types are local or responses
 */
export * from "./types.ts";
export { message, isLocalMessage, isLocalTarget, isResponseMessage } from "./message.ts";
export type { Config, LeaseClock } from "./config.ts";
export type { RaftEvent } from "./event.ts";
