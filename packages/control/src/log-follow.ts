/**
 * Lines as they come. Each node is asked for the tasks that have not ended, from their last lines on; tasks that come
 * later join; a node that was lost is asked again, and what was told is not told twice.
 */
import { ApiError, TaskState, type LogLines, type Service, type Task } from "@warren/api";
import { hasEnded, stateOf } from "@warren/api/model";
import { Backoff, Channel, TaskGroup, delay } from "@warren/std";
import type { Store, StoreChange, View } from "@warren/store";
import { idOf } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { fromStore } from "./failures.ts";
import { limits } from "./limits.ts";
import { LogPosition } from "./log-position.ts";

export type LogsDependencies = Pick<ControlDependencies, "clock" | "random" | "relay">;

/** Whose lines. */
export type Subject =
  | { readonly kind: "service"; readonly service: Service }
  | { readonly kind: "task"; readonly task: Task };

/** From where on. */
export interface Start {
  readonly since: Date | undefined;
  readonly tail: number | undefined;
  /** What was told of each task; goes on with what is told here. */
  readonly positions: Map<string, LogPosition>;
}

export function tasksOf(view: View, subject: Subject): readonly Task[] {
  if (subject.kind === "service") return view.find("tasks", "service", idOf(subject.service));
  return [view.get("tasks", idOf(subject.task)) ?? subject.task];
}

export function positionOf(positions: Map<string, LogPosition>, taskId: string): LogPosition {
  const position = positions.get(taskId) ?? new LogPosition();
  positions.set(taskId, position);
  return position;
}

/** What another try may mend: a node that is away, or does not know a task yet. */
export function isPassing(error: unknown): boolean {
  return ApiError.is(error, "API_UNAVAILABLE") || ApiError.is(error, "API_NOT_FOUND");
}

/** Of a task until it has ended, of a service until the caller goes. */
export async function* followLogs(
  store: Store,
  dependencies: LogsDependencies,
  subject: Subject,
  start: Start,
  signal: AbortSignal,
): AsyncGenerator<LogLines, void, void> {
  const left = new AbortController();
  const ended = AbortSignal.any([signal, left.signal]);
  const channel = new Channel<LogLines>();
  const close = (): void => channel.close();
  ended.addEventListener("abort", close, { once: true });
  await using group = new TaskGroup((_, error) => channel.fail(error), ended);
  const followed = new Set<string>();
  const endWithTask = (tasks: readonly Task[]): void => {
    if (subject.kind === "task" && followed.size === 0 && tasks.some(hasEnded)) channel.close();
  };
  const join = (tasks: readonly Task[], from: Start): void => {
    const some = tasks.filter((task) => isKnownToNode(task) && !hasEnded(task) && !followed.has(idOf(task)));
    if (followed.size + some.length > limits.followedTasks) throw tooManyFollowed();
    for (const [nodeId, ofNode] of Map.groupBy(some, ({ nodeId }) => nodeId)) {
      const ids = ofNode.map(idOf);
      for (const id of ids) followed.add(id);
      group.run(`logs of node ${nodeId}`, async (signal) => {
        await followNode(store, dependencies, nodeId, ids, from, channel, signal);
        // Its log is at its end, though the task may not be known to have ended: it does not join again.
        if (subject.kind === "task") channel.close();
      });
    }
  };
  try {
    const { view, changes } = store.watch({ tables: ["tasks"], limit: limits.watchBatches, signal: ended });
    const present = tasksOf(view, subject);
    join(present, start);
    endWithTask(present);
    const later: Start = subject.kind === "task" ? start : { ...start, since: undefined, tail: undefined };
    group.run("tasks to come", async () => {
      for await (const batch of changes) {
        const some = batch.changes.filter((change) => isOf(change, subject)).map(({ object }) => object);
        join(some, later);
        endWithTask(some);
      }
    });
    yield* channel;
  } catch (error) {
    throw fromStore(error);
  } finally {
    ended.removeEventListener("abort", close);
    left.abort();
    channel.close();
  }
}

/** A node hears of a task a moment after it was assigned. */
function isKnownToNode(task: Task): boolean {
  return task.nodeId !== "" && stateOf(task) >= TaskState.ACCEPTED;
}

function isOf(change: StoreChange, subject: Subject): change is Extract<StoreChange, { readonly table: "tasks" }> {
  if (change.table !== "tasks") return false;
  if (subject.kind === "task") return idOf(change.object) === idOf(subject.task);
  return change.kind !== "delete" && change.object.serviceId === idOf(subject.service);
}

function tooManyFollowed(): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, `at most ${limits.followedTasks} tasks can be followed at once`, {
    remedy: "follow single tasks: warren task logs",
  });
}

/** Ends when the node says that all the logs are at their end, or when the tasks have ended and it can't be asked. */
async function followNode(
  store: Store,
  { relay, clock, random }: LogsDependencies,
  nodeId: string,
  taskIds: readonly string[],
  { since, tail, positions }: Start,
  channel: Channel<LogLines>,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(random, { baseMs: 250, maxMs: 5_000 });
  for (let open = taskIds; open.length > 0 && !signal.aborted; open = open.filter((id) => goesOn(store.view(), id))) {
    const known = open.map((id) => positionOf(positions, id));
    const wasTold = new Map(open.map((id) => [id, positionOf(positions, id).resume()]));
    const request = {
      taskIds: [...open],
      follow: true,
      since: earliest(known) ?? since,
      tail: known.some(({ at }) => at !== undefined) ? undefined : tail,
    };
    try {
      for await (const { lines } of relay.logs(nodeId, request, signal)) {
        backoff.reset();
        const fresh = lines.filter((line) => wasTold.get(line.taskId)?.(line) !== true);
        for (const line of fresh) positionOf(positions, line.taskId).told(line);
        if (fresh.length > 0) await channel.send({ lines: fresh }, signal);
      }
      return;
    } catch (error) {
      if (!isPassing(error)) throw error;
      if (open.some((id) => goesOn(store.view(), id))) await delay(clock, backoff.next(), signal);
    }
  }
}

function goesOn(view: View, taskId: string): boolean {
  const task = view.get("tasks", taskId);
  return task !== undefined && !hasEnded(task);
}

/** From where all of them have what was not told yet; undefined if of one nothing was told. */
function earliest(positions: readonly LogPosition[]): Date | undefined {
  let first: Date | undefined;
  for (const { at } of positions) {
    if (at === undefined) return undefined;
    if (first === undefined || at < first) first = at;
  }
  return first;
}
