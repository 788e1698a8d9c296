import { AsyncQueue, delay, systemClock } from "@warren/std";
import { RuntimeError } from "@warren/runtime";
import type { Connection } from "./connection.ts";
import { EventsService, TaskExit, TaskOOM, TaskStart, type Envelope } from "./generated/containerd/events.ts";

/** An event of our own: once it comes back, the subscription stands. */
const probeTopic = "/warren/subscribed";
/** Before a probe is sent again, ms; doubles. containerd takes up a subscription within microseconds of its request. */
const probeMs = 2;

/** containerd's events of tasks, as far as they are of containers. */
export type TaskEvent =
  | { readonly kind: "subscribed" }
  | { readonly kind: "started"; readonly id: string; readonly pid: number }
  | { readonly kind: "oom"; readonly id: string }
  | { readonly kind: "exited"; readonly id: string; readonly code: number; readonly at: TaskExit["exitedAt"] };

/**
 * Tasks' events, from `subscribed` on, which says that none is missed from here. Waits for a containerd that is away.
 *
 * @throws RuntimeError `RUNTIME_UNAVAILABLE` when containerd goes
 */
export async function* taskEvents(
  connection: Connection,
  namespace: string,
  signal: AbortSignal,
): AsyncGenerator<TaskEvent, void, void> {
  const topics = ["/tasks/start", "/tasks/exit", "/tasks/oom", probeTopic];
  const filters = topics.map((topic) => `namespace==${namespace},topic==${JSON.stringify(topic)}`);
  using queue = new AsyncQueue<Envelope>();
  const ended = new AbortController();
  const reading = (async (): Promise<void> => {
    const both = AbortSignal.any([signal, ended.signal]);
    const stream = connection.serverStream(EventsService.subscribe, { filters }, { signal: both, waitForReady: true });
    for await (const envelope of stream) queue.push(envelope);
    if (both.aborted) queue.close();
    else queue.fail(new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "containerd ended its stream of events"));
  })().catch((error: unknown) => queue.fail(error));
  const heard = new AbortController();
  const probing = probe(connection, AbortSignal.any([signal, heard.signal]));
  try {
    for await (const envelope of queue) {
      if (!heard.signal.aborted) {
        heard.abort();
        yield { kind: "subscribed" };
      }
      const event = decode(envelope);
      if (event !== undefined) yield event;
    }
  } finally {
    ended.abort();
    heard.abort();
    await Promise.all([reading, probing]);
  }
}

/** Publishes until `heard` aborts. */
async function probe(connection: Connection, heard: AbortSignal): Promise<void> {
  try {
    for (let wait = probeMs; ; wait *= 2) {
      const event = { typeUrl: "google.protobuf.Empty", value: Buffer.alloc(0) };
      await connection.unary(
        EventsService.publish,
        { topic: probeTopic, event },
        { signal: heard, waitForReady: true },
      );
      await delay(systemClock, wait, heard);
    }
  } catch {
    // The subscription stands; or containerd went, and the stream fails.
  }
}

function decode({ topic, event }: Envelope): TaskEvent | undefined {
  const value = event?.value ?? new Uint8Array();
  switch (topic) {
    case "/tasks/start": {
      const { containerId, pid } = TaskStart.decode(value);
      return { kind: "started", id: containerId, pid };
    }
    case "/tasks/oom":
      return { kind: "oom", id: TaskOOM.decode(value).containerId };
    case "/tasks/exit": {
      const { containerId, id, exitStatus, exitedAt } = TaskExit.decode(value);
      // Another id is that of a process beside the first.
      return id === containerId ? { kind: "exited", id, code: exitStatus, at: exitedAt } : undefined;
    }
    default:
      return undefined;
  }
}
