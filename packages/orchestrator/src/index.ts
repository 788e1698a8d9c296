/**
 * A leader's control loops.
 *
 * - `orchestrator.ts`    startOrchestrator: all loops, while this manager leads
 * - `options.ts`, `errors.ts`, `metrics.ts`
 *
 * Services become tasks:
 * - `service-loop.ts`    which services a change concerns
 * - `service-plan.ts`    one pass over one service; `service-pass.ts` what its decisions share; `plan.ts` its writes
 * - `slots.ts`           slots, and how each stands
 * - `scaling.ts`         which slots come and go
 * - `restarts.ts`        what follows a task that ended
 * - `rollout.ts`         rolling updates and rollbacks
 * - `handover.ts`        one task takes a slot over from another
 * - `displacement.ts`    whether a task may stay on its node
 * - `history.ts`         how many ended tasks are kept
 *
 * Nodes and tasks meet:
 * - `node-loop.ts`       subnets of nodes, tasks of nodes that are gone
 * - `scheduling-loop.ts` pending tasks get a node; `scheduling-input.ts` what the scheduler is told
 * - `allocator.ts`       virtual addresses, published ports, subnets; `ipv4.ts` networks as numbers
 *
 * - `control-loop.ts`    what loops are: snapshot and watch, full pass, a step for each event
 * - `task.ts`            what is said of a task
 */
export { startOrchestrator, type Orchestrator, type OrchestratorDependencies } from "./orchestrator.ts";
export type { StoreAccess } from "./control-loop.ts";
export type { OrchestratorOptions } from "./options.ts";
export { OrchestratorError, type OrchestratorFailure } from "./errors.ts";
export { defaultTaskPool, defaultVipPool } from "./allocator.ts";
export { defaultRestartDelayMs } from "./restarts.ts";
export { defaultMonitorMs, defaultParallelism } from "./rollout.ts";
