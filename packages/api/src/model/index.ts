/**
 * Pure readings of the contract's objects.
 *
 * - `keys.ts`       keys and ids that managers and nodes compute alike
 * - `lease.ts`      which lease of a slot is which
 * - `task.ts`       states of tasks
 * - `assignment.ts` the one table of what a node is assigned, and digests of it
 * - `level.ts`      the level of formats
 * - `address.ts`    IPv4 addresses as numbers
 */
export * from "./keys.ts";
export * from "./lease.ts";
export * from "./task.ts";
export * from "./assignment.ts";
export * from "./level.ts";
