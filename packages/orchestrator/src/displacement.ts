/**
 * Whether a lease may stay on its node.
 */
import { LeaseState, type Lease, type Node, type Placement } from "@warren/api";
import {
  matchConstraints,
  parseConstraints,
  SchedulerError,
  type ConstrainedNode,
  type Constraint,
} from "@warren/scheduler";
import { durationText } from "@warren/slot";
import { isDown, isDrained, nodeName, remaining, type Moment } from "./reading.ts";
import { constrainedNode } from "./scheduling-input.ts";

export type Displacement =
  | { readonly kind: "none" }
  /** Its node is down, or late to release it, but not yet for long; ask again in `inMs`. */
  | { readonly kind: "grace"; readonly inMs: number }
  /** It is to go, and its node hears that. */
  | { readonly kind: "must-go"; readonly why: string }
  /** Its node can't be reached, or does not release it in time: it may run or not, and is replaced all the same. */
  | { readonly kind: "lost"; readonly why: string };

const none: Displacement = { kind: "none" };

// L16: the policy here is `replace after downGraceMs`: a lease on a node that has been down for so long is lost.

/** From the end of a task's stop grace until its node is called late, ms (L11). */
export const releaseSlackMs = 30_000;

export interface DisplacementInput {
  readonly at: Moment;
  /** Undefined: it was removed. */
  readonly node: Node | undefined;
  readonly role: ConstrainedNode["role"];
  /** That the lease must meet; undefined where nothing of it binds now. */
  readonly placement: Placement | undefined;
  readonly stopGraceMs: number;
  readonly downGraceMs: number;
}

export function displacement(lease: Lease, input: DisplacementInput): Displacement {
  const { node } = input;
  if (lease.nodeId === "" || lease.state === LeaseState.RELEASED) return none;
  if (node === undefined) return { kind: "lost", why: `the node ${lease.nodeId} was removed` };
  if (isDown(node)) {
    const inMs = remaining(node.status?.at, input.downGraceMs, input.at);
    return inMs > 0 ? { kind: "grace", inMs } : { kind: "lost", why: `${nodeName(node)} is down` };
  }
  if (lease.state === LeaseState.RELEASING) return lateness(lease, node, input);
  if (isDrained(node)) return { kind: "must-go", why: `${nodeName(node)} is drained` };
  const unmet = unmetConstraint(input.placement?.constraints ?? [], constrainedNode(node, input.role));
  return unmet === undefined ? none : { kind: "must-go", why: `${nodeName(node)} no longer meets "${unmet}"` };
}

/** L11: a node that does not release a lease in time is treated as one that can't be reached. */
function lateness(lease: Lease, node: Node, input: DisplacementInput): Displacement {
  const limitMs = input.stopGraceMs + releaseSlackMs;
  const inMs = remaining(lease.since, limitMs, input.at);
  if (inMs > 0) return { kind: "grace", inMs };
  return { kind: "lost", why: `${nodeName(node)} has not released it within ${durationText(limitMs)}` };
}

/** The first of the constraints that `node` does not meet. */
function unmetConstraint(expressions: readonly string[], node: ConstrainedNode): string | undefined {
  return expressions.find((expression) => {
    const parsed = parse(expression);
    return parsed !== undefined && !matchConstraints(parsed, node);
  });
}

/** Undefined where it can't be read: such a task is not placed at all, so nothing is moved for it either. */
function parse(expression: string): Constraint[] | undefined {
  try {
    return parseConstraints([expression]);
  } catch (error) {
    if (SchedulerError.is(error, "SCHEDULER_CONSTRAINT_INVALID")) return undefined;
    throw error;
  }
}
