import type { Backend, Endpoint } from "@warren/api";
import type { Clock, Logger, Random } from "@warren/std";
import { GatheredWork } from "./waiting.ts";

/** A task of this node, as its balancer sees it. */
export interface LocalBackend {
  readonly serviceId: string;
  readonly slot: number;
  readonly address: string;
  /** Being stopped: it keeps the connections that it has. */
  readonly draining: boolean;
}

/** What the managers say of other nodes' tasks, and this node of its own, whatever the managers say of those. Pure. */
export function mergeEndpoints(
  endpoints: Iterable<Endpoint>,
  nodeId: string,
  local: ReadonlyMap<string, LocalBackend>,
): Endpoint[] {
  const own = new Map<string, Backend[]>();
  for (const [taskId, { serviceId, ...rest }] of local) {
    const backends = own.get(serviceId) ?? [];
    backends.push({ taskId, nodeId, ...rest });
    own.set(serviceId, backends);
  }
  return [...endpoints].map((endpoint) => ({
    ...endpoint,
    backends: [
      ...endpoint.backends.filter((backend) => backend.nodeId !== nodeId),
      ...(own.get(endpoint.serviceId) ?? []),
    ],
  }));
}

/**
 * Keeps the node's balancer and names at the newest state: one application is under way at a time, the newest state is
 * next, and those between are skipped.
 */
export class EndpointTable {
  readonly #nodeId: string;
  /** Shared with the local record, which changes it. */
  readonly #assigned: ReadonlyMap<string, Endpoint>;
  readonly #apply: (endpoints: readonly Endpoint[]) => Promise<void>;
  readonly #local = new Map<string, LocalBackend>();
  readonly #work = new GatheredWork();

  constructor(
    nodeId: string,
    assigned: ReadonlyMap<string, Endpoint>,
    apply: (endpoints: readonly Endpoint[]) => Promise<void>,
  ) {
    this.#nodeId = nodeId;
    this.#assigned = assigned;
    this.#apply = apply;
    // What is there at the start is applied too.
    this.#work.ask();
  }

  /** The assigned endpoints are other than before. */
  changed(): void {
    this.#work.ask();
  }

  /** Puts a task of this node in, or changes how it stands. */
  set(taskId: string, backend: LocalBackend): void {
    this.#local.set(taskId, backend);
    this.changed();
  }

  drain(taskId: string): void {
    const backend = this.#local.get(taskId);
    if (backend !== undefined && !backend.draining) this.set(taskId, { ...backend, draining: true });
  }

  delete(taskId: string): void {
    if (this.#local.delete(taskId)) this.changed();
  }

  /** Resolves when what is so now, or something newer, is applied. */
  applied(signal: AbortSignal): Promise<void> {
    return this.#work.done(signal);
  }

  run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const failed = "the node's balancer could not be set, and is tried again";
    const apply = (): Promise<void> => this.#apply(mergeEndpoints(this.#assigned.values(), this.#nodeId, this.#local));
    return this.#work.run(dependencies, failed, apply, signal);
  }
}
