import type { Backend, Endpoint } from "@warren/api";
import { keyOfSlot, parseLeaseKey, serviceOfSlot, slotKeyText } from "@warren/api/model";
import { ipv4Text, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import type { NodeBackend, NodeEndpoint } from "./seams.ts";
import { GatheredWork } from "./waiting.ts";

/** How long the flows to another node's task outlive the end of its lease, ms: it ends them by its own grace meanwhile. */
export const remoteDrainMs = 60_000;

/** Of a lease whose weight no manager has named yet. */
const defaultWeight = 100;

/** A lease of this node, as its balancer sees it. */
export interface LocalBackend {
  readonly slotId: string;
  readonly address: string;
  /** Being stopped: it keeps the connections that it has. */
  readonly draining: boolean;
  /** Of its last probes, from 1 (healthy) down to 0. */
  readonly health: number;
}

export interface EndpointInputs {
  readonly nodeId: string;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** As managers say, of all nodes. */
  readonly backends: ReadonlyMap<string, Backend>;
  /** Of this node, by its own knowledge. */
  readonly local: ReadonlyMap<string, LocalBackend>;
  /** Weight that managers wished for leases of this node, last known. */
  readonly wishes: ReadonlyMap<string, number>;
  /** Other nodes' backends that were removed a short while ago. */
  readonly leaving: ReadonlyMap<string, Backend>;
}

/** What managers say of other nodes' leases, and this node of its own, whatever the managers say of those. Pure. */
export function mergeEndpoints(inputs: EndpointInputs): NodeEndpoint[] {
  const { nodeId, endpoints, backends, local, wishes, leaving } = inputs;
  const byService = new Map<string, NodeBackend[]>();
  const add = (slotId: string, backend: Omit<NodeBackend, "slot">): void => {
    const service = serviceOfSlot(slotId);
    const list = byService.get(service) ?? [];
    list.push({ ...backend, slot: slotKeyText(keyOfSlot(slotId)) });
    byService.set(service, list);
  };
  const addRemote = (key: string, backend: Backend, draining: boolean): void => {
    const slotId = parseLeaseKey(key)?.slotId;
    if (slotId === undefined || backend.nodeId === nodeId) return;
    const address = ipv4Text(backend.address);
    add(slotId, { key, nodeId: backend.nodeId, address, weight: draining ? 0 : backend.weight, draining });
  };
  for (const [key, backend] of backends) addRemote(key, backend, false);
  for (const [key, backend] of leaving) if (!backends.has(key)) addRemote(key, backend, true);
  for (const [key, { slotId, address, draining, health }] of local) {
    const weight = draining ? 0 : loweredWeight(wishes.get(key) ?? defaultWeight, health);
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

/** The manager's wish, lowered by health and never raised; one that is in use keeps at least a little of a wish above 0. */
export function loweredWeight(wish: number, health: number): number {
  return wish === 0 ? 0 : Math.max(1, Math.round(wish * Math.min(1, Math.max(0, health))));
}

/** Shared with the local record, which changes them. */
export interface AssignedEndpoints {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly backends: ReadonlyMap<string, Backend>;
}

/**
 * Keeps the node's balancer and names at the newest state: one application is under way at a time, the newest state is
 * next, and those between are skipped.
 */
export class EndpointTable {
  readonly #nodeId: string;
  readonly #clock: Clock;
  readonly #assigned: AssignedEndpoints;
  readonly #apply: (endpoints: readonly NodeEndpoint[]) => Promise<void>;
  readonly #local = new Map<string, LocalBackend>();
  readonly #wishes = new Map<string, number>();
  readonly #leaving = new Map<string, { readonly backend: Backend; readonly timer: Timer }>();
  readonly #work = new GatheredWork();

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
    for (const [key, backend] of assigned.backends) this.#noteWish(key, backend);
    // What is there at the start is applied too.
    this.#work.ask();
  }

  /** The assigned endpoints are other than before. */
  changed(): void {
    this.#work.ask();
  }

  /** A backend came, or its weight is another. */
  assigned(key: string, backend: Backend): void {
    this.#stay(key);
    this.#noteWish(key, backend);
    this.changed();
  }

  /** A backend is no longer assigned. Another node's keeps its connections for a while, and gets no new ones. */
  removed(key: string, backend: Backend): void {
    if (backend.nodeId !== this.#nodeId) {
      this.#stay(key);
      const timer = this.#clock.setTimeout(() => {
        this.#leaving.delete(key);
        this.changed();
      }, remoteDrainMs);
      this.#leaving.set(key, { backend, timer });
    }
    this.changed();
  }

  /** Puts a lease of this node in, or changes how it stands. */
  set(key: string, backend: LocalBackend): void {
    this.#local.set(key, backend);
    this.changed();
  }

  setHealth(key: string, health: number): void {
    const backend = this.#local.get(key);
    if (backend !== undefined && backend.health !== health) this.set(key, { ...backend, health });
  }

  /** Takes a lease of this node out for new connections; false if it is not in. */
  drain(key: string): boolean {
    const backend = this.#local.get(key);
    if (backend !== undefined && !backend.draining) this.set(key, { ...backend, draining: true });
    return backend !== undefined;
  }

  delete(key: string): void {
    if (this.#local.delete(key)) this.changed();
  }

  /** The lease is released. */
  forget(key: string): void {
    this.delete(key);
    this.#wishes.delete(key);
  }

  /** Resolves when what is so now, or something newer, is applied. */
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
      wishes: this.#wishes,
      leaving,
    });
  }

  #noteWish(key: string, { nodeId, weight }: Backend): void {
    if (nodeId === this.#nodeId) this.#wishes.set(key, weight);
  }

  #stay(key: string): void {
    this.#leaving.get(key)?.timer.cancel();
    this.#leaving.delete(key);
  }
}
