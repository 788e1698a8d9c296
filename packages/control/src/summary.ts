import type { Service, ServiceSummary, Slot, Task } from "@warren/api";
import { compareSlotKeys, newestTask, slotKeyText } from "@warren/api/model";
import type { View } from "@warren/store";
import { idOf } from "./access.ts";
import { runsAsWanted, waitingText, wantedMake } from "./task-reading.ts";

export function replicasOf(service: Service): number {
  return service.spec?.mode?.$case === "replicated" ? service.spec.mode.value.replicas : 0;
}

export function summarize(view: View, service: Service): ServiceSummary {
  const desired = replicasOf(service);
  const tasks = view.find("tasks", "service", idOf(service));
  const runs = tasks.filter((task) => runsAsWanted(view, task));
  // While one takes over from another, both may run in a slot.
  const running = new Set(runs.map(({ slotId }) => slotId)).size;
  const make = wantedMake(view, idOf(service));
  const current = runs.filter(({ versionId }) => view.get("versions", versionId)?.make === make);
  const updated = new Set(current.map(({ slotId }) => slotId)).size;
  return { desired, running, updated, waiting: running >= desired ? "" : waiting(view, service, tasks, desired) };
}

/** Of the first slot that does not run. */
function waiting(view: View, service: Service, tasks: readonly Task[], desired: number): string {
  const slots = view.find("slots", "service", idOf(service)).filter(({ wanted }) => wanted);
  const bySlot = Map.groupBy(tasks, ({ slotId }) => slotId);
  for (const slot of slots.toSorted((a, b) => compareSlotKeys(a.key, b.key))) {
    const history = bySlot.get(idOf(slot)) ?? [];
    if (history.some((task) => runsAsWanted(view, task))) continue;
    const text = slotWaits(view, slot, history);
    if (text !== "") return `slot ${slotKeyText(slot.key)}: ${text}`;
  }
  return slots.length < desired ? "its tasks are not made yet" : "";
}

function slotWaits(view: View, slot: Slot, history: readonly Task[]): string {
  const task = newestTask(history);
  if (task === undefined) return "";
  const node = task.nodeId === "" ? undefined : view.get("nodes", task.nodeId);
  const text = waitingText(task, node);
  return slot.settled === "" ? text : `${text}; no more tries: ${slot.settled}`;
}

/** A service as it is given out. */
export function presentService(view: View, service: Service): Service {
  return { ...service, summary: summarize(view, service) };
}
