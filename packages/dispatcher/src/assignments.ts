/**
 * Follows the state and offers each node's stream what changed for it.
 *
 * A change names what may be different now; that is then computed from the newest state and compared with what was
 * offered before. So it does not matter how many changes led there, or whether one is looked at twice.
 */
import type { Clock } from "@warren/std";
import {
  Endpoint,
  NodeStatus_State,
  TaskState,
  type AssignedTask,
  type Node,
  type RegistryLogin,
  type Task,
} from "@warren/api";
import type { ChangeBatch, StoreChange, View } from "@warren/store";
import { isDeepStrictEqual } from "node:util";

import {
  assignedTask,
  endpointOf,
  isAssigned,
  loginOf,
  losesBackend,
  registryInUse,
  sameAssignment,
} from "./assignment.ts";
import { AssignmentStream, type StreamOptions } from "./assignment-stream.ts";

/** What one node's stream was offered. */
interface Offered {
  readonly stream: AssignmentStream;
  readonly tasks: Map<string, { readonly source: Task; readonly assigned: AssignedTask }>;
  readonly logins: Map<string, RegistryLogin>;
  /** The registry that each task uses. */
  readonly uses: Map<string, string>;
  /** How many of its tasks use a registry. */
  readonly users: Map<string, number>;
}

/** What is to be looked at again. */
interface Dirty {
  /** Ids, by node. */
  readonly tasks: Map<string, Set<string>>;
  readonly services: Set<string>;
  readonly registries: Set<string>;
}

export class Assignments {
  readonly #clock: Clock;
  readonly #options: StreamOptions;
  readonly #streams = new Map<string, Offered>();
  #endpoints = new Map<string, { readonly endpoint: Endpoint; readonly bytes: Uint8Array }>();

