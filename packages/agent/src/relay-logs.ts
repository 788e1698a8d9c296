import type { AssignedTask, LogLine as ApiLine, RelayLogs } from "@warren/api";
import { RuntimeError, type LogLine, type LogOptions } from "@warren/runtime";
import type { Clock, Timer } from "@warren/std";
import { RelayRefused, relayStatus, type Relay, type RelayDependencies } from "./relay.ts";

/** Lines in one message. */
const batchLines = 256;
/** How long those of other tasks wait for one that may come later in time, ms. Past it a log is taken to be caught up. */
const mergeWaitMs = 100;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface TaskLine {
  readonly task: AssignedTask;
  readonly line: LogLine;
}

/** Tells the lines of some tasks by time, and with `follow` goes on with those that come. */
export async function relayLogs(
  dependencies: RelayDependencies,
  { taskIds, follow, since, tail }: RelayLogs,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const tasks = dependencies.tasks().filter(({ id }) => taskIds.includes(id));
  if (tasks.length === 0)
    throw new RelayRefused(relayStatus.notFound, `none of the ${taskIds.length} tasks is on this node any more`);
  const options: LogOptions = {
    follow,
    signal,
    ...(since !== undefined && { since: since.getTime() }),
    ...(tail !== undefined && { tail }),
  };
  const sources = tasks.map((task) => linesOf(dependencies, task, options, signal));
  const waiting: ApiLine[] = [];
  let sending = Promise.resolve();
  const flush = async (): Promise<void> => {
    while (waiting.length > 0) await relay.send({ $case: "logs", value: { lines: waiting.splice(0, batchLines) } });
  };
  const merged = mergeLines(sources, follow ? dependencies.clock : undefined);
  for await (const { task, line } of merged) {
    if (signal.aborted) break;
    waiting.push({
      at: new Date(line.at),
      stderr: line.stream === "stderr",
      line: Buffer.from(line.line),
      taskId: task.id,
      serviceName: task.serviceName,
      slot: task.slot,
      nodeId: dependencies.nodeId,
    });
    // What comes in one turn of the loop, or while a message is on its way, goes together; a reader that is slow holds
    // up the reading.
    if (waiting.length === 1) sending = sending.then(nextTurn).then(flush);
    if (waiting.length >= batchLines) await sending;
  }
  await sending;
}

async function* linesOf(
  { runtime, hasContainer, containers }: RelayDependencies,
  task: AssignedTask,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<TaskLine, void, void> {
  const there = options.follow === true ? await hasContainer(task.id, signal) : containers.get(task.id) !== undefined;
  if (!there) return;
  try {
    for await (const line of runtime.logs(task.id, options)) yield { task, line };
  } catch (error) {
    // The task was forgotten meanwhile, and its log with it.
    if (!RuntimeError.is(error, "RUNTIME_NOT_FOUND")) throw error;
  }
}

interface Source {
  readonly lines: AsyncIterator<TaskLine, void>;
  /** Read, not yet passed on. */
  head: TaskLine | undefined;
  asked: boolean;
  done: boolean;
  /** It has told all it had: nobody waits for its next. */
  caughtUp: boolean;
}

/**
 * Lines of several logs, each in order, by time. With a clock the logs go on for ever: one that has nothing for 100 ms
 * is caught up, and from then on lines come as they are written.
 */
export async function* mergeLines(
  logs: readonly AsyncIterable<TaskLine, void>[],
  clock: Clock | undefined,
): AsyncGenerator<TaskLine, void, void> {
  const sources: Source[] = logs.map((log) => ({
    lines: log[Symbol.asyncIterator](),
    head: undefined,
    asked: false,
    done: false,
    caughtUp: false,
  }));
  let failure: { readonly error: unknown } | undefined;
  let wake = Promise.withResolvers<void>();
  const ask = (source: Source): void => {
    source.asked = true;
    source.lines
      .next()
      .then(
        (next) => {
          source.asked = false;
          if (next.done === true) source.done = true;
          else source.head = next.value;
        },
        (error: unknown) => (failure ??= { error }),
      )
      .finally(() => wake.resolve());
  };
  let timer: Timer | undefined;
  try {
    for (;;) {
      if (failure !== undefined) throw failure.error;
      for (const source of sources) if (!source.asked && !source.done && source.head === undefined) ask(source);
      const late = sources.filter((source) => source.asked && !source.caughtUp);
      const first = earliest(sources);
      if (first?.head !== undefined && late.length === 0) {
        timer?.cancel();
        timer = undefined;
        yield first.head;
        first.head = undefined;
        continue;
      }
      if (sources.every(({ done, head }) => done && head === undefined)) return;
      if (late.length > 0)
        timer ??= clock?.setTimeout(() => {
          timer = undefined;
          for (const source of sources) if (source.asked) source.caughtUp = true;
          wake.resolve();
        }, mergeWaitMs);
      await wake.promise;
      wake = Promise.withResolvers();
    }
  } finally {
    timer?.cancel();
    // Asked to end, not waited for: what it hangs in ends with the signal.
    for (const source of sources) source.lines.return?.().then(undefined, () => undefined);
  }
}

function earliest(sources: readonly Source[]): Source | undefined {
  let first: Source | undefined;
  for (const source of sources)
    if (source.head !== undefined && (first?.head === undefined || source.head.line.at < first.head.line.at))
      first = source;
  return first;
}
