/**
 * A leader's control loops.
 *
 * - `orchestrator.ts`     startOrchestrator: all loops, in one term
 * - `options.ts`, `errors.ts`, `metrics.ts`
 * - `plan.ts`             the pure part, as `@warren/orchestrator/plan`
 *
 * Services become slots, and slots get leases:
 * - `service-loop.ts`     which services a change concerns
 * - `service-plan.ts`     one pass over one service; `writes.ts` what it writes
 * - `slots.ts`            how each slot stands
 * - `slot-plan.ts`        one pass over one slot; `slot-draft.ts` the moves that its leases can make
 * - `scaling.ts`          which slots come and go
 * - `rollout.ts`          rolling updates and rollbacks; `settings.ts` which version and which settings hold
 * - `displacement.ts`     whether a lease may stay on its node
 * - `history.ts`          which tasks and versions are kept
 * - `update-preview.ts`   what an update would do
 * - `start-first.ts`      updates that could never place their new task
 *
 * Leases and nodes meet:
 * - `scheduling-loop.ts`  wanted leases get a node; `scheduler-mirror.ts` the scheduler, kept as the store is;
 *                         `scheduling-input.ts` its input; `recent-failures.ts` nodes that moves avoid; `offer.ts`
 *                         what becomes of its decisions
 * - `node-loop.ts`        subnets of nodes, leases of nodes that are gone
 * - `allocator.ts`        virtual addresses, published ports, subnets; `addresses.ts` addresses of leases; `next-free.ts`
 *
 * - `control-loop.ts`     what loops are: snapshot and watch, full pass, a step for each event
 * - `reading.ts`          pure readings of nodes, services and times; `clock-steps.ts` whether the wall clock was set
 */
export { startOrchestrator, type Orchestrator, type OrchestratorDependencies } from "./orchestrator.ts";
export type { StoreAccess } from "./control-loop.ts";
export type { OrchestratorOptions } from "./options.ts";
export { OrchestratorError, type OrchestratorFailure } from "./errors.ts";
