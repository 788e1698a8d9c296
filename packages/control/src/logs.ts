/**
 * Lines of a task, or of all tasks of a service, from whichever nodes they are on.
 *
 * What is there is asked of each node and merged by time. With `follow`, each task that has not ended is then asked by
 * itself, from its last line on, and lines come as they come; tasks that the service gets later join, and a node that
 * was lost is asked again, from the last line on.
 */
import { ApiError, type LogLines, type LogsRequest, type Service, type Task } from "@warren/api";
import { Backoff, TaskGroup, delay } from "@warren/std";
import type { Store, StoreChange, View } from "@warren/store";
import { idOf, nodeName, resolveServiceOrTask, taskName, type Access } from "./access.ts";
import { Channel } from "./channel.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { fromStore } from "./failures.ts";
import { limits } from "./limits.ts";
import { mergeByTime } from "./log-merge.ts";
import { LogPosition } from "./log-position.ts";
import { hasEnded } from "./task-state.ts";

type LogsDependencies = Pick<ControlDependencies, "clock" | "random" | "relay">;
type Subject = { readonly kind: "service"; readonly service: Service } | { readonly kind: "task"; readonly task: Task };

export async function* logs(
  access: Access,
  dependencies: LogsDependencies,
  request: LogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const store = access.store();
  const subject = resolveServiceOrTask(store.view(), request.ref);
  if (!request.follow) {
    yield* past(store.view(), dependencies, subject, request, signal);
    return;
  }
  if (subject.kind === "task" && subject.task.nodeId === "") throw notPlaced(subject.task);
  const positions = new Map<string, LogPosition>();
  let tail: number | undefined;
  try {
    for await (const { lines } of past(store.view(), dependencies, subject, request, signal)) {
      for (const line of lines) positionOf(positions, line.taskId).told(line);
      yield { lines };
    }
  } catch (error) {
    // A node that can't be reached now is asked again below.
    if (!ApiError.is(error, "API_UNAVAILABLE")) throw error;
    tail = request.tail;
  }
  yield* follow(store, dependencies, subject, { since: request.since, tail, positions }, signal);
}

function positionOf(positions: Map<string, LogPosition>, taskId: string): LogPosition {
  const position = positions.get(taskId) ?? new LogPosition();
  positions.set(taskId, position);
  return position;
}

function tasksOf(view: View, subject: Subject): readonly Task[] {
  if (subject.kind === "task") return [subject.task];
  return view.find("tasks", "service", idOf(subject.service));
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
    return naming(lines, node === undefined ? nodeId : nodeName(node));
  });
  return mergeByTime(streams);
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

function notPlaced(task: Task): ApiError {
  return new ApiError(
    { code: "API_UNAVAILABLE" },
    `task ${taskName(task)} has no node yet, so it has written nothing`,
    {
      remedy: `see why: warren why ${idOf(task)}`,
    },
  );
}

interface Start {
  readonly since: Date | undefined;
  readonly tail: number | undefined;
  readonly positions: Map<string, LogPosition>;
}

async function* follow(
  store: Store,
  dependencies: LogsDependencies,
  subject: Subject,
  start: Start,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const left = new AbortController();
  const ended = AbortSignal.any([signal, left.signal]);
  const channel = new Channel<LogLines>();
  await using group = new TaskGroup((_, error) => channel.fail(error), ended);
  const joined = new Set<string>();
  let open = 0;
  const join = (task: Task, from: Start): void => {
    const id = idOf(task);
    if (task.nodeId === "" || hasEnded(task) || joined.has(id)) return;
    if (open >= limits.followedTasks) throw tooManyFollowed();
    joined.add(id);
    open += 1;
    group.run(`logs of ${id}`, async (signal) => {
      await followTask(store, dependencies, task, from, channel, signal);
      open -= 1;
      if (subject.kind === "task") channel.end();
    });
  };
  try {
    const { view, changes } = store.watch({ tables: ["tasks"], limit: limits.watchBatches, signal: ended });
    for (const task of tasksOf(view, subject))
      join(subject.kind === "task" ? (view.get("tasks", idOf(task)) ?? task) : task, start);
    if (subject.kind === "service") {
      const anew: Start = { since: undefined, tail: undefined, positions: start.positions };
      group.run("tasks to come", async () => {
        for await (const batch of changes) {
          for (const change of batch.changes) if (isOf(change, subject.service)) join(change.object, anew);
        }
      });
    } else if (open === 0) return;
    yield* channel.values(ended);
  } catch (error) {
    throw fromStore(error);
  } finally {
    left.abort();
    channel.end();
  }
}

function isOf(change: StoreChange, service: Service): change is Extract<StoreChange, { readonly table: "tasks" }> {
  return change.table === "tasks" && change.kind !== "delete" && change.object.serviceId === idOf(service);
}

function tooManyFollowed(): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, `at most ${limits.followedTasks} tasks can be followed at once`, {
    remedy: "follow single tasks: warren task logs",
  });
}

async function followTask(
  store: Store,
  { relay, clock, random }: LogsDependencies,
  task: Task,
  start: Start,
  channel: Channel<LogLines>,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(random, { baseMs: 250, maxMs: 5_000 });
  const position = positionOf(start.positions, idOf(task));
  while (!signal.aborted) {
    const fresh = position.resume();
    const tail = position.at === undefined ? start.tail : undefined;
    const request = { taskIds: [idOf(task)], follow: true, since: position.at ?? start.since, tail };
    try {
      for await (const { lines } of relay.logs(task.nodeId, request, signal)) {
        backoff.reset();
        const some = fresh(lines);
        for (const line of some) position.told(line);
        if (some.length > 0) await channel.send({ lines: some }, signal);
      }
      return;
    } catch (error) {
      if (!ApiError.is(error, "API_UNAVAILABLE")) throw error;
      const now = store.view().get("tasks", idOf(task));
      if (now === undefined || hasEnded(now)) return;
      await delay(clock, backoff.next(), signal);
    }
  }
}
