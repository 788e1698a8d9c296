/**
 * The manager daemon.
 *
 * - `manager.ts` runManager, resetManager: all parts, joined
 * - `options.ts`
 */
export { resetManager, runManager } from "./manager.ts";
export type { ManagerOptions } from "./options.ts";
