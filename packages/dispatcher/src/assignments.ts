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

import { assignedTask, endpointOf, isAssigned, losesBackend, registriesOf, sameAssignment } from "./assignment.ts";
import { AssignmentStream, type StreamOptions } from "./assignment-stream.ts";

/** What one node's stream was offered. */
interface Offered {
  readonly stream: AssignmentStream;
  readonly tasks: Map<string, { readonly source: Task; readonly assigned: AssignedTask }>;
  registries: Map<string, RegistryLogin>;
}

/** What is to be looked at again. */
interface Dirty {
  readonly nodes: Set<string>;
  readonly services: Set<string>;
  allNodes: boolean;
  allServices: boolean;
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
    const offered: Offered = { stream, tasks: new Map(), registries: new Map() };
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
    this.#refresh(view, { nodes: new Set(), services: new Set(), allNodes: true, allServices: true });
  }

  /** `view` is the newest; it may be ahead of the batch. */
  follow(view: View, { changes }: ChangeBatch): void {
    const dirty: Dirty = { nodes: new Set(), services: new Set(), allNodes: false, allServices: false };
    for (const change of changes) mark(view, change, dirty);
    this.#refresh(view, dirty);
  }

  #refresh(view: View, dirty: Dirty): void {
    const services = dirty.allServices
      ? new Set([...this.#endpoints.keys(), ...view.list("services").map(({ meta }) => meta?.id ?? "")])
      : dirty.services;
    for (const serviceId of services) this.#refreshEndpoint(view, serviceId);
    for (const nodeId of dirty.allNodes ? this.#streams.keys() : dirty.nodes) {
      const offered = this.#streams.get(nodeId);
      if (offered !== undefined) this.#refreshNode(view, nodeId, offered);
    }
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
    const { stream, tasks } = offered;
    const gone = new Set(tasks.keys());
    for (const task of view.find("tasks", "node", nodeId)) {
      const id = task.meta?.id ?? "";
      if (!isAssigned(task)) continue;
      gone.delete(id);
      const before = tasks.get(id);
      if (before?.source === task) continue;
      const assigned = assignedTask(view, task);
      tasks.set(id, { source: task, assigned });
      if (before === undefined || !sameAssignment(before.assigned, assigned))
        stream.offer({ $case: "task", value: assigned }, true);
    }
    for (const id of gone) {
      tasks.delete(id);
      stream.offer({ $case: "removedTask", value: id }, true);
    }
    this.#refreshRegistries(registriesOf(view, nodeId), offered);
  }

  #refreshRegistries(now: Map<string, RegistryLogin>, offered: Offered): void {
    const { stream, registries: before } = offered;
    offered.registries = now;
    for (const [registry, login] of now)
      if (!isDeepStrictEqual(before.get(registry), login)) stream.offer({ $case: "registry", value: login }, true);
    for (const registry of before.keys())
      if (!now.has(registry)) stream.offer({ $case: "removedRegistry", value: registry }, false);
  }
}

function mark(view: View, change: StoreChange, dirty: Dirty): void {
  switch (change.table) {
    case "tasks":
      for (const task of [change.object, change.before]) {
        if (task === undefined) continue;
        if (task.nodeId !== "") dirty.nodes.add(task.nodeId);
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
      dirty.allNodes = true;
      return;
    case "networks":
      // Services without networks are on the one named `default`.
      if (change.kind !== "update") dirty.allServices = true;
      return;
    case "clusters":
    case "events":
      return;
  }
}

function isDown(node: Node | undefined): boolean {
  return node?.status?.state === NodeStatus_State.DOWN;
}
