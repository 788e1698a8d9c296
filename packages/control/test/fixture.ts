import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApiError,
  Lease,
  LeaseState,
  Node,
  NodeSpec_Availability,
  NodeStatus_State,
  ServiceSpec,
  Slot,
  Task,
  TaskState,
  type Cluster,
  type LogLine,
  type LogLines,
} from "@warren/api";
import { numberedSlot, sameEpoch, slotIdOf, taskIdOf } from "@warren/api/model";
import { checkClusterSpec } from "@warren/api/spec";
import { connect, type ApiClient } from "@warren/api/client";
import { startServer } from "@warren/api/server";
import { controlServices, createCluster } from "@warren/control";
import { systemClock, systemRandom, type Clock } from "@warren/std";
import { RecordingLogger } from "@warren/std/testing";
import { memoryStore, type MemoryStore } from "@warren/store/testing";
import type { Store } from "@warren/store";
import { expect, onTestFinished } from "vitest";
import { FakeRelay } from "./fake-relay.ts";

export type PartialSpec = Parameters<typeof ServiceSpec.fromPartial>[0];
type PartialTask = Parameters<typeof Task.fromPartial>[0];

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
    log,
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
  conditions: readonly object[] = [],
): Promise<string> {
  return store.update((tx) =>
    tx.create(
      "nodes",
      Node.fromPartial({
        spec: { availability: NodeSpec_Availability.ACTIVE },
        specVersion: 1,
        description: { hostname, conditions: [...conditions] },
        status: { state, at: new Date(0) },
      }),
    ),
  );
}

/** A run of a lease, as the orchestrator and a node would have made it. */
export interface TestTask {
  readonly serviceId: string;
  readonly serviceName?: string;
  /** @default 1 */
  readonly slot?: number;
  /** The lease's, of the first reign. @default 1 */
  readonly epoch?: number;
  /** @default 1 */
  readonly run?: number;
  readonly nodeId?: string;
  /** @default the service's wanted one */
  readonly versionId?: string;
  /** @default WANTED while the task is pending, else HELD */
  readonly lease?: LeaseState;
  readonly leaseFields?: Parameters<typeof Lease.fromPartial>[0];
  readonly slotFields?: Partial<Slot>;
  readonly status?: PartialTask["status"];
}

export async function addTask({ store }: Control, given: TestTask): Promise<string> {
  const { serviceId, serviceName = "web", slot: number = 1, run = 1, nodeId = "" } = given;
  const key = numberedSlot(number);
  const slotId = slotIdOf(serviceId, key);
  const epoch = { reign: 1, index: given.epoch ?? 1 };
  const state = given.lease ?? ((given.status?.state ?? 0) <= TaskState.PENDING ? LeaseState.WANTED : LeaseState.HELD);
  return store.update((tx) => {
    const versionId = given.versionId ?? tx.get("services", serviceId)?.versionId ?? "";
    const known = tx.get("slots", slotId);
    const lease = Lease.fromPartial({
      epoch,
      versionId,
      state,
      nodeId,
      wasHeld: state >= LeaseState.HELD,
      ...given.leaseFields,
    });
    const others = (known?.leases ?? []).filter((each) => !sameEpoch(each.epoch, epoch));
    const leases = [...others, lease].sort((a, b) => (a.epoch?.index ?? 0) - (b.epoch?.index ?? 0));
    if (known === undefined)
      tx.create("slots", {
        ...Slot.fromPartial({ serviceId, serviceName, key, wanted: true }),
        meta: { id: slotId, version: 0, createdAt: undefined, updatedAt: undefined },
        leases,
        ...given.slotFields,
      });
    else tx.update("slots", { ...known, leases, ...given.slotFields });
    const task = { serviceId, serviceName, slotId, slot: key, epoch, run, nodeId, versionId, status: given.status };
    const id = taskIdOf(slotId, epoch, { life: 0, run });
    return tx.create("tasks", Task.fromPartial({ ...task, meta: { id } }));
  });
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
    slot: numberedSlot(1),
    nodeId: "",
  };
}

export async function texts(answers: AsyncIterable<LogLines>): Promise<string[]> {
  const found: string[] = [];
  for await (const { lines } of answers) found.push(...lines.map(({ line }) => line.toString()));
  return found;
}
