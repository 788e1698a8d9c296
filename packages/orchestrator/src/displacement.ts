/**
 * Whether a task may stay on its node.
 */
import type { Node, Task } from "@warren/api";
import { matchConstraints, parseConstraints, SchedulerError, type Constraint } from "@warren/scheduler";
import { constrainedNode } from "./scheduling-input.ts";
import { isDown, isDrained, nodeName, remaining } from "./task.ts";

export type Displacement =
  | { readonly kind: "none" }
  /** Its node is down, but not yet for long; ask again in `inMs`. */
  | { readonly kind: "grace"; readonly inMs: number }
  /** It is to go, and its node hears that. */
  | { readonly kind: "must-go"; readonly why: string }
  /** Its node can't be reached: it may run or not, and is replaced without a word from it. */
  | { readonly kind: "lost"; readonly why: string };

const none: Displacement = { kind: "none" };

/** @param node where the task is; undefined if that node was removed */
export function displacement(task: Task, node: Node | undefined, downGraceMs: number, now: number): Displacement {
  if (task.nodeId === "") return none;
  if (node === undefined) return { kind: "lost", why: `the node ${task.nodeId} was removed` };
  if (isDown(node)) {
    const inMs = remaining(node.status?.at?.getTime() ?? now, downGraceMs, now);
    return inMs > 0 ? { kind: "grace", inMs } : { kind: "lost", why: `${nodeName(node)} is down` };
  }
  if (isDrained(node)) return { kind: "must-go", why: `${nodeName(node)} is drained` };
  const unmet = unmetConstraint(task, node);
  if (unmet !== undefined) return { kind: "must-go", why: `${nodeName(node)} no longer meets "${unmet}"` };
  return none;
}

/** The first of the task's constraints that `node` does not meet. */
function unmetConstraint(task: Task, node: Node): string | undefined {
  const expressions = task.spec?.placement?.constraints ?? [];
  if (expressions.length === 0) return undefined;
  return expressions.find((expression) => {
    const parsed = parse(expression);
    return parsed !== undefined && !matchConstraints(parsed, constrainedNode(node));
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
