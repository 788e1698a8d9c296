/**
 * The manager's side of node sessions: `Dispatcher` serves workers while its manager leads a term.
 *
 * - `dispatcher.ts`        Dispatcher: handlers of the gRPC service, the relay for callers, the term
 * - `sessions.ts`          sessions of nodes, heartbeats, deadlines; `node-session.ts` one of them
 * - `node-status.ts`       what is stored of a node as it comes and goes; the level that it is spoken to in
 * - `history.ts`           whether this manager's history goes on from what a node has obeyed
 * - `objects.ts`           what a node is assigned, as the state has it: objects and what each needs
 * - `assignment-graph.ts`  the same, kept by reference counts; `dirty.ts` which objects a change concerns
 * - `assignments.ts`       follows the state and hands each node's stream its changes
 * - `assignment-stream.ts` one node's stream: order, chain, batches, resumption by digest
 * - `report.ts`            what a node may report of a lease; `store-report.ts` writes it
 * - `testing/`             memoryDispatcher, as `@warren/dispatcher/testing`
 * - `relays.ts`            the Relay of `@warren/api`: logs, execs, measurements and images of a node
 */
export { Dispatcher, type DispatcherDependencies } from "./dispatcher.ts";
export type { DispatcherOptions } from "./options.ts";
