/**
 * The worker daemon.
 *
 * - `worker.ts`            runWorker: all parts, joined
 * - `task-network.ts`      interfaces, balancing and names as the agent's network
 * - `node-conditions.ts`   what is not as it should be, in words
 * - `node-addresses.ts`   the node's own names and addresses, for its tasks
 * - `kept-room.ts`        the record, with room kept back for it
 * - `reset.ts`             resetWorker
 * - `folders.ts`, `options.ts`
 */
export { runWorker } from "./worker.ts";
export { resetWorker, type ResetOptions } from "./reset.ts";
export type { WorkerOptions } from "./options.ts";
