import {
  AssignmentsMessage_Type,
  Node,
  SessionMessage,
  TaskState,
  type AssignedTask,
  type AssignmentChange,
  type AssignmentsMessage,
  type Endpoint,
  type NodeDescription,
  type RegistryLogin,
  type RelayDown,
  type RelayRequest,
  type RelayUp,
  type TaskStatus,
} from "@warren/api";
import { AsyncQueue } from "@warren/std";
import type { Session } from "../../src/index.ts";

/** A relay that a worker serves, as the manager sees it. */
export interface OpenRelay {
  readonly up: RelayUp[];
  readonly down: AsyncQueue<RelayDown>;
  readonly ended: Promise<void>;
}

/** The managers of a cluster, as one node's worker sees them. */
export class FakeManager {
  readonly tasks: Map<string, AssignedTask> = new Map();
  readonly endpoints: Map<string, Endpoint> = new Map();
  readonly registries: Map<string, RegistryLogin> = new Map();
  readonly statuses: Map<string, TaskStatus> = new Map();
  /** Each state that was told of a task, in order, repetitions left out. */
  readonly told: Map<string, TaskState[]> = new Map();
  readonly batches: number[] = [];
  readonly relays: Map<string, OpenRelay> = new Map();
  description: NodeDescription | undefined;
  nodeId = "";
  subnet = "10.77.1.0/24";
  sessions = 0;
  /** Statuses that were behind one told before. */
  regressions = 0;
  heartbeats = 0;
  periodMs = 5_000;
  /** Fails calls that change states, though the manager is there. */
  refuseStatuses = false;
  /** Heartbeats get no answer. */
  silent = false;
  #reachable = true;
  #session: { readonly id: string; readonly messages: AsyncQueue<SessionMessage> } | undefined;
  #streams = new Set<AsyncQueue<AssignmentsMessage>>();
  #version = 0;

  get connected(): boolean {
    return this.#session !== undefined;
  }

  disconnect(): void {
    this.#reachable = false;
    this.#endSession(new Error("the manager went away"));
  }

  reconnect(): void {
    this.#reachable = true;
  }

  assign(task: AssignedTask): void {
    this.tasks.set(task.id, task);
    this.#send([{ assignment: { $case: "task", value: task } }]);
  }

  desire(id: string, desiredState: TaskState): void {
    const task = this.tasks.get(id);
    if (task !== undefined) this.assign({ ...task, desiredState });
  }

  remove(id: string): void {
    this.tasks.delete(id);
    this.#send([{ assignment: { $case: "removedTask", value: id } }]);
  }

  setEndpoint(endpoint: Endpoint): void {
    this.endpoints.set(endpoint.serviceId, endpoint);
    this.#send([{ assignment: { $case: "endpoint", value: endpoint } }]);
  }

  removeEndpoint(serviceId: string): void {
    this.endpoints.delete(serviceId);
    this.#send([{ assignment: { $case: "removedEndpoint", value: serviceId } }]);
  }

  login(login: RegistryLogin): void {
    this.registries.set(login.registry, login);
    this.#send([{ assignment: { $case: "registry", value: login } }]);
  }

  logout(registry: string): void {
    this.registries.delete(registry);
    this.#send([{ assignment: { $case: "removedRegistry", value: registry } }]);
  }

  /** Assigns a task in a message that is lost on its way. */
  assignUnheard(task: AssignedTask): void {
    this.tasks.set(task.id, task);
    this.#version += 1;
  }

  relay(request: RelayRequest): void {
    this.#session?.messages.push(SessionMessage.fromPartial({ ...this.#about(), relay: request }));
  }

  /** Tells the node anew, with the subnet as it is now. */
  tellNode(): void {
    this.#session?.messages.push(this.#about());
  }

