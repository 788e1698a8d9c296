import {
  TaskState,
  UpdateStatus_State,
  type RunEnd,
  type Service,
  type ServiceSummary,
  type Slot,
  type Task,
  type UpdateStatus,
} from "@warren/api";
import {
  compareSlotKeys,
  hasEnded,
  isRunning,
  newestTask,
  recordedLease,
  recordOf,
  slotKeyText,
  slotName,
  stateOf,
} from "@warren/api/model";
import type { View } from "@warren/store";
import { idOf, nodeName } from "./access.ts";
import { endText, isNodeDown, isSettled, serves, waitingText, waitsForNode, wantedMake } from "./task-reading.ts";

export function replicasOf(service: Service): number {
  return service.spec?.mode?.$case === "replicated" ? service.spec.mode.value.replicas : 0;
}

/** The update to the version that is wanted now; what is said of an older one no longer holds. */
export function currentUpdate({ updateStatus, versionId }: Service): UpdateStatus | undefined {
  return updateStatus?.versionId === versionId ? updateStatus : undefined;
}

/** A wanted slot and its tasks, the oldest first. */
interface Place {
  readonly slot: Slot;
  readonly history: readonly Task[];
  readonly newest: Task | undefined;
  readonly runs: boolean;
}

export function summarize(view: View, service: Service): ServiceSummary {
  const desired = replicasOf(service);
  const tasks = view.find("tasks", "service", idOf(service));
  const runs = tasks.filter((task) => serves(view, task));
  // While one takes over from another, both may run in a slot.
  const running = new Set(runs.map(({ slotId }) => slotId)).size;
  const make = wantedMake(view, idOf(service));
  const current = runs.filter(({ versionId }) => view.get("versions", versionId)?.make === make);
  const updated = new Set(current.map(({ slotId }) => slotId)).size;
  const places = placesOf(view, service, tasks, new Set(runs));
  const settled = places.filter(({ slot }) => isSettled(slot));
  const completed = settled.filter(({ newest }) => stateOf(newest ?? {}) === TaskState.COMPLETE).length;
  const counts = { desired, running, updated, settled: settled.length, completed };
  return {
    ...counts,
    waiting: running >= desired ? "" : waiting(view, places, desired),
    status: statusText(view, service, counts, places, tasks.some(isRunning)),
    runningImages: imagesOf(view, runs),
  };
}

function placesOf(view: View, service: Service, tasks: readonly Task[], runs: ReadonlySet<Task>): readonly Place[] {
  const bySlot = Map.groupBy(tasks, ({ slotId }) => slotId);
  return view
    .find("slots", "service", idOf(service))
    .filter(({ wanted }) => wanted)
    .toSorted((a, b) => compareSlotKeys(a.key, b.key))
    .map((slot) => {
      const history = bySlot.get(idOf(slot)) ?? [];
      return { slot, history, newest: newestTask(history), runs: history.some((task) => runs.has(task)) };
    });
}

/** Of the first slot that does not run. */
function waiting(view: View, places: readonly Place[], desired: number): string {
  for (const place of places) {
    if (place.runs) continue;
    const text = slotWaits(view, place);
    if (text !== "") return `slot ${slotKeyText(place.slot.key)}: ${text}`;
  }
  return places.length < desired ? "its tasks are not made yet" : "";
}

function slotWaits(view: View, { slot, newest, history }: Place): string {
  if (newest === undefined) return "";
  const ended = lastEnded(history);
  const failures = failuresOf(slot);
  // It is to move, but its node goes on trying: what fails there matters more than that no other node takes it.
  if (failures >= looping && ended !== undefined && waitsForNode(newest))
    return `${endText(ended)}, ${failures} times in a row`;
  const node = newest.nodeId === "" ? undefined : view.get("nodes", newest.nodeId);
  const text = waitingText(newest, node);
  return slot.settled === "" ? text : `${text}; no more tries: ${slot.settled}`;
}

type Counts = Pick<ServiceSummary, "desired" | "running" | "updated" | "settled" | "completed">;

/** What somebody has to know first, in a few words. */
function statusText(view: View, service: Service, counts: Counts, places: readonly Place[], someRun: boolean): string {
  const { desired, running, updated, settled, completed } = counts;
  if (desired === 0) return someRun ? "stopping" : "scaled to 0";
  const state = currentUpdate(service)?.state;
  if (state === UpdateStatus_State.PAUSED) return "update paused";
  if (state === UpdateStatus_State.ROLLBACK_PAUSED) return "rollback paused";
  const trouble = troubleText(
    view,
    places.filter(({ slot, runs }) => !runs && !isSettled(slot)),
  );
  if (trouble !== "") return trouble;
  if (state === UpdateStatus_State.UPDATING) return `updating ${updated}/${desired}`;
  if (state === UpdateStatus_State.ROLLING_BACK) return `rolling back ${updated}/${desired}`;
  if (settled > completed) return running === 0 && completed === 0 ? "failed" : `${settled - completed} failed`;
  if (running + completed < desired) return `starting ${running}/${desired}`;
  if (running === 0) return "completed";
  return state === UpdateStatus_State.ROLLED_BACK ? rolledBackText(service) : "running";
}

