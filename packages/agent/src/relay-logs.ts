import type { LogLine as ApiLine, RelayLogs } from "@warren/api";
import { keyOfSlot } from "@warren/api/model";
import { RuntimeError, type LogLine, type LogOptions } from "@warren/runtime";
import { mergeSorted } from "@warren/std";
import type { RunRecord } from "./local-record.ts";
import { taskNotFound, type Relay, type RelayDependencies } from "./relay.ts";

/** Lines in one message. */
const batchLines = 256;
/** How long a followed line waits for earlier lines of other tasks, ms. */
const mergeWaitMs = 100;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface TaskLine {
  readonly run: RunRecord;
  readonly line: LogLine;
}

/** Sends the log lines of tasks in the order of time; with `follow`, new lines too. */
export async function relayLogs(
  dependencies: RelayDependencies,
  { taskIds, follow, since, tail }: RelayLogs,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const runs = taskIds.map((id) => dependencies.runs().get(id)).filter((run) => run !== undefined);
  if (runs.length === 0)
    throw taskNotFound(taskIds.join(), `none of the ${taskIds.length} tasks is on this node any more`);
  const options: LogOptions = {
    follow,
    signal,
    ...(since !== undefined && { since: since.getTime() }),
    ...(tail !== undefined && { tail }),
  };
  const sources = runs.map((run) => linesOf(dependencies, run, options, signal));
  const waiting: ApiLine[] = [];
  let sending = Promise.resolve();
  // The first failed sending; thrown at the end.
  let failure: { readonly error: unknown } | undefined;
  const flush = async (): Promise<void> => {
    while (waiting.length > 0) await relay.send({ $case: "logs", value: { lines: waiting.splice(0, batchLines) } });
  };
  const inTime = (a: TaskLine, b: TaskLine): number => a.line.at - b.line.at;
  const merged = mergeSorted(
    sources,
    inTime,
    follow ? { follow: { clock: dependencies.clock, waitMs: mergeWaitMs } } : {},
  );
  for await (const { run, line } of merged) {
    if (signal.aborted || failure !== undefined) break;
    waiting.push({
      at: new Date(line.at),
      stderr: line.stream === "stderr",
      line: Buffer.from(line.line),
      taskId: run.id,
      serviceName: run.local.serviceName,
      slot: keyOfSlot(run.local.slotId),
      nodeId: dependencies.nodeId,
    });
    // Lines of one turn of the event loop, or that come while a message is sent, share a message. A slow caller slows
    // the reading.
    if (waiting.length === 1)
      sending = sending
        .then(nextTurn)
        .then(flush)
        .catch((error: unknown) => void (failure ??= { error }));
    if (waiting.length >= batchLines) await sending;
  }
  await sending;
  if (failure !== undefined) throw failure.error;
}

async function* linesOf(
  { runtime, containers, hasContainer }: RelayDependencies,
  run: RunRecord,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<TaskLine, void, void> {
  const there = options.follow === true ? await hasContainer(run.id, signal) : containers.get(run.id) !== undefined;
  if (!there) return;
  try {
    for await (const line of runtime.logs(run.id, options)) yield { run, line };
  } catch (error) {
    // The run was forgotten meanwhile, and its log with it.
    if (!RuntimeError.is(error, "RUNTIME_NOT_FOUND")) throw error;
  }
}
