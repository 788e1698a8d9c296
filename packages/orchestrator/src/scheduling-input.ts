/**
 * Nodes and leases as the scheduler's input.
 */
import {
  LeaseState,
  PortSpec_Mode,
  PortSpec_Protocol,
  type HostPort as LeaseHostPort,
  type Lease,
  type Node,
  type Service,
  type Slot,
  type Version,
} from "@warren/api";
import { idOf, incomingLease, isUnreleased, leaseKey, mayRun } from "@warren/api/model";
import type { ConstrainedNode, HostPort, NodeState, Resources, TaskState } from "@warren/scheduler";
import type { View } from "@warren/store";
import { addressCount } from "./addresses.ts";
import { isActive, isReady } from "./reading.ts";
import { isStartFirst, sameMake } from "./settings.ts";

/** Whether a manager runs on the node's machine too, which then has the node's id. */
export function roleOf(view: View, nodeId: string): ConstrainedNode["role"] {
  return view.get("managers", nodeId) === undefined ? "worker" : "manager";
}

export function constrainedNode(node: Node, role: ConstrainedNode["role"]): ConstrainedNode {
  const { hostname = "", os = "", architecture = "" } = node.description ?? {};
  return {
    id: idOf(node),
    ...(hostname !== "" && { hostname }),
    role,
    ...(os !== "" && architecture !== "" && { platform: { os, arch: architecture } }),
    labels: node.spec?.labels ?? {},
  };
}

export function nodeState(node: Node, role: ConstrainedNode["role"]): NodeState {
  return {
    ...constrainedNode(node, role),
    ready: isReady(node),
    active: isActive(node),
    resources: { cpu: node.description?.cpuNanos ?? 0, memory: node.description?.memoryBytes ?? 0 },
    level: node.description?.level ?? 0,
    addresses: addressCount(node.subnet),
  };
}

/** A lease with what it is placed by. */
export interface LeaseSubject {
  readonly slot: Slot;
  readonly lease: Lease;
  readonly version: Version;
  /** Undefined: it was deleted. */
  readonly service: Service | undefined;
  /** That its service wants: placement is of it, whatever the lease is made from. */
  readonly wanted: Version | undefined;
  /** Of its node: see `hostPortsOf`. */
  readonly hostPorts: readonly HostPort[];
  /** The node that the lease has takes no tasks: it is drained, paused or not ready, or was removed. */
  readonly isNodeClosed: boolean;
}

/** Whether a lease is for the scheduler to place: wanted, allocated, on no node, and its back-off is over. */
export function isPlaceable({ slot, lease, service }: Pick<LeaseSubject, "slot" | "lease" | "service">): boolean {
  return (
    lease.state === LeaseState.WANTED && slot.wanted && slot.retryAt === undefined && service?.endpoint !== undefined
  );
}

/** The lease as the scheduler sees it; undefined if it neither waits for a node nor has one. */
export function schedulerTask(subject: LeaseSubject): TaskState | undefined {
  const { slot, lease, version, wanted, hostPorts } = subject;
  const holds = isUnreleased(lease);
  if (!holds && !isPlaceable(subject)) return undefined;
  const { resources } = version.task ?? {};
  const placement = (wanted ?? version).task?.placement;
  return {
    id: leaseKey(idOf(slot), lease.epoch),
    serviceId: slot.serviceId,
    specVersion: version.number,
    ...(holds && { nodeId: lease.nodeId, leaving: isLeaving(subject) }),
    reservations: reservations(resources?.cpuReservationNanos ?? 0, resources?.memoryReservationBytes ?? 0),
    ...(placement !== undefined && {
      constraints: placement.constraints,
      maxPerNode: placement.maxReplicasPerNode,
    }),
    ...(hostPorts.length > 0 && { hostPorts }),
    level: version.level,
  };
}

/**
 * A lease that is leaving has its node's resources and ports until it is released, but no place in any count. One whose
 * successor has no node yet may still stay, as when its node is drained and activated again; until then it counts for
 * all but that successor, unless nothing can be placed beside it anyway.
 */
function isLeaving({ slot, lease, service, isNodeClosed }: LeaseSubject): boolean {
  if (lease.state === LeaseState.RELEASING || !slot.wanted || service === undefined) return true;
  const incoming = incomingLease(slot);
  return incoming !== undefined && incoming !== lease && (isUnreleased(incoming) || isNodeClosed);
}

/** A lease that is to take over from others of its slot, and what it asks beside what its task asks. */
export interface Succession {
  /** Scheduler ids of leases that are gone before it is held. */
  readonly onceGone: readonly string[];
  /** Scheduler ids of leases that leave once it is held. */
  readonly onceLeaving: readonly string[];
  /** Nodes that it is not placed on, as the slot leaves them. */
  readonly avoid: readonly string[];
}

/**
 * Undefined where the slot has no other lease that may run.
 *
 * L2: where one stops before the other starts, what the others have is free by then, so that an old task stops only if
 * the new one fits once it is gone. L3: where it starts first, it must fit beside them.
 */
export function successionOf(
  { slot, lease, version, service }: LeaseSubject,
  versionOf: (id: string) => Version | undefined,
): Succession | undefined {
  const others = slot.leases.filter((each) => each !== lease && mayRun(each));
  if (others.length === 0) return undefined;
  const startFirst = service !== undefined && isStartFirst(service);
  const keys = others.map(({ epoch }) => leaseKey(idOf(slot), epoch));
  const left = others.filter((each) => each.state === LeaseState.HELD && sameMake(versionOf(each.versionId), version));
  return {
    onceGone: startFirst ? [] : keys,
    onceLeaving: startFirst ? keys : [],
    avoid: left.map(({ nodeId }) => nodeId),
  };
}

/** Ports of its node that a lease has: those that it was offered with, and those that its service has now. */
export function hostPortsOf({ hostPorts }: Lease, service: Service | undefined): HostPort[] {
  const ports = new Map<string, HostPort>();
  for (const { port, udp } of [...hostPorts, ...hostPortsNow(service)])
    ports.set(`${port}/${udp}`, { port, protocol: udp ? "udp" : "tcp" });
  return [...ports.values()];
}

/** Ports of a service that each of its tasks has on its node. */
export function hostPortsNow(service: Service | undefined): LeaseHostPort[] {
  return (service?.endpoint?.ports ?? [])
    .filter(({ mode }) => mode === PortSpec_Mode.HOST)
    .map(({ published, protocol }) => ({ port: published, udp: protocol === PortSpec_Protocol.UDP }));
}

function reservations(cpu: number, memory: number): Resources {
  return { ...(cpu > 0 && { cpu }), ...(memory > 0 && { memory }) };
}
