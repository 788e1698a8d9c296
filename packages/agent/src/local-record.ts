import { AssignedTask, Endpoint, RegistryLogin, TaskStatus } from "@warren/api";
import { errorText, type Clock, type Logger, type Random } from "@warren/std";
import { AgentError } from "./errors.ts";
import type { AgentState, NetworkSettings } from "./seams.ts";
import { GatheredWork } from "./waiting.ts";

/** Of what is written; a worker stops at one that it does not know. */
const format = 1;

/** Why this worker ends a task, or never ran it. Written before the task is touched, so that it outlives a crash. */
export interface Verdict {
  readonly kind: "failed" | "rejected";
  readonly code: string;
  readonly message: string;
}

/** What only this node knows of a task. */
export interface LocalTask {
  readonly address?: string;
  readonly netnsPath?: string;
  readonly verdict?: Verdict;
  /** No longer assigned: it is stopped, then all of it goes. */
  readonly removed?: boolean;
}

export interface TaskRecord {
  assigned: AssignedTask;
  status: TaskStatus;
  local: LocalTask;
}

export interface NodeRecord {
  readonly id: string;
  /** Undefined until a manager has told. */
  readonly network?: NetworkSettings;
}

/**
 * What a worker must know when it starts again without a manager: its id and network, what it is assigned, and how far
 * each task was. Held in memory, written behind.
 *
 * I1 Writes are taken up in the order of the calls, those that wait as one; `durable()` resolves when all that was
 *    asked for before it is on disk.
 * I2 A write that fails is tried again until it succeeds, as nothing is lost while this process lives.
 */
export class LocalRecord {
  readonly tasks: Map<string, TaskRecord> = new Map();
  readonly endpoints: Map<string, Endpoint> = new Map();
  readonly registries: Map<string, RegistryLogin> = new Map();
  readonly #state: AgentState;
  #node: NodeRecord | undefined;
  /** What waits to be written, by key; undefined: to be removed. */
  #waiting = new Map<string, Uint8Array | undefined>();
  readonly #work = new GatheredWork();

  private constructor(state: AgentState) {
    this.#state = state;
  }

  /** @throws AgentError `AGENT_RECORD_UNREADABLE` */
  static async load(state: AgentState): Promise<LocalRecord> {
    const record = new LocalRecord(state);
    for (const [key, value] of await state.load()) {
      try {
        record.#read(key, value);
      } catch (cause) {
        if (AgentError.is(cause)) throw cause;
        throw unreadable(key, errorText(cause));
      }
    }
    for (const [id, task] of record.tasks)
      if (task.assigned.id !== id) throw unreadable(`task/${id}`, "a part of it is missing");
    return record;
  }

  get node(): NodeRecord | undefined {
    return this.#node;
  }

  setNode(node: NodeRecord): void {
    this.#node = node;
    this.#put("node", json({ format, ...node }));
  }

  addTask(record: TaskRecord): void {
    const { id } = record.assigned;
    this.tasks.set(id, record);
    this.#put(`task/${id}/assigned`, AssignedTask.encode(record.assigned).finish());
    this.#put(`task/${id}/status`, TaskStatus.encode(record.status).finish());
    this.#put(`task/${id}/local`, json(record.local));
  }

  setAssigned(id: string, assigned: AssignedTask): void {
    this.#task(id).assigned = assigned;
    this.#put(`task/${id}/assigned`, AssignedTask.encode(assigned).finish());
  }

  setStatus(id: string, status: TaskStatus): void {
    this.#task(id).status = status;
    this.#put(`task/${id}/status`, TaskStatus.encode(status).finish());
  }

  /** Changes what is named and leaves the rest; undefined takes a field away. */
  setLocal(id: string, change: { readonly [K in keyof LocalTask]?: LocalTask[K] | undefined }): void {
    const task = this.#task(id);
    task.local = Object.fromEntries(
      Object.entries({ ...task.local, ...change }).filter(([, value]) => value !== undefined),
    );
    this.#put(`task/${id}/local`, json(task.local));
  }

  deleteTask(id: string): void {
    this.tasks.delete(id);
    for (const part of ["assigned", "status", "local"]) this.#put(`task/${id}/${part}`, undefined);
  }

  setEndpoint(endpoint: Endpoint): void {
    this.endpoints.set(endpoint.serviceId, endpoint);
    this.#put(`endpoint/${endpoint.serviceId}`, Endpoint.encode(endpoint).finish());
  }

  deleteEndpoint(serviceId: string): void {
    this.endpoints.delete(serviceId);
    this.#put(`endpoint/${serviceId}`, undefined);
  }

  setRegistry(login: RegistryLogin): void {
    this.registries.set(login.registry, login);
    this.#put(`registry/${login.registry}`, RegistryLogin.encode(login).finish());
  }

  deleteRegistry(registry: string): void {
    this.registries.delete(registry);
    this.#put(`registry/${registry}`, undefined);
  }

  /** Resolves when all that was set so far is on disk. */
  durable(signal: AbortSignal): Promise<void> {
    return this.#work.done(signal);
  }

  /** Writes what waits, until the signal aborts. */
  run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const failed = "the local record could not be written, and is tried again";
    return this.#work.run(dependencies, failed, () => this.#write(), signal);
  }

  async #write(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = new Map();
    try {
      await this.#state.write([...batch].map(([key, value]) => ({ key, value })));
    } catch (error) {
      // I2: what came later for the same key goes before what failed.
      this.#waiting = new Map([...batch, ...this.#waiting]);
      throw error;
    }
  }

  #put(key: string, value: Uint8Array | undefined): void {
    this.#waiting.set(key, value);
    this.#work.ask();
  }

  #task(id: string): TaskRecord {
    const task = this.tasks.get(id);
    if (task === undefined) throw new Error(`assertion failed: task ${id} is in the record`);
    return task;
  }

  #read(key: string, value: Uint8Array): void {
    const [kind, ...rest] = key.split("/");
    const name = rest.join("/");
    if (kind === "node") {
      const { format: found, ...node } = parse(value) as NodeRecord & { readonly format: number };
      if (found !== format) throw unreadable(key, `it has format ${found}, and this version knows ${format}`);
      this.#node = node;
    } else if (kind === "endpoint") this.endpoints.set(name, Endpoint.decode(value));
    else if (kind === "registry") this.registries.set(name, RegistryLogin.decode(value));
    else if (kind === "task") this.#readTask(rest[0] ?? "", rest[1], value);
    else throw unreadable(key, "this version knows no such entry");
  }

  #readTask(id: string, part: string | undefined, value: Uint8Array): void {
    const task = this.tasks.get(id) ?? {
      assigned: AssignedTask.create(),
      status: TaskStatus.create(),
      local: {},
    };
    this.tasks.set(id, task);
    if (part === "assigned") task.assigned = AssignedTask.decode(value);
    else if (part === "status") task.status = TaskStatus.decode(value);
    else task.local = parse(value) as LocalTask;
  }
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function parse(value: Uint8Array): unknown {
  return JSON.parse(Buffer.from(value).toString()) as unknown;
}

function unreadable(key: string, why: string): AgentError {
  return new AgentError(
    { code: "AGENT_RECORD_UNREADABLE", key },
    `the worker's record can't be read at "${key}": ${why}; run the version that wrote it, or remove the record's folder, which restarts this node's tasks`,
  );
}

/** The node's network as a worker that ran on this record knew it; for who takes its traces away. */
export async function recordedNetwork(state: AgentState): Promise<NetworkSettings | undefined> {
  return (await LocalRecord.load(state)).node?.network;
}
