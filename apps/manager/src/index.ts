/**
 * The manager daemon.
 *
 * - `manager.ts`       runManager, resetManager: all parts, joined
 * - `consensus.ts`     the log under the store
 * - `cluster-id.ts`    whether there is a cluster yet, and which
 * - `while-leading.ts` what runs while this manager leads
 * - `options.ts`, `errors.ts`
 */
export { resetManager, runManager } from "./manager.ts";
export type { ManagerOptions } from "./options.ts";
