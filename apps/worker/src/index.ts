/**
 * The worker daemon.
 *
 * - `worker.ts`            runWorker: all parts, joined
 * - `task-network.ts`      interfaces, balancing and names as the agent's network
 * - `node-conditions.ts`   what is not as it should be, in words
 * - `reset.ts`             resetWorker
 * - `folders.ts`, `options.ts`
 */
export { runWorker } from "./worker.ts";
export { resetWorker, type ResetOptions } from "./reset.ts";
export type { WorkerOptions } from "./options.ts";