  connect(): Session {
    return {
      open: (request, signal) => {
        this.#check();
        this.nodeId = request.nodeId;
        this.description = request.description;
        this.#endSession(new Error("ABORTED: another session of the node"));
        this.sessions += 1;
        const messages = new AsyncQueue<SessionMessage>();
        const session = { id: `session-${this.sessions}`, messages };
        this.#session = session;
        messages.push(this.#about());
        signal.addEventListener("abort", () => {
          messages.close();
          if (this.#session === session) this.#session = undefined;
        });
        return messages;
      },
      heartbeat: async ({ sessionId }) => {
        await Promise.resolve();
        this.#check(sessionId);
        if (this.silent) await new Promise(() => undefined);
        this.heartbeats += 1;
        return { periodMs: this.periodMs };
      },
      updateTaskStatus: async ({ sessionId, updates }) => {
        await Promise.resolve();
        this.#check(sessionId);
        if (this.refuseStatuses) throw new Error("UNAVAILABLE: no leader");
        this.batches.push(updates.length);
        for (const { taskId, status } of updates) if (status !== undefined) this.#store(taskId, status);
      },
      assignments: ({ sessionId }, signal) => {
        this.#check(sessionId);
        const stream = new AsyncQueue<AssignmentsMessage>();
        this.#streams.add(stream);
        signal.addEventListener("abort", () => stream.close());
        stream.push({
          type: AssignmentsMessage_Type.COMPLETE,
          appliesTo: "",
          resultsIn: String(this.#version),
          changes: this.#all(),
        });
        return stream;
      },
      relay: (up, signal) => this.#serveRelay(up, signal),
    };
  }

  async *#serveRelay(up: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncGenerator<RelayDown, void, void> {
    const down = new AsyncQueue<RelayDown>();
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => down.close());
    const reading = (async (): Promise<void> => {
      const received: RelayUp[] = [];
      try {
        for await (const message of up) {
          received.push(message);
          if (message.message?.$case === "open")
            this.relays.set(message.message.value.relayId, { up: received, down, ended: ended.promise });
        }
      } finally {
        ended.resolve();
        down.close();
      }
    })();
    reading.catch(() => undefined); // A worker that leaves breaks its stream; `await` below tells who waits.
    yield* down;
    await reading;
  }

  #store(taskId: string, status: TaskStatus): void {
    const task = this.tasks.get(taskId);
    if (task === undefined) return;
    if (status.state < (this.statuses.get(taskId)?.state ?? 0)) {
      // A worker that was killed may know less than it has told; a manager goes by the furthest.
      this.regressions += 1;
      return;
    }
    this.statuses.set(taskId, status);
    this.tasks.set(taskId, { ...task, state: Math.max(task.state, status.state) as TaskState });
    const told = this.told.get(taskId) ?? [];
    if (told.at(-1) !== status.state) told.push(status.state);
    this.told.set(taskId, told);
  }

  #about(): SessionMessage {
    return SessionMessage.fromPartial({
      sessionId: this.#session?.id ?? "",
      node: Node.fromPartial({ subnet: this.subnet }),
      clusterId: "cluster",
      taskPool: "10.77.0.0/16",
      vipPool: "10.96.0.0/16",
    });
  }

  #all(): AssignmentChange[] {
    return [
      ...[...this.registries.values()].map((value) => ({ assignment: { $case: "registry", value } as const })),
      ...[...this.endpoints.values()].map((value) => ({ assignment: { $case: "endpoint", value } as const })),
      ...[...this.tasks.values()].map((value) => ({ assignment: { $case: "task", value } as const })),
    ];
  }

  #send(changes: AssignmentChange[]): void {
    const appliesTo = String(this.#version);
    this.#version += 1;
    const resultsIn = String(this.#version);
    for (const stream of this.#streams)
      stream.push({ type: AssignmentsMessage_Type.INCREMENTAL, appliesTo, resultsIn, changes });
  }

  #check(sessionId?: string): void {
    if (!this.#reachable) throw new Error("UNAVAILABLE: no manager answers");
    if (sessionId !== undefined && sessionId !== this.#session?.id) throw new Error("NOT_FOUND: no such session");
  }

  #endSession(error: Error): void {
    this.#session?.messages.fail(error);
    this.#session = undefined;
    for (const stream of this.#streams) stream.fail(error);
    this.#streams.clear();
  }
}
