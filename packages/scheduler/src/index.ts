/**
 * Placement that explains itself; pure and synchronous.
 *
 * - `scheduler.ts`    Scheduler: deltas in, decisions out
 * - `filters.ts`      defaultFilters: the rules a node must pass
 * - `constraints.ts`  parseConstraints, matchConstraints
 * - `types.ts`        what goes in and comes out
 * - `nodes.ts`        the nodes in order of load; `heap.ts` a heap
 * - `errors.ts`       SchedulerError
 */
export { Scheduler, type SchedulerOptions } from "./scheduler.ts";
export { matchConstraints, parseConstraints, type Constraint, type ConstraintOperator } from "./constraints.ts";
export { defaultFilters } from "./filters.ts";
export { SchedulerError, type SchedulerFailure } from "./errors.ts";
export type {
  ConstrainedNode,
  Decision,
  Delta,
  Filter,
  HostPort,
  NodeState,
  NodeView,
  Platform,
  Refusal,
  Resources,
  TaskState,
} from "./types.ts";
