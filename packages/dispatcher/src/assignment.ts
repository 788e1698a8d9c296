/** What a node is assigned, as the state has it. Pure. */
import {
  NodeStatus_State,
  TaskState,
  type AssignedTask,
  type Backend,
  type Endpoint,
  type EndpointNetwork,
  type RegistryLogin,
  type Service,
  type Task,
} from "@warren/api";
import type { View } from "@warren/store";
import { isDeepStrictEqual } from "node:util";

/**
 * Whether the node is to know of the task: from ASSIGNED until it is forgotten, ended ones included, whose logs and
 * exit codes can still be asked for. One that was given up while its node was away is not there any more.
 */
export function isAssigned({ status }: Task): boolean {
  const state = status?.state ?? TaskState.UNSPECIFIED;
  return state >= TaskState.ASSIGNED && state !== TaskState.ORPHANED;
}

export function assignedTask(view: View, task: Task): AssignedTask {
  return {
    id: task.meta?.id ?? "",
    serviceId: task.serviceId,
    serviceName: task.serviceName,
    slot: task.slot,
    spec: task.spec,
    desiredState: task.desiredState,
    networks: task.networks,
    serviceLabels: view.get("services", task.serviceId)?.spec?.labels ?? {},
    state: task.status?.state ?? TaskState.UNSPECIFIED,
  };
}

/**
 * Whether a node that was sent `a` need not be sent `b`. What the node itself told of the task is no news to it, and
 * labels of the service are those of the time at which the task came.
 */
export function sameAssignment(a: AssignedTask, b: AssignedTask): boolean {
  const { state: _state, serviceLabels: _labels, ...one } = a;
  const { state: _otherState, serviceLabels: _otherLabels, ...other } = b;
  return isDeepStrictEqual(one, other);
}

/** How every node balances a service; undefined before it has its address. */
export function endpointOf(view: View, service: Service): Endpoint | undefined {
  const { endpoint, spec } = service;
  const serviceId = service.meta?.id ?? "";
  if (endpoint === undefined || endpoint.vip === "" || spec === undefined) return undefined;
  const backends: Backend[] = [];
  for (const task of view.find("tasks", "service", serviceId)) {
    const backend = backendOf(view, task);
    if (backend !== undefined) backends.push(backend);
  }
  return {
    serviceId,
    name: spec.name,
    vip: endpoint.vip,
    ports: endpoint.ports,
    networks: networksOf(view, service),
    backends,
  };
}

function backendOf(view: View, task: Task): Backend | undefined {
  const { status } = task;
  const address = status?.container?.address ?? "";
  if (status?.state !== TaskState.RUNNING || address === "") return undefined;
  const lost = view.get("nodes", task.nodeId)?.status?.state === NodeStatus_State.DOWN;
  return {
    taskId: task.meta?.id ?? "",
    nodeId: task.nodeId,
    slot: task.slot,
    address,
    // A node that is silent may still run it; new connections go elsewhere, those that are there may live.
    draining: task.desiredState > TaskState.RUNNING || lost,
  };
}

function networksOf(view: View, { spec }: Service): EndpointNetwork[] {
  const asked = spec?.task?.networks ?? [];
  if (asked.length > 0) return asked.map(({ network, aliases }) => ({ id: network, aliases }));
  return view.find("networks", "name", "default").map(({ meta }) => ({ id: meta?.id ?? "", aliases: [] }));
}

/** Whether a backend that took connections takes none any more: what must reach the nodes before it stops. */
export function losesBackend(before: Endpoint | undefined, after: Endpoint | undefined): boolean {
  if (before === undefined) return false;
  const serving = new Set((after?.backends ?? []).filter(({ draining }) => !draining).map(({ taskId }) => taskId));
  return before.backends.some(({ taskId, draining }) => !draining && !serving.has(taskId));
}

/** The registry whose login the node may need for the task: its image's, until the task has ended. */
export function registryInUse(task: Task): string | undefined {
  const image = task.spec?.container?.image ?? "";
  if (image === "" || !isAssigned(task) || (task.status?.state ?? 0) >= TaskState.COMPLETE) return undefined;
  return registryOf(image);
}

export function loginOf(view: View, registry: string): RegistryLogin | undefined {
  const [credential] = view.find("registries", "name", registry);
  return credential === undefined ? undefined : { registry, auth: credential.auth };
}

/** The registry of an image reference, as Docker reads it: the first part, if it has a dot or a port or is localhost. */
export function registryOf(image: string): string {
  const slash = image.indexOf("/");
  const first = slash === -1 ? "" : image.slice(0, slash);
  if (!/[.:]/.test(first) && first !== "localhost") return "docker.io";
  return first === "index.docker.io" ? "docker.io" : first;
}
