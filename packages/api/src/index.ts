/**
 * The contract between Warren's parts.
 *
 * - `generated/` messages and services of `proto/warren/v1`, not committed
 */
export * from "./generated/warren/v1/cluster.ts";
export * from "./generated/warren/v1/container.ts";
export * from "./generated/warren/v1/dispatcher.ts";
export * from "./generated/warren/v1/event.ts";
export * from "./generated/warren/v1/meta.ts";
export * from "./generated/warren/v1/network.ts";
export * from "./generated/warren/v1/node.ts";
export * from "./generated/warren/v1/registry.ts";
export * from "./generated/warren/v1/service.ts";
export * from "./generated/warren/v1/store.ts";
export * from "./generated/warren/v1/task.ts";
