/**
 * What the scheduler is told of nodes and tasks.
 */
import { PortSpec_Mode, PortSpec_Protocol, TaskState, type Node, type Service, type Task } from "@warren/api";
import type { ConstrainedNode, HostPort, NodeState, Resources, TaskState as Placement } from "@warren/scheduler";
import { hasEnded, idOf, isActive, isReady, stateOf } from "./task.ts";

export function constrainedNode(node: Node): ConstrainedNode {
  const { hostname = "", os = "", architecture = "" } = node.description ?? {};
  return {
    id: idOf(node),
    ...(hostname !== "" && { hostname }),
    role: "worker",
    ...(os !== "" && architecture !== "" && { platform: { os, arch: architecture } }),
    labels: node.spec?.labels ?? {},
  };
}

export function nodeState(node: Node): NodeState {
  return {
    ...constrainedNode(node),
    ready: isReady(node),
    active: isActive(node),
    resources: { cpu: node.description?.cpuNanos ?? 0, memory: node.description?.memoryBytes ?? 0 },
  };
}

/** Whether a task is for the scheduler to place: allocated, wanted, and on no node. */
export function isPlaceable(task: Task): boolean {
  return (
    stateOf(task) === TaskState.PENDING &&
    task.nodeId === "" &&
    task.desiredState > TaskState.PENDING &&
    task.desiredState <= TaskState.RUNNING
  );
}

/** The task as the scheduler sees it; undefined if it neither waits for a node nor holds one. */
export function placement(task: Task, service: Service | undefined): Placement | undefined {
  const holds = task.nodeId !== "" && !hasEnded(task);
  if (!holds && !isPlaceable(task)) return undefined;
  const { resources, placement } = task.spec ?? {};
  const ports = hostPorts(service);
  return {
    id: idOf(task),
    serviceId: task.serviceId,
    specVersion: task.specVersion,
    ...(holds && { nodeId: task.nodeId }),
    reservations: reservations(resources?.cpuReservationNanos ?? 0, resources?.memoryReservationBytes ?? 0),
    ...(placement !== undefined && {
      constraints: placement.constraints,
      maxPerNode: placement.maxReplicasPerNode,
    }),
    ...(ports.length > 0 && { hostPorts: ports }),
  };
}

function reservations(cpu: number, memory: number): Resources {
  return { ...(cpu > 0 && { cpu }), ...(memory > 0 && { memory }) };
}

function hostPorts(service: Service | undefined): HostPort[] {
  return (service?.endpoint?.ports ?? [])
    .filter(({ mode }) => mode === PortSpec_Mode.HOST)
    .map(({ published, protocol }) => ({
      port: published,
      protocol: protocol === PortSpec_Protocol.UDP ? ("udp" as const) : ("tcp" as const),
    }));
}
