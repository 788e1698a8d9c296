/** Whether as many of a service's tasks run, healthy, as it wants: of whichever version, and whatever an update does. Pure. */
import { isMeantToRun, isRunning } from "@warren/api/model";
import type { Observed, Progress } from "./convergence.ts";

export function serving({ service, tasks, synced }: Observed): Progress {
  if (!synced) return { kind: "waiting", text: "asking" };
  if (service?.spec === undefined) return { kind: "gone", text: "the service is gone" };
  const { name, mode } = service.spec;
  const wanted = mode?.value.replicas ?? 0;
  const running = [...tasks.values()].filter((task) => isMeantToRun(task) && isRunning(task));
  // While one takes over from another, both may run in a slot.
  const count = new Set(running.map(({ slotId }) => slotId)).size;
  const checked = service.spec.task?.container?.healthCheck === undefined ? "running" : "healthy";
  const text = `${name}: ${count} of ${wanted} task${wanted === 1 ? "" : "s"} ${checked}`;
  return { kind: count >= wanted ? "converged" : "waiting", text };
}
