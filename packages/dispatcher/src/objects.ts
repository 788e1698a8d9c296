/**
 * The objects that a node can be assigned: how each is read from the state, and which others it needs. Pure.
 *
 * The objects are a graph. A node is assigned all objects that can be reached from its leases and from `ingress`.
 * `assignmentsOf` walks the whole graph; `assignment-graph.ts` keeps it by reference counts. A further kind takes a
 * line in `assignedKinds` of `@warren/api/model`, a reader here, a need of the object that refers to it, and a line in
 * `dirty.ts` for its table.
 */
import {
  LeaseState,
  NodeStatus_State,
  PortSpec_Mode,
  RestartPolicy_Condition,
  type EndpointNetwork,
  type Lease,
  type Service,
  type Slot,
} from "@warren/api";
import {
  encodeAssigned,
  idOf,
  isRunning,
  leaseKey,
  parseLeaseKey,
  sameEpoch,
  type AssignedKind,
} from "@warren/api/model";
import { ipv4Number, registryOfImage } from "@warren/std";
import type { View } from "@warren/store";

/** Groups are not sent: they need the endpoints of all services on a network, or of all with ingress ports. */
export type GroupKind = "network" | "ingress";
export type ObjectKind = AssignedKind | GroupKind;
/** Names an object: its kind, a slash, its key. */
export type ObjectRef = `${ObjectKind}/${string}`;

export interface ObjectReading {
  /** The encoded message; undefined if the object does not exist now. */
  readonly object: Uint8Array | undefined;
  /** Objects that a node with this one must have too. */
  readonly needs: readonly ObjectRef[];
}

/** Weight of every backend. */
const defaultWeight = 100;

const absent: ObjectReading = Object.freeze({ object: undefined, needs: [] });

/** Needed by every node. */
export const ingress: ObjectRef = "ingress/";

const readers: { readonly [K in ObjectKind]: (view: View, key: string) => ObjectReading } = {
  lease(view, key) {
    const found = leaseOf(view, key);
    if (found === undefined || !isAssigned(found.lease)) return absent;
    const { slot, lease } = found;
    const { epoch, versionId, state, address, after, initialRecord, offeredLife } = lease;
    const assigned = { slotId: idOf(slot), epoch, versionId, state, address, after, initialRecord, offeredLife };
    return {
      object: encodeAssigned("lease", assigned),
      needs: [`version/${versionId}`, `service/${slot.serviceId}`, `endpoint/${slot.serviceId}`],
    };
  },
  version(view, id) {
    const version = view.get("versions", id);
    if (version === undefined) return absent;
    const { registryLogin = "", container } = version.task ?? {};
    const registry = registryLogin || registryOfImage(container?.image ?? "");
    return {
      object: encodeAssigned("version", version),
      needs: [
        ...(registry === undefined ? [] : [`registry/${registry}` as const]),
        ...version.networks.map((network): ObjectRef => `network/${network}`),
      ],
    };
  },
  service(view, id) {
    const service = view.get("services", id);
    if (service === undefined) return deletedService(view, id);
    const { name = "", labels = {}, task } = service.spec ?? {};
    return { object: encodeAssigned("service", { id, name, labels, restart: task?.restart }), needs: [] };
  },
  registry(view, registry) {
    const [credential] = view.find("registries", "name", registry);
    if (credential === undefined) return absent;
    return { object: encodeAssigned("registry", { registry, auth: credential.auth }), needs: [] };
  },
  network(view, id) {
    const services = view.find("versions", "network", id).map(({ serviceId }) => serviceId);
    return groupOf(view, `network/${id}`, new Set(services));
  },
  ingress(view) {
    return groupOf(view, ingress, view.list("services").map(idOf));
  },
  endpoint(view, id) {
    const service = view.get("services", id);
    const { vip = "", ports = [] } = service?.endpoint ?? {};
    if (service === undefined || vip === "") return absent;
    const networks = networksOf(view, service);
    return {
      object: encodeAssigned("endpoint", { serviceId: id, name: service.spec?.name ?? "", vip, ports, networks }),
      needs: view
        .find("slots", "service", id)
        .flatMap((slot) => slot.leases.map((lease): ObjectRef => `backend/${leaseKey(idOf(slot), lease.epoch)}`)),
    };
  },
  backend(view, key) {
    const found = leaseOf(view, key);
    return { object: found === undefined ? undefined : backendOf(view, found.slot, found.lease), needs: [] };
  },
};

export function read(view: View, ref: ObjectRef): ObjectReading {
  const { kind, key } = parseRef(ref);
  return readers[kind](view, key);
}

