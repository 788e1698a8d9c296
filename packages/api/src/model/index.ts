/**
 * Pure functions on the API's objects.
 *
 * - `keys.ts`       keys and ids that managers and nodes compute alike
 * - `lease.ts`      a slot's current and incoming lease
 * - `task.ts`       states of tasks
 * - `assignment.ts` the table of kinds of assignments, and their digests
 * - `level.ts`      the level of formats
 * - `pools.ts`      default subnets of tasks and services
 * - `spec-defaults.ts` what a service's spec leaves out
 */
export * from "./keys.ts";
export * from "./lease.ts";
export * from "./task.ts";
export * from "./assignment.ts";
export * from "./level.ts";
export * from "./pools.ts";
export * from "./spec-defaults.ts";
