import type { TaskState } from "../types.ts";

/** Whether the task needs other tasks or their volumes beside it, so that stopping one may make a node fail. */
export function followsTasks({ affinity = [], localVolumes = [] }: TaskState): boolean {
  return localVolumes.length > 0 || affinity.some(({ kind, required }) => kind === "affinity" && required !== false);
}

/** Whether two nodes that differ only in name and tasks may be treated differently. */
export function isTied(task: TaskState): boolean {
  return followsTasks(task) || [...(task.affinity ?? []), ...(task.constraints ?? [])].length > 0;
}
