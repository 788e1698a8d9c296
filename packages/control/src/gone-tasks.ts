/** Tasks that the cluster has forgotten, of which a node may still keep the log. */
import {
  ApiError,
  LogsRequest_Runs,
  NodeStatus_State,
  ObjectKind,
  type Event,
  type LogLines,
  type LogsRequest,
  type Node,
  type Relay,
} from "@warren/api";
import type { View } from "@warren/store";
import { idOf } from "./access.ts";
import { mergeByTime } from "./log-merge.ts";

/** A whole id: 25 digits of base 36. */
const taskId = /^[0-9a-z]{25}$/;

/** Of one answer; the newest are asked for. */
const mostTasks = 100;

/**
 * Ids that `ref` meant, as the events have it: of a task by its id or `SERVICE.SLOT`, or of all of a service's, by its name
 * or its id.
 */
export function goneTasks(view: View, ref: string, runs: LogsRequest_Runs): readonly string[] {
  const events = view.list("events");
  const { name, from, until } = serviceOf(events, ref) ?? { name: ref, from: 0, until: events.length };
  /** By task, its name. */
  const found = new Map<string, string>();
  for (const { kind, objectId, objectName } of events.slice(from, until)) {
    if (kind !== ObjectKind.TASK) continue;
    if (objectId === ref || objectName === name || objectName.startsWith(`${name}.`)) found.set(objectId, objectName);
  }
  if (taskId.test(ref) && found.size === 0) found.set(ref, "");
  // The order of events is that of the runs, so the last of a slot comes last.
  const last = new Set(new Map([...found].map(([id, slot]) => [slot, id])).values());
  const isWanted = (id: string): boolean => {
    if (runs === LogsRequest_Runs.CURRENT) return last.has(id);
    return runs !== LogsRequest_Runs.PREVIOUS || !last.has(id);
  };
  return [...found.keys()].filter(isWanted).slice(-mostTasks);
}

/**
 * The service that had the id, as events have it: its name, and between which events the name was its own. Undefined where
 * none is known of it.
 */
function serviceOf(
  events: readonly Event[],
  ref: string,
): { readonly name: string; readonly from: number; readonly until: number } | undefined {
  const isService = ({ kind }: Event): boolean => kind === ObjectKind.SERVICE;
  const from = events.findIndex((event) => isService(event) && event.objectId === ref);
  const first = events[from];
  if (first === undefined) return undefined;
  const { objectName: name } = first;
  const next = events.findIndex(
    (event, i) => i > from && isService(event) && event.objectName === name && event.objectId !== ref,
  );
  return { name, from, until: next < 0 ? events.length : next };
}

/**
 * What the nodes keep of the logs of `taskIds`, by time.
 *
 * @throws ApiError `unknown` where none keeps any, `API_UNAVAILABLE` where one could not be asked
 */
export async function* goneLogs(
  view: View,
  relay: Relay,
  taskIds: readonly string[],
  { since, tail }: LogsRequest,
  unknown: ApiError,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const ready = view.list("nodes").filter(({ status }) => status?.state === NodeStatus_State.READY);
  const request = { taskIds: [...taskIds], follow: false, since, tail };
  // Where they ran is forgotten with them, so every node is asked; what one can't say another may.
  let away: ApiError | undefined;
  let isKept = false;
  const ask = async function* (node: Node): AsyncGenerator<LogLines, void, void> {
    try {
      yield* relay.logs(idOf(node), request, signal);
      // It has a log of them, though nothing may be in it.
      isKept = true;
    } catch (error) {
      if (ApiError.is(error, "API_UNAVAILABLE")) away = error;
      else if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
    }
  };
  yield* mergeByTime(ready.map(ask));
  if (!isKept) throw away ?? unknown;
}
