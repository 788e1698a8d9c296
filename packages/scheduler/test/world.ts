import {
  type Decision,
  type Delta,
  type NodeState,
  Scheduler,
  type SchedulerOptions,
  type TaskState,
} from "../src/index.ts";

export const GiB: number = 2 ** 30;

export const node = (id: string, more: Partial<NodeState> = {}): NodeState => ({
  id,
  role: "worker",
  ready: true,
  active: true,
  ...more,
});

export const task = (id: string, more: Partial<TaskState> = {}): TaskState => ({
  id,
  serviceId: "web",
  specVersion: 1,
  ...more,
});

export function world(
  nodes: readonly NodeState[],
  tasks: readonly TaskState[],
  options: SchedulerOptions = {},
): Scheduler {
  const scheduler = new Scheduler(options);
  for (const each of nodes) scheduler.apply({ kind: "node", node: each });
  for (const each of tasks) scheduler.apply({ kind: "task", task: each });
  return scheduler;
}

export function applied(scheduler: Scheduler, ...deltas: readonly Delta[]): Decision[] {
  for (const delta of deltas) scheduler.apply(delta);
  return scheduler.schedule();
}

/** taskId → nodeId, or undefined for those that wait. */
export function places(decisions: readonly Decision[]): Record<string, string | undefined> {
  return Object.fromEntries(decisions.map((each) => [each.taskId, each.kind === "placed" ? each.nodeId : undefined]));
}
