import type { Backend, Endpoint } from "@warren/api";
import { keyOfSlot, nodeOfBackend, parseLeaseKey, serviceOfSlot, slotKeyText } from "@warren/api/model";
import { ipv4Text, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import type { NodeBackend, NodeEndpoint } from "./seams.ts";
import { CoalescedWork } from "./waiting.ts";

/**
 * Open flows to another node's task are kept this long after its backend was removed, ms; its own node may end them
 * earlier.
 */
export const remoteDrainMs = 60_000;

/** Weight of a lease until a manager has sent one. */
const defaultWeight = 100;

/** A lease of this node in its own balancer. */
export interface LocalBackend {
  readonly slotId: string;
  readonly address: string;
  /** It gets no new connections, and keeps its open ones. */
  readonly draining: boolean;
  /** From its last probes: 1 (healthy) down to 0. */
  readonly health: number;
}

export interface EndpointInputs {
  readonly nodeId: string;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** Of all nodes, as assigned. */
  readonly backends: ReadonlyMap<string, Backend>;
  /** Of this node, from its own state. */
  readonly local: ReadonlyMap<string, LocalBackend>;
  /** The last assigned weight of each lease of this node. */
  readonly managerWeights: ReadonlyMap<string, number>;
  /** Other nodes' backends that were removed less than `remoteDrainMs` ago. */
  readonly leaving: ReadonlyMap<string, Backend>;
}

/** Merges the assigned backends of other nodes with this node's own state of its leases. Pure. */
export function mergeEndpoints(inputs: EndpointInputs): NodeEndpoint[] {
  const { nodeId, endpoints, backends, local, managerWeights, leaving } = inputs;
  const byService = new Map<string, NodeBackend[]>();
  const add = (slotId: string, backend: Omit<NodeBackend, "slot">): void => {
    const service = serviceOfSlot(slotId);
    const list = byService.get(service) ?? [];
    list.push({ ...backend, slot: slotKeyText(keyOfSlot(slotId)) });
    byService.set(service, list);
  };
  const addRemote = (key: string, backend: Backend, draining: boolean): void => {
    const slotId = parseLeaseKey(key)?.slotId;
    const itsNode = nodeOfBackend(key, backend);
    if (slotId === undefined || itsNode === nodeId) return;
    const address = ipv4Text(backend.address);
    add(slotId, { key, nodeId: itsNode, address, weight: draining ? 0 : backend.weight, draining });
  };
  for (const [key, backend] of backends) addRemote(key, backend, false);
  for (const [key, backend] of leaving) if (!backends.has(key)) addRemote(key, backend, true);
  for (const [key, { slotId, address, draining, health }] of local) {
    const weight = draining ? 0 : loweredWeight(managerWeights.get(key) ?? defaultWeight, health);
    add(slotId, { key, nodeId, address, weight, draining });
  }
  return [...endpoints.values()].map(({ serviceId, name, vip, ports, networks }) => ({
    serviceId,
    name,
    vip,
    ports,
    networks,
    backends: byService.get(serviceId) ?? [],
  }));
}

/** The manager's weight, lowered by health and never raised: at least 1, unless the manager's is 0. */
export function loweredWeight(managerWeight: number, health: number): number {
  return managerWeight === 0 ? 0 : Math.max(1, Math.round(managerWeight * Math.min(1, Math.max(0, health))));
}

/** Read-only views of the local record's maps. */
export interface AssignedEndpoints {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly backends: ReadonlyMap<string, Backend>;
}

/**
 * Applies the newest state to the node's balancer and names. One update runs at a time; the next one applies the newest
 * state and skips those in between.
 */
export class EndpointTable {
  readonly #nodeId: string;
  readonly #clock: Clock;
  readonly #assigned: AssignedEndpoints;
  readonly #apply: (endpoints: readonly NodeEndpoint[]) => Promise<void>;
  readonly #local = new Map<string, LocalBackend>();
  readonly #managerWeights = new Map<string, number>();
  readonly #leaving = new Map<string, { readonly backend: Backend; readonly timer: Timer }>();
  readonly #work = new CoalescedWork();

  constructor(
    nodeId: string,
    clock: Clock,
    assigned: AssignedEndpoints,
    apply: (endpoints: readonly NodeEndpoint[]) => Promise<void>,
  ) {
    this.#nodeId = nodeId;
    this.#clock = clock;
    this.#assigned = assigned;
    this.#apply = apply;
    for (const [key, backend] of assigned.backends) this.#noteManagerWeight(key, backend);
    // The first state is applied too.
    this.#work.request();
  }

  /** The assigned endpoints have changed. */
  changed(): void {
    this.#work.request();
  }

  /** A backend was added, or its weight has changed. */
  assigned(key: string, backend: Backend): void {
    this.#stay(key);
    this.#noteManagerWeight(key, backend);
    this.changed();
  }

  /** A backend is no longer assigned. Another node's drains for `remoteDrainMs`. */
  removed(key: string, backend: Backend): void {
    if (nodeOfBackend(key, backend) !== this.#nodeId) {
      this.#stay(key);
      const timer = this.#clock.setTimeout(() => {
        this.#leaving.delete(key);
        this.changed();
      }, remoteDrainMs);
      this.#leaving.set(key, { backend, timer });
    }
    this.changed();
  }

  /** Adds or changes a lease of this node. */
  set(key: string, backend: LocalBackend): void {
    this.#local.set(key, backend);
    this.changed();
  }

  setHealth(key: string, health: number): void {
    const backend = this.#local.get(key);
    if (backend !== undefined && backend.health !== health) this.set(key, { ...backend, health });
  }

  /** Drains a lease of this node; false if it is not in the table. */
  drain(key: string): boolean {
    const backend = this.#local.get(key);
    if (backend !== undefined && !backend.draining) this.set(key, { ...backend, draining: true });
    return backend !== undefined;
  }

  delete(key: string): void {
    if (this.#local.delete(key)) this.changed();
  }

  /** Removes a lease of this node that is released. */
  forget(key: string): void {
    this.delete(key);
    this.#managerWeights.delete(key);
  }

  /** Resolves when the present state or a newer one is applied. */
  applied(signal: AbortSignal): Promise<void> {
    return this.#work.done(signal);
  }

  async run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const failed = "the node's balancer could not be set, and is tried again";
    try {
      await this.#work.run(dependencies, failed, () => this.#apply(this.#merged()), signal);
    } finally {
      for (const { timer } of this.#leaving.values()) timer.cancel();
      this.#leaving.clear();
    }
  }

  #merged(): NodeEndpoint[] {
    const leaving = new Map([...this.#leaving].map(([key, { backend }]) => [key, backend]));
    const { endpoints, backends } = this.#assigned;
    return mergeEndpoints({
      nodeId: this.#nodeId,
      endpoints,
      backends,
      local: this.#local,
      managerWeights: this.#managerWeights,
      leaving,
    });
  }

  #noteManagerWeight(key: string, backend: Backend): void {
    if (nodeOfBackend(key, backend) === this.#nodeId) this.#managerWeights.set(key, backend.weight);
  }

  #stay(key: string): void {
    this.#leaving.get(key)?.timer.cancel();
    this.#leaving.delete(key);
  }
}
