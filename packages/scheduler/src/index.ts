/**
 * Decides on which node a task runs, and explains it; pure and synchronous.
 *
 * - `scheduler.ts`    Scheduler: deltas in, decisions out
 * - `types.ts`        inputs and decisions
 * - `rules.ts`        Filter, Scorer, and the view of nodes and world that they read
 * - `filters/`        defaultFilters: the rules a node must pass, a file each
 * - `scorers/`        defaultScorers: the rules that prefer one node to another
 * - `platforms.ts`    names of platforms
 * - `constraints.ts`  parseConstraints, matchConstraints, isConstraintKey
 * - `what-if.ts`      capacity, drain; `rebalance.ts`
 * - `requirements.ts`          the compiled rules of a group of tasks; `picker.ts` chooses its nodes; `preemption.ts` makes room
 * - `unschedulable-queue.ts` the groups without a node, and their wake keys; `explanation.ts` why they have none
 * - `state/`          nodes, what they hold, and the indexes over both
 * - `errors.ts`       SchedulerError
 */
export { Scheduler, type SchedulerOptions } from "./scheduler.ts";
export {
  isConstraintKey,
  matchConstraints,
  parseConstraints,
  type Constraint,
  type ConstraintOperator,
} from "./constraints.ts";
export { defaultFilters } from "./filters/index.ts";
export { defaultScorers, type Strategy } from "./scorers/index.ts";
export { SchedulerError, type SchedulerFailure } from "./errors.ts";
export type { Capacity, Drain } from "./what-if.ts";
export type { Move, RebalanceOptions } from "./rebalance.ts";
export type { Explanation, Filter, NodeOrder, NodeView, Partitioning, Scorer, World } from "./rules.ts";
export type {
  AffinityTerm,
  ConstrainedNode,
  Decided,
  Decision,
  Delta,
  HostPort,
  NamedResources,
  NodeState,
  Placed,
  Platform,
  Refusal,
  Resources,
  Taint,
  TaskState,
  Toleration,
  Victim,
  Waiting,
  WouldFitOptions,
} from "./types.ts";
