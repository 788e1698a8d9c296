/** Tasks that the cluster has forgotten, of which a node may still keep the log. */
import {
  ApiError,
  NodeStatus_State,
  ObjectKind,
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

/** Ids that `ref` meant, as the events have it: of a task by its id or `SERVICE.SLOT`, or of all of a service's. */
export function goneTasks(view: View, ref: string): readonly string[] {
  const found = new Set<string>();
  for (const { kind, objectId, objectName } of view.list("events")) {
    if (kind !== ObjectKind.TASK) continue;
    if (objectId === ref || objectName === ref || objectName.startsWith(`${ref}.`)) found.add(objectId);
  }
  if (taskId.test(ref)) found.add(ref);
  return [...found].slice(-mostTasks);
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
  const ask = async function* (node: Node): AsyncGenerator<LogLines, void, void> {
    try {
      yield* relay.logs(idOf(node), request, signal);
    } catch (error) {
      if (ApiError.is(error, "API_UNAVAILABLE")) away = error;
      else if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
    }
  };
  let some = false;
  for await (const lines of mergeByTime(ready.map(ask))) {
    some = true;
    yield lines;
  }
  if (!some) throw away ?? unknown;
}
