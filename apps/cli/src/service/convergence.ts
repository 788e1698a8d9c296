/** Follows a service until its tasks are as wanted. The decision is pure; the driver reads a watch. */
import { errorText } from "@warren/std";
import {
  ApiError,
  TaskState,
  UpdateStatus_State,
  type Service,
  type Task,
  type UpdateStatus,
  type WatchResponse,
} from "@warren/api";
import { compareSlotKeys, hasEnded, slotName } from "@warren/api/model";
import { stateName } from "../views.ts";

/** What is known of a service while it converges. */
export interface Observed {
  service: Service | undefined;
  readonly tasks: Map<string, Task>;
  /** All that was there has been sent. */
  synced: boolean;
  /** An update was seen under way: if the service is rolled back after that, it is not what was asked for. */
  updating: boolean;
}

export type Progress =
  | { readonly kind: "waiting"; readonly text: string }
  | { readonly kind: "converged"; readonly text: string }
  | { readonly kind: "stopped"; readonly text: string }
  | { readonly kind: "gone"; readonly text: string };

/** Takes one message of a watch in. */
export function observe(observed: Observed, { message }: WatchResponse): void {
  if (message?.$case === "synced") observed.synced = true;
  if (message?.$case !== "change") return;
  const { object, deleted } = message.value;
  if (object?.$case === "service") {
    observed.service = deleted ? undefined : object.value;
    if (currentUpdate(object.value)?.state === UpdateStatus_State.UPDATING) observed.updating = true;
  }
  if (object?.$case !== "task") return;
  const id = object.value.meta?.id ?? "";
  if (deleted) observed.tasks.delete(id);
  else observed.tasks.set(id, object.value);
}

/** The update to the version that is wanted now; what is told of an older one no longer holds. */
function currentUpdate({ updateStatus, versionId }: Service): UpdateStatus | undefined {
  return updateStatus?.versionId === versionId ? updateStatus : undefined;
}

/** Where a service stands: how many of its tasks run as its spec has it now, and why the next one does not. */
export function progress({ service, tasks, synced, updating }: Observed): Progress {
  if (!synced) return { kind: "waiting", text: "asking" };
  if (service?.spec === undefined) return { kind: "gone", text: "the service is gone" };
  const { name } = service.spec;
  const live = [...tasks.values()].filter(({ current, desiredState }) => current && desiredState <= TaskState.RUNNING);
  const wanted = service.spec.mode?.value.replicas ?? 0;
  const current = live.filter(({ upToDate }) => upToDate);
  const running = current.filter(({ status }) => status?.state === TaskState.RUNNING);
  const update = currentUpdate(service);
  // Those that an update has not come to, or leaves as they are, run too.
  const replaces = live.some(({ upToDate, status }) => !upToDate && status?.state === TaskState.RUNNING);
  const text = `${name}: ${running.length} of ${count(wanted, "task")} ${replaces ? "replaced" : "running"}`;
  const halted: readonly (UpdateStatus_State | undefined)[] = [
    UpdateStatus_State.PAUSED,
    UpdateStatus_State.ROLLBACK_PAUSED,
  ];
  if (halted.includes(update?.state))
    return { kind: "stopped", text: `${text}; ${update?.message ?? "the update stopped"}` };
  const rolling: readonly (UpdateStatus_State | undefined)[] = [
    UpdateStatus_State.UPDATING,
    UpdateStatus_State.ROLLING_BACK,
  ];
  const done = running.length === wanted && live.length === wanted && !rolling.includes(update?.state);
  if (done) {
    if (updating && update?.state === UpdateStatus_State.ROLLED_BACK)
      return { kind: "stopped", text: `${text}; rolled back: ${update.message}` };
    return { kind: "converged", text };
  }
  const why = laggard([...tasks.values()], current);
  return { kind: "waiting", text: why === undefined ? text : `${text}; ${why}` };
}

/** How far the tasks of a service that was deleted are. */
export function deletion(name: string): (observed: Observed) => Progress {
  return ({ tasks, synced }) => {
    if (!synced) return { kind: "waiting", text: "asking" };
    const left = [...tasks.values()].filter((task) => !hasEnded(task));
    return left.length === 0
      ? { kind: "gone", text: `${name}: deleted` }
      : { kind: "waiting", text: `${name}: ${count(left.length, "task")} left to stop` };
  };
}

/** What the slowest task is at: the newest failure where the slots' tasks fail, else the one that is least far. */
function laggard(all: readonly Task[], current: readonly Task[]): string | undefined {
  const behind = current
    .filter(({ status }) => status?.state !== TaskState.RUNNING)
    .toSorted((a, b) => (a.status?.state ?? 0) - (b.status?.state ?? 0) || compareSlotKeys(a.slot, b.slot));
  const [slowest] = behind;
  if (slowest === undefined) return undefined;
  const failed = all
    .filter(({ status, slotId }) => slotId === slowest.slotId && failure(status?.state))
    .toSorted((a, b) => (b.status?.at?.getTime() ?? 0) - (a.status?.at?.getTime() ?? 0))
    .at(0);
  const at = `${slotName({ serviceName: slowest.serviceName, slot: slowest.slot })} ${stateName(slowest.status?.state)}`;
  const message = slowest.status?.message ?? "";
  const before = failed?.status?.message === undefined ? "" : `; the one before: ${failed.status.message}`;
  return `${at}${message === "" ? "" : ` (${message})`}${before}`;
}

function failure(state: TaskState | undefined): boolean {
  return state === TaskState.FAILED || state === TaskState.REJECTED;
}

function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? "" : "s"}`;
}

/** Where progress is shown: one line that is written over on a terminal, a line for each change elsewhere. */
export interface ProgressOutput {
  show(text: string): void;
  end(): void;
}

/**
 * Reads `watch` until the service has converged, stopped or gone, as `judge` says.
 *
 * @returns the last progress; `waiting` if the watch ended first
 */
export async function follow(
  watch: AsyncIterable<WatchResponse>,
  output: ProgressOutput,
  judge: (observed: Observed) => Progress = progress,
): Promise<Progress> {
  const observed: Observed = { service: undefined, tasks: new Map(), synced: false, updating: false };
  let last: Progress = { kind: "waiting", text: "asking" };
  try {
    for await (const message of watch) {
      observe(observed, message);
      const next = judge(observed);
      if (next.text !== last.text && observed.synced) output.show(next.text);
      last = next;
      if (last.kind !== "waiting") break;
    }
  } catch (error) {
    if (ApiError.is(error, "API_NOT_FOUND")) last = judge({ ...observed, service: undefined, synced: true });
    else if (ApiError.is(error, "API_CANCELLED"))
      last = { kind: "waiting", text: `${last.text} (${errorText(error)})` };
    else throw error;
  } finally {
    output.end();
  }
  return last;
}
