/**
 * The manager's side of its workers: `Dispatcher` serves them while its manager leads.
 *
 * - `dispatcher.ts`        Dispatcher: handlers of the gRPC service, the relay for callers, the lead
 * - `sessions.ts`          which nodes are here: sessions, heartbeats, deadlines; `node-session.ts` one of them
 * - `node-status.ts`       what is stored of a node as it comes and goes
 * - `assignments.ts`       follows the state and offers each node what changed for it
 * - `assignment.ts`        what a node is assigned, as the state has it
 * - `assignment-stream.ts` one node's stream: order, chain and batches
 * - `task-status.ts`       what a node may say of a task
 * - `relays.ts`            Relay: logs, execs and measurements of a node
 */
export { Dispatcher, type DispatcherDependencies } from "./dispatcher.ts";
export type { DispatcherOptions } from "./options.ts";
export type { Relay } from "./relays.ts";
