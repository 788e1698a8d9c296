import type { Service, ServiceSummary, Task } from "@warren/api";
import type { View } from "@warren/store";
import { idOf, newestOf } from "./access.ts";
import { isRunning, isWanted, waitingText } from "./task-state.ts";
import { redactService } from "./redaction.ts";

export function replicasOf(service: Service): number {
  if (service.deleting) return 0;
  return service.spec?.mode?.$case === "replicated" ? service.spec.mode.value.replicas : 0;
}

export function summarize(view: View, service: Service): ServiceSummary {
  const tasks = view.find("tasks", "service", idOf(service));
  const desired = replicasOf(service);
  const running = tasks.filter(isRunning).length;
  return { desired, running, waiting: running >= desired ? "" : waiting(view, tasks, desired) };
}

/** Of the first slot that does not run. */
function waiting(view: View, tasks: readonly Task[], desired: number): string {
  const slots = Map.groupBy(tasks, ({ slot }) => slot);
  for (const [slot, history] of [...slots].sort(([a], [b]) => a - b)) {
    if (history.some(isRunning)) continue;
    const task = newestOf(history.filter(isWanted)) ?? newestOf(history);
    if (task === undefined) continue;
    const settled = task.record?.settled ?? "";
    const node = task.nodeId === "" ? undefined : view.get("nodes", task.nodeId);
    return `slot ${slot}: ${settled === "" ? waitingText(task, node) : `${waitingText(task, node)}; no more tries: ${settled}`}`;
  }
  return slots.size < desired ? "its tasks are not made yet" : "";
}

/** A service as it is given out. */
export function presentService(view: View, service: Service): Service {
  return { ...redactService(service), summary: summarize(view, service) };
}
