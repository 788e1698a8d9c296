/**
 * Lines of a task, or of all tasks of a service, from whichever nodes they are on: what is there, merged by time, then
 * with `follow` what comes (`log-follow.ts`). Of what the cluster has forgotten, what nodes still keep (`gone-tasks.ts`).
 */
import { ApiError, type LogLines, type LogsRequest } from "@warren/api";
import type { View } from "@warren/store";
import { idOf, nodeName, resolveServiceOrTask, type Access } from "./access.ts";
import { goneLogs, goneTasks } from "./gone-tasks.ts";
import { followLogs, isPassing, positionOf, tasksOf, type LogsDependencies, type Subject } from "./log-follow.ts";
import { mergeByTime } from "./log-merge.ts";
import type { LogPosition } from "./log-position.ts";

export async function* logs(
  access: Access,
  dependencies: LogsDependencies,
  request: LogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const store = access.store();
  const view = store.view();
  let subject: Subject;
  try {
    subject = resolveServiceOrTask(view, request.ref);
  } catch (error) {
    if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
    const gone = goneTasks(view, request.ref);
    if (gone.length === 0) throw error;
    return yield* goneLogs(view, dependencies.relay, gone, request, error, signal);
  }
  const positions = new Map<string, LogPosition>();
  let tail: number | undefined;
  try {
    for await (const { lines } of past(store.view(), dependencies, subject, request, signal)) {
      if (request.follow) for (const line of lines) positionOf(positions, line.taskId).told(line);
      yield { lines };
    }
  } catch (error) {
    // A node that can't be reached now, or does not know the task yet, is asked again below.
    if (!request.follow || !isPassing(error)) throw error;
    tail = request.tail;
  }
  if (request.follow)
    yield* followLogs(store, dependencies, subject, { since: request.since, tail, positions }, signal);
}

function past(
  view: View,
  { relay }: LogsDependencies,
  subject: Subject,
  { since, tail }: LogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const placed = tasksOf(view, subject).filter(({ nodeId }) => nodeId !== "");
  const streams = [...Map.groupBy(placed, ({ nodeId }) => nodeId)].map(([nodeId, some]) => {
    const lines = relay.logs(nodeId, { taskIds: some.map(idOf), follow: false, since, tail }, signal);
    const node = view.get("nodes", nodeId);
    const name = node === undefined ? nodeId : nodeName(node);
    return naming(subject.kind === "task" ? lines : orNone(lines), name);
  });
  return mergeByTime(streams);
}

/** A node that has none of a service's tasks any more has no lines of them. */
async function* orNone(lines: AsyncIterable<LogLines>): AsyncGenerator<LogLines, void, void> {
  try {
    yield* lines;
  } catch (error) {
    if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
  }
}

/** A failure says whose lines are missing. */
async function* naming(lines: AsyncIterable<LogLines>, node: string): AsyncGenerator<LogLines, void, void> {
  try {
    yield* lines;
  } catch (error) {
    if (!ApiError.is(error, "API_UNAVAILABLE")) throw error;
    throw new ApiError({ code: "API_UNAVAILABLE" }, `the lines of node ${node} are missing: ${error.message}`, {
      cause: error,
      remedy: "see whether the node is up: warren node list",
    });
  }
}
