/**
 * Updates that start the new task first and could never place it.
 */
import { PortSpec_Mode, UpdateConfig_Order as Order, type Node, type ServiceSpec } from "@warren/api";
import { matchConstraints, parseConstraints, type ConstrainedNode } from "@warren/scheduler";
import { isActive } from "./reading.ts";
import { constrainedNode } from "./scheduling-input.ts";

export interface Obstacle {
  /** Continues the service's name. */
  readonly why: string;
  readonly remedy: string;
}

/**
 * Why updates of a service that start the new task first could never place it, however long they wait; undefined if
 * they can. A port of the host is one task's on each node: with as many replicas as nodes there is no room for the new
 * task while the old one runs.
 *
 * @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`
 */
export function startFirstObstacle(
  spec: ServiceSpec,
  nodes: readonly Node[],
  roleOf: (node: Node) => ConstrainedNode["role"],
): Obstacle | undefined {
  if (spec.update?.order !== Order.START_FIRST) return undefined;
  const port = spec.ports.find(({ mode }) => mode === PortSpec_Mode.HOST);
  const replicas = spec.mode?.value.replicas ?? 0;
  if (port === undefined || replicas === 0) return undefined;
  const constraints = parseConstraints(spec.task?.placement?.constraints ?? []);
  const takes = (node: Node): boolean =>
    isActive(node) && matchConstraints(constraints, constrainedNode(node, roleOf(node)));
  const count = nodes.filter(takes).length;
  if (count > replicas) return undefined;
  const where = count === 1 ? "1 node takes its tasks" : `${count} nodes take its tasks`;
  return {
    why: `can't start a new task first: port ${port.published || port.target} of the host is one task's on each node, ${where}, and it has ${replicas} replicas`,
    remedy: "update with order stop-first, publish the port with mode ingress, or add a node",
  };
}
