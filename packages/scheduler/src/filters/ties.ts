import type { TaskState } from "../types.ts";

/** Whether stopping some task may close a node to this one, which goes where others or their volumes are. */
export function followsTasks({ affinity = [], localVolumes = [] }: TaskState): boolean {
  return localVolumes.length > 0 || affinity.some(({ kind, required }) => kind === "affinity" && required !== false);
}

/** Whether a node may be refused that is like another but in its name and its tasks. */
export function isTied(task: TaskState): boolean {
  return followsTasks(task) || [...(task.affinity ?? []), ...(task.constraints ?? [])].length > 0;
}
