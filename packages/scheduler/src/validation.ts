import { spreadKey } from "./ask.ts";
import { topologyOf } from "./constraints.ts";
import { SchedulerError } from "./errors.ts";
import { checkConstraints } from "./filters/constraints.ts";
import type { NodeState, TaskState } from "./types.ts";

/** @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`, `SCHEDULER_TASK_INVALID` */
export function validateTask(task: TaskState): void {
  checkConstraints(task.constraints);
  const refuse = (why: string): never => {
    throw new SchedulerError({ code: "SCHEDULER_TASK_INVALID", taskId: task.id }, `task ${task.id} ${why}`);
  };
  for (const kind in task.reservations) {
    const amount = task.reservations[kind] ?? 0;
    if (!Number.isSafeInteger(amount) || amount < 0) {
      refuse(`reserves ${amount} of ${kind}: give a whole number, 0 or more, in its smallest unit`);
    }
  }
  for (const { topology } of task.affinity ?? []) {
    if (topologyOf(topology) === undefined) {
      refuse(`names the topology "${topology}": give node.hostname, node.labels.K, or another key of constraints`);
    }
  }
  for (const preference of task.preferences ?? []) {
    if (topologyOf(spreadKey(preference) ?? "") === undefined) {
      refuse(`has the preference "${preference}": write spread=node.labels.K`);
    }
  }
  const { maxPerNode = 0, priority = 0 } = task;
  if (!Number.isSafeInteger(maxPerNode) || maxPerNode < 0) refuse(`allows ${maxPerNode} tasks a node: give 0 or more`);
  if (task.leaving === true && task.nodeId === undefined) refuse("is leaving and has no node: give its node");
  if (!Number.isFinite(priority)) refuse(`has the priority ${priority}: give a number`);
}

/** @throws SchedulerError `SCHEDULER_NODE_INVALID` */
export function validateNode(node: NodeState): void {
  for (const kind in node.resources) {
    const amount = node.resources[kind] ?? 0;
    if (Number.isFinite(amount) && amount >= 0) continue;
    throw new SchedulerError(
      { code: "SCHEDULER_NODE_INVALID", nodeId: node.id },
      `node ${node.id} offers ${amount} of ${kind}: give 0 or more`,
    );
  }
}