export function parseRef(ref: ObjectRef): { readonly kind: ObjectKind; readonly key: string } {
  const slash = ref.indexOf("/");
  return { kind: ref.slice(0, slash) as ObjectKind, key: ref.slice(slash + 1) };
}

export function isGroup(kind: ObjectKind): kind is GroupKind {
  return kind === "network" || kind === "ingress";
}

/** The leases of a slot that are assigned to a node. */
export function leasesOn(slot: Slot | undefined, nodeId: string): readonly ObjectRef[] {
  return (slot?.leases ?? [])
    .filter((lease) => lease.nodeId === nodeId && isAssigned(lease))
    .map(({ epoch }): ObjectRef => `lease/${leaseKey(idOf(slot as Slot), epoch)}`);
}

/** The objects from which all others of a node are reached. */
export function rootsOf(view: View, nodeId: string): readonly ObjectRef[] {
  return [ingress, ...view.find("slots", "node", nodeId).flatMap((slot) => leasesOn(slot, nodeId))];
}

/** All objects of a node, encoded. */
export function assignmentsOf(view: View, nodeId: string): Map<ObjectRef, Uint8Array> {
  const found = new Map<ObjectRef, Uint8Array>();
  const seen = new Set<ObjectRef>();
  const waiting = [...rootsOf(view, nodeId)];
  for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
    if (seen.has(ref)) continue;
    seen.add(ref);
    const { object, needs } = read(view, ref);
    if (object !== undefined) found.set(ref, object);
    waiting.push(...needs);
  }
  return found;
}

/** The groups that need a service's endpoint. */
export function groupsOf(view: View, serviceId: string): readonly ObjectRef[] {
  const service = view.get("services", serviceId);
  if (service === undefined) return [];
  const networks = networksOf(view, service).map(({ id }): ObjectRef => `network/${id}`);
  const published = (service.endpoint?.ports ?? []).some(({ mode }) => mode !== PortSpec_Mode.HOST);
  return published ? [ingress, ...networks] : networks;
}

function groupOf(view: View, group: ObjectRef, services: Iterable<string>): ObjectReading {
  const needs: ObjectRef[] = [];
  for (const id of services) if (groupsOf(view, id).includes(group)) needs.push(`endpoint/${id}`);
  return { object: undefined, needs };
}

/** The networks of the wanted version, with the spec's aliases there. */
function networksOf(view: View, { spec, versionId }: Service): EndpointNetwork[] {
  const asked = spec?.task?.networks ?? [];
  const networks = view.get("versions", versionId)?.networks ?? [];
  return networks.map((id) => ({ id, aliases: asked.find(({ network }) => network === id)?.aliases ?? [] }));
}

/** Of a deleted service with leases that are not released: its name, and a policy without restarts. */
function deletedService(view: View, id: string): ObjectReading {
  const [slot] = view.find("slots", "service", id);
  if (slot === undefined) return absent;
  const restart = { condition: RestartPolicy_Condition.NONE, delayMs: undefined, maxAttempts: 0, windowMs: 0 };
  return { object: encodeAssigned("service", { id, name: slot.serviceName, labels: {}, restart }), needs: [] };
}

/** Undefined unless the lease takes new connections. */
function backendOf(view: View, slot: Slot, lease: Lease): Uint8Array | undefined {
  const { state, nodeId, epoch } = lease;
  const address = ipv4Number(lease.address);
  if (state !== LeaseState.HELD || address === undefined) return undefined;
  // New connections go elsewhere. The node may be cut off only, and keeps its open ones.
  if (view.get("nodes", nodeId)?.status?.state === NodeStatus_State.DOWN) return undefined;
  const runs = view.find("tasks", "slot", idOf(slot)).some((task) => sameEpoch(task.epoch, epoch) && isRunning(task));
  if (!runs) return undefined;
  const isKey = slot.key?.key?.$case === "nodeId" && slot.key.key.value === nodeId;
  return encodeAssigned("backend", { address, nodeId: isKey ? "" : nodeId, weight: defaultWeight });
}

function leaseOf(view: View, key: string): { readonly slot: Slot; readonly lease: Lease } | undefined {
  const parsed = parseLeaseKey(key);
  const slot = parsed === undefined ? undefined : view.get("slots", parsed.slotId);
  const lease = slot?.leases.find(({ epoch }) => sameEpoch(epoch, parsed?.epoch));
  return slot === undefined || lease === undefined ? undefined : { slot, lease };
}

function isAssigned({ state, nodeId }: Lease): boolean {
  return nodeId !== "" && state >= LeaseState.OFFERED && state <= LeaseState.RELEASING;
}
