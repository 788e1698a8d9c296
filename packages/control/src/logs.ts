/**
 * Lines of a task, or of all tasks of a service, from whichever nodes they are on: what is there, merged by time, then
 * with `follow` what comes (`log-follow.ts`). Of what the cluster has forgotten, what nodes still keep (`gone-tasks.ts`).
 */
import { ApiError, LogsRequest_Runs, type LogLines, type LogsRequest, type Task } from "@warren/api";
import { compareTasks, hasEnded, hasStarted, newestTask } from "@warren/api/model";
import type { View } from "@warren/store";
import { idOf, nodeName, resolveServiceOrTask, taskName, type Access } from "./access.ts";
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
    const gone = goneTasks(view, request.ref, request.runs);
    if (gone.length === 0) throw error;
    return yield* goneLogs(view, dependencies.relay, gone, request, error, signal);
  }
  const wanted = runsOf(view, subject, request);
  // What is asked for is a part of a slot's runs, and none that is named.
  const isPart = subject.kind === "service" || request.runs === LogsRequest_Runs.ALL;
  const positions = new Map<string, LogPosition>();
  let tail: number | undefined;
  try {
    for await (const { lines } of past(store.view(), dependencies, wanted, isPart, request, signal)) {
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

/** Those whose lines are asked for. @throws ApiError `API_NOT_FOUND` of a task that has none before it */
function runsOf(view: View, subject: Subject, { runs, ref }: LogsRequest): readonly Task[] {
  const tasks = tasksOf(view, subject);
  if (subject.kind === "task") {
    const [task = subject.task] = tasks;
    if (runs === LogsRequest_Runs.ALL) return view.find("tasks", "slot", task.slotId);
    if (runs !== LogsRequest_Runs.PREVIOUS) return [task];
    const before = view.find("tasks", "slot", task.slotId).filter((each) => compareTasks(each, task) < 0);
    const previous = newestTask(before.filter(hasEnded));
    if (previous !== undefined) return [previous];
    throw new ApiError(
      { code: "API_NOT_FOUND", kind: "task", ref },
      `${taskName(task)} has no earlier task whose log is kept`,
    );
  }
  if (runs !== LogsRequest_Runs.CURRENT && runs !== LogsRequest_Runs.PREVIOUS) return tasks;
  const current = new Set([...Map.groupBy(tasks, ({ slotId }) => slotId).values()].flatMap(currentOf));
  return runs === LogsRequest_Runs.CURRENT ? [...current] : tasks.filter((task) => !current.has(task));
}

/** Of one slot's tasks those that have started and not ended; while there is none, the one that ended last. */
function currentOf(history: readonly Task[]): readonly Task[] {
  const live = history.filter((task) => hasStarted(task) && !hasEnded(task));
  const last = newestTask(history.filter(hasEnded));
  return live.length > 0 || last === undefined ? live : [last];
}

function past(
  view: View,
  { relay }: LogsDependencies,
  wanted: readonly Task[],
  isPart: boolean,
  { since, tail }: LogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const placed = wanted.filter(({ nodeId }) => nodeId !== "");
  const streams = [...Map.groupBy(placed, ({ nodeId }) => nodeId)].map(([nodeId, some]) => {
    const lines = relay.logs(nodeId, { taskIds: some.map(idOf), follow: false, since, tail }, signal);
    const node = view.get("nodes", nodeId);
    const name = node === undefined ? nodeId : nodeName(node);
    return naming(isPart ? orNone(lines) : lines, name);
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