/** `rolled back: web.1 exit code 1`; of one that a user asked for, `rolled back`. */
function rolledBackText({ spec, updateStatus }: Service): string {
  const { cause = "", failedSlot, failedEnd } = updateStatus ?? {};
  if (cause === "") return "rolled back";
  if (failedEnd === undefined) return "rolled back: no progress";
  return `rolled back: ${slotName({ serviceName: spec?.name ?? "", slot: failedSlot })} ${shortEnd(failedEnd)}`;
}

function shortEnd({ oomKilled, rejected, complete, exitCode, code }: RunEnd): string {
  if (oomKilled) return "out of memory";
  if (rejected) return rejections[code] ?? "can't start";
  if (complete) return "ended";
  if (code === "AGENT_UNHEALTHY") return "unhealthy";
  return exitCode === undefined ? "failed" : `exit code ${exitCode}`;
}

/** In a row, up to now. */
function failuresOf(slot: Slot): number {
  return recordOf(recordedLease(slot))?.failures ?? 0;
}

/** In a row: before it, a failure is bad luck. */
const looping = 3;

/** The worst of what keeps slots from running; empty where they are only on their way. */
function troubleText(view: View, places: readonly Place[]): string {
  const failures = Math.max(0, ...places.map(({ slot }) => failuresOf(slot)));
  if (failures >= looping) return `crash-looping ${failures} ×`;
  const away = places.map(({ newest }) => view.get("nodes", newest?.nodeId ?? "")).find(isNodeDown);
  if (away !== undefined) return `node down: ${nodeName(away)}`;
  const rejected = places.find(({ history }) => stateOf(lastEnded(history) ?? {}) === TaskState.REJECTED);
  if (rejected !== undefined) return `can't start: ${rejectionText(lastEnded(rejected.history))}`;
  for (const { newest } of places) {
    const { pending, state = TaskState.NEW } = newest?.status ?? {};
    if (pending === undefined || state > TaskState.PENDING) continue;
    const [first] = pending.refusals;
    return `waits: ${first === undefined ? "no node" : lackText(first.filter, first.text)}`;
  }
  return "";
}

function lastEnded(history: readonly Task[]): Task | undefined {
  return newestTask(history.filter(hasEnded));
}

function rejectionText(task: Task | undefined): string {
  return rejections[task?.status?.code ?? ""] ?? "see why";
}

/** By the code of the error, which is public API. */
const rejections: Readonly<Record<string, string>> = {
  RUNTIME_REFERENCE_INVALID: "image's name",
  RUNTIME_IMAGE_NOT_FOUND: "no such image",
  RUNTIME_IMAGE_INVALID: "broken image",
  RUNTIME_DIGEST_MISMATCH: "broken image",
  RUNTIME_PLATFORM_MISSING: "image's platform",
  RUNTIME_REGISTRY_UNREACHABLE: "registry away",
  RUNTIME_REGISTRY_UNAUTHORIZED: "registry login",
  RUNTIME_REGISTRY_REFUSED: "registry refuses",
  RUNTIME_DISK_FULL: "disk full",
  RUNTIME_UNAVAILABLE: "no containerd",
};

/** What a task waits for, by the scheduler's filter. */
function lackText(filter: string, text: string): string {
  // Its text begins with what there is too little of.
  const [, kind] = /^short of ([^:]+):/.exec(text) ?? [];
  return filter === "resources" && kind !== undefined ? kind : (lacks[filter] ?? filter);
}

const lacks: Readonly<Record<string, string>> = {
  ready: "a ready node",
  constraints: "constraints",
  platform: "platform",
  "host-ports": "a port of the node",
  "max-per-node": "max per node",
};

function imagesOf(view: View, runs: readonly Task[]): string[] {
  const images = runs.map(({ versionId }) => view.get("versions", versionId)?.task?.container?.image ?? "");
  return [...new Set(images)].filter((image) => image !== "").sort();
}

/** A service as it is given out. */
export function presentService(view: View, service: Service): Service {
  return { ...service, summary: summarize(view, service) };
}
