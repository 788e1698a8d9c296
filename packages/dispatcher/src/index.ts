/**
 * The manager's side of node sessions: `Dispatcher` serves workers while its manager leads a term.
 *
 * - `dispatcher.ts`        Dispatcher: handlers of the gRPC service, for one term after the other
 * - `sessions.ts`          sessions of nodes, heartbeats, deadlines; `node-session.ts` one session
 * - `node-status.ts`       a node's stored status, and the level of messages to it
 * - `history.ts`           whether the point that a node last applied is in this manager's history
 * - `objects.ts`           the objects that a node can be assigned, read from the state, and what each needs
 * - `assignment-graph.ts`  each node's objects, kept by reference counts; `assigned-object.ts` one object;
 *                          `dirty.ts` the objects that a change of the state may concern
 * - `assignments.ts`       follows the state, and passes its changes to the streams
 * - `assignment-stream.ts` one node's stream: order, chain, batches, resumption by digest
 * - `report.ts`            checks reports, and computes the slot after one; pure. `store-report.ts` stores them
 * - `relays.ts`            Relay: logs, execs, measurements and image digests of a node
 * - `options.ts`, `errors.ts`, `metrics.ts`
 * - `testing/`             memoryDispatcher, as `@warren/dispatcher/testing`
 */
export { Dispatcher, type DispatcherDependencies } from "./dispatcher.ts";
export type { DispatcherOptions } from "./options.ts";
