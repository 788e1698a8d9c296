/**
 * The ended tasks of a slot, which stay for people to read.
 */
import type { Task } from "@warren/api";
import type { Plan } from "./plan.ts";
import type { Slot } from "./slots.ts";
import { hasEnded, isReleased } from "./task.ts";

/**
 * Keeps the last `keep` that ended, and one that settled its slot, which stands for a replica. One that was told to be
 * removed goes as soon as it has ended.
 */
export function trimHistory(plan: Plan, { tasks }: Slot, keep: number): void {
  let left = keep;
  for (const task of tasks.toReversed()) {
    if (!hasEnded(task)) continue;
    if (isReleased(task) || (left <= 0 && !settles(plan.drafted(task)))) plan.delete(task);
    else left -= 1;
  }
}

function settles(task: Task): boolean {
  return (task.record?.settled ?? "") !== "";
}
