import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApiError,
  Node,
  NodeSpec_Availability,
  NodeStatus_State,
  ServiceSpec,
  Task,
  TaskState,
  type Cluster,
  type ExecOpen,
  type ExecRequest,
  type ExecResponse,
  type LogLine,
  type LogLines,
  type RelayLogs,
  type RelayStats,
  type StatsResponse,
} from "@warren/api";
import { checkClusterSpec } from "@warren/api/spec";
import { connect, type ApiClient } from "@warren/api/client";
import { startServer } from "@warren/api/server";
import { controlServices, createCluster, type Relay } from "@warren/control";
import { newId, systemClock, systemRandom, type Clock } from "@warren/std";
import { RecordingLogger } from "@warren/std/testing";
import { memoryStore, type MemoryStore } from "@warren/store/testing";
import type { Store } from "@warren/store";
import { expect, onTestFinished } from "vitest";

export type PartialSpec = Parameters<typeof ServiceSpec.fromPartial>[0];
type PartialTask = Parameters<typeof Task.fromPartial>[0];

/** Nodes that answer as told: lines, execs and figures by node id. A node that is not named has no session. */
export class FakeRelay implements Relay {
  readonly lines = new Map<string, (request: RelayLogs, signal: AbortSignal) => AsyncIterable<LogLines>>();
  readonly asked: { readonly nodeId: string; readonly request: RelayLogs }[] = [];
  readonly execs = new Map<
    string,
    (open: ExecOpen, input: AsyncIterable<ExecRequest>, signal: AbortSignal) => AsyncIterable<ExecResponse>
  >();
  readonly figures = new Map<string, (request: RelayStats, signal: AbortSignal) => Promise<StatsResponse>>();

  async *logs(nodeId: string, request: RelayLogs, signal: AbortSignal): AsyncGenerator<LogLines, void, void> {
    this.asked.push({ nodeId, request });
    yield* (this.lines.get(nodeId) ?? noSession(nodeId))(request, signal);
  }
  async *exec(
    nodeId: string,
    open: ExecOpen,
    input: AsyncIterable<ExecRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ExecResponse, void, void> {
    yield* (this.execs.get(nodeId) ?? noSession(nodeId))(open, input, signal);
  }
  async stats(nodeId: string, request: RelayStats, signal: AbortSignal): Promise<StatsResponse> {
    return (this.figures.get(nodeId) ?? noSession(nodeId))(request, signal);
  }
}

function noSession(nodeId: string): () => never {
  return () => {
    throw new ApiError({ code: "API_UNAVAILABLE" }, `node ${nodeId} has no session`);
  };
}

export interface Control extends MemoryStore {
  readonly client: ApiClient;
  readonly relay: FakeRelay;
  readonly log: RecordingLogger;
  readonly socket: string;
}

/** A manager's API on a real store, server and client; the cluster is there unless `empty`. */
export async function control(options: { readonly empty?: boolean; readonly clock?: Clock } = {}): Promise<Control> {
  const folder = mkdtempSync(join(tmpdir(), "control-"));
  const memory = memoryStore();
  const relay = new FakeRelay();
  const log = new RecordingLogger();
  let store: Store | undefined;
  const initCluster = (spec: Parameters<typeof createCluster>[1]): Promise<Cluster> => {
    store = memory.store;
    return createCluster(memory.store, spec);
  };
  if (options.empty !== true) await initCluster(checkClusterSpec(undefined));
  const services = controlServices({
    store: () => store,
    initCluster,
    relay,
    version: "1.2.3",
    clock: options.clock ?? systemClock,
    random: systemRandom,
  });
  const socket = join(folder, "m.sock");
  const server = await startServer({ services, log }, { socketPath: socket });
  const client = connect({ socket });
  onTestFinished(async () => {
    client.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
    // Whatever a test provokes, nothing of it may be a fault of ours.
    expect(log.records.filter(({ level }) => level === "error")).toEqual([]);
  });
  return { ...memory, client, relay, log, socket };
}

/** A spec that is right, with changes. */
export function web(
  changes: PartialSpec = {},
  container: NonNullable<NonNullable<PartialSpec["task"]>["container"]> = {},
): PartialSpec {
  return {
    name: "web",
    ...changes,
    task: { ...changes.task, container: { image: "nginx:1", ...container } },
  };
}

export async function failure(work: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await work.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw error as Error;
  return error;
}

/** The fields that an API_INVALID names. */
export async function faults(work: Promise<unknown>): Promise<readonly string[]> {
  const error = await failure(work);
  if (!ApiError.is(error, "API_INVALID")) throw error;
  return error.failure.violations.map(({ field }) => field);
}

export async function addNode(
  { store }: Control,
  hostname: string,
  state: NodeStatus_State = NodeStatus_State.READY,
): Promise<string> {
  return store.update((tx) =>
    tx.create(
      "nodes",
      Node.fromPartial({
        spec: { availability: NodeSpec_Availability.ACTIVE },
        description: { hostname },
        status: { state, at: new Date(0) },
      }),
    ),
  );
}

/** As the orchestrator and a node would have made it. */
export async function addTask({ store }: Control, task: PartialTask): Promise<string> {
  return store.update((tx) =>
    tx.create(
      "tasks",
      Task.fromPartial({
        slot: 1,
        serviceName: "web",
        desiredState: TaskState.RUNNING,
        ...task,
        meta: { id: newId(systemRandom) },
      }),
    ),
  );
}

export async function changeTask({ store }: Control, id: string, change: (task: Task) => Task): Promise<void> {
  await store.update((tx) => tx.update("tasks", change(tx.get("tasks", id) as Task)));
}

export function line(taskId: string, at: number, text: string): LogLine {
  return {
    at: new Date(at),
    stderr: false,
    line: Buffer.from(text),
    taskId,
    serviceName: "web",
    slot: 1,
    nodeId: "",
  };
}

export async function texts(answers: AsyncIterable<LogLines>): Promise<string[]> {
  const found: string[] = [];
  for await (const { lines } of answers) found.push(...lines.map(({ line }) => line.toString()));
  return found;
}