  constructor(clock: Clock, options: StreamOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** A new stream for a node, which replaces the one it has. `end` it when its reader has gone. */
  open(view: View, nodeId: string, replaced: Error): AssignmentStream {
    this.#streams.get(nodeId)?.stream.end(replaced);
    const stream = new AssignmentStream(this.#clock, this.#options);
    const offered: Offered = { stream, tasks: new Map(), logins: new Map(), uses: new Map(), users: new Map() };
    this.#streams.set(nodeId, offered);
    stream.signal.addEventListener("abort", () => {
      if (this.#streams.get(nodeId) === offered) this.#streams.delete(nodeId);
    });
    for (const { endpoint } of this.#endpoints.values()) stream.offer({ $case: "endpoint", value: endpoint }, false);
    this.#refreshNode(view, nodeId, offered);
    return stream;
  }

  /** Tells a node to remove tasks that it should not have. */
  remove(nodeId: string, taskIds: readonly string[]): void {
    const stream = this.#streams.get(nodeId)?.stream;
    for (const taskId of taskIds) stream?.remove(taskId);
  }

  /** Ends every stream. */
  stop(error: Error): void {
    for (const { stream } of this.#streams.values()) stream.end(error);
  }

  /** Looks at everything again. */
  resync(view: View): void {
    const services = [...this.#endpoints.keys(), ...view.list("services").map(({ meta }) => meta?.id ?? "")];
    for (const serviceId of new Set(services)) this.#refreshEndpoint(view, serviceId);
    for (const [nodeId, offered] of this.#streams) this.#refreshNode(view, nodeId, offered);
  }

  /** `view` is the newest; it may be ahead of the batch. */
  follow(view: View, { changes }: ChangeBatch): void {
    const dirty: Dirty = { tasks: new Map(), services: new Set(), registries: new Set() };
    for (const change of changes) mark(view, change, dirty);
    for (const serviceId of dirty.services) this.#refreshEndpoint(view, serviceId);
    for (const [nodeId, taskIds] of dirty.tasks) {
      const offered = this.#streams.get(nodeId);
      if (offered !== undefined) this.#refreshTasks(view, nodeId, offered, taskIds);
    }
    for (const registry of dirty.registries)
      for (const offered of this.#streams.values()) refreshLogin(view, offered, registry);
  }

  #refreshEndpoint(view: View, serviceId: string): void {
    const service = view.get("services", serviceId);
    const endpoint = service === undefined ? undefined : endpointOf(view, service);
    const before = this.#endpoints.get(serviceId);
    if (endpoint === undefined) {
      if (!this.#endpoints.delete(serviceId)) return;
      for (const { stream } of this.#streams.values())
        stream.offer({ $case: "removedEndpoint", value: serviceId }, true);
      return;
    }
    const bytes = Endpoint.encode(endpoint).finish();
    if (before !== undefined && Buffer.compare(before.bytes, bytes) === 0) return;
    this.#endpoints.set(serviceId, { endpoint, bytes });
    const urgent = losesBackend(before?.endpoint, endpoint);
    for (const { stream } of this.#streams.values()) stream.offer({ $case: "endpoint", value: endpoint }, urgent);
  }

  #refreshNode(view: View, nodeId: string, offered: Offered): void {
    const now = view.find("tasks", "node", nodeId).map(({ meta }) => meta?.id ?? "");
    this.#refreshTasks(view, nodeId, offered, new Set([...now, ...offered.tasks.keys()]));
    for (const registry of offered.users.keys()) refreshLogin(view, offered, registry);
  }

  #refreshTasks(view: View, nodeId: string, offered: Offered, taskIds: Iterable<string>): void {
    const { stream, tasks } = offered;
    for (const id of taskIds) {
      const task = view.get("tasks", id);
      const before = tasks.get(id);
      const own = task !== undefined && task.nodeId === nodeId && isAssigned(task);
      useRegistry(view, offered, id, own ? registryInUse(task) : undefined);
      if (!own) {
        if (tasks.delete(id)) stream.offer({ $case: "removedTask", value: id }, true);
        continue;
      }
      if (before?.source === task) continue;
      const assigned = assignedTask(view, task);
      tasks.set(id, { source: task, assigned });
      if (before === undefined || !sameAssignment(before.assigned, assigned))
        stream.offer({ $case: "task", value: assigned }, true);
    }
  }
}

/** Counts the task among a registry's users, and looks at the logins that this concerns. */
function useRegistry(view: View, offered: Offered, taskId: string, registry: string | undefined): void {
  const { uses, users } = offered;
  const before = uses.get(taskId);
  if (before === registry) return;
  if (registry === undefined) uses.delete(taskId);
  else uses.set(taskId, registry);
  for (const [name, change] of [
    [before, -1],
    [registry, 1],
  ] as const) {
    if (name === undefined) continue;
    const count = (users.get(name) ?? 0) + change;
    if (count === 0) users.delete(name);
    else users.set(name, count);
    refreshLogin(view, offered, name);
  }
}

function refreshLogin(view: View, { stream, logins, users }: Offered, registry: string): void {
  const login = users.has(registry) ? loginOf(view, registry) : undefined;
  const before = logins.get(registry);
  if (login === undefined) {
    if (logins.delete(registry)) stream.offer({ $case: "removedRegistry", value: registry }, false);
    return;
  }
  if (isDeepStrictEqual(before, login)) return;
  logins.set(registry, login);
  stream.offer({ $case: "registry", value: login }, true);
}

function mark(view: View, change: StoreChange, dirty: Dirty): void {
  switch (change.table) {
    case "tasks":
      for (const task of [change.object, change.before]) {
        if (task === undefined) continue;
        if (task.nodeId !== "") markTask(dirty, task);
        if (task.status?.state === TaskState.RUNNING) dirty.services.add(task.serviceId);
      }
      return;
    case "services":
      dirty.services.add(change.object.meta?.id ?? "");
      return;
    case "nodes":
      if (isDown(change.object) !== isDown(change.before))
        for (const { serviceId } of view.find("tasks", "node", change.object.meta?.id ?? ""))
          dirty.services.add(serviceId);
      return;
    case "registries":
      dirty.registries.add(change.object.registry);
      return;
    case "networks":
      // Services without networks are on the one named `default`.
      if (change.kind !== "update") for (const { meta } of view.list("services")) dirty.services.add(meta?.id ?? "");
      return;
    case "clusters":
    case "events":
      return;
  }
}

function markTask({ tasks }: Dirty, { nodeId, meta }: Task): void {
  const ids = tasks.get(nodeId);
  if (ids === undefined) tasks.set(nodeId, new Set([meta?.id ?? ""]));
  else ids.add(meta?.id ?? "");
}

function isDown(node: Node | undefined): boolean {
  return node?.status?.state === NodeStatus_State.DOWN;
}
