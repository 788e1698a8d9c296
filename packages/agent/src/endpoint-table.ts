import type { Backend, Endpoint } from "@warren/api";
import { Backoff, delay, type Clock, type Logger, type Random } from "@warren/std";
import { Changes } from "./waiting.ts";

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
  #version = 1;
  #applied = 0;
  readonly #changes = new Changes();

  constructor(
    nodeId: string,
    assigned: ReadonlyMap<string, Endpoint>,
    apply: (endpoints: readonly Endpoint[]) => Promise<void>,
  ) {
    this.#nodeId = nodeId;
    this.#assigned = assigned;
    this.#apply = apply;
  }

  /** The assigned endpoints are other than before. */
  changed(): void {
    this.#version += 1;
    this.#changes.tell();
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
  async applied(signal: AbortSignal): Promise<void> {
    const version = this.#version;
    await this.#changes.until(() => (this.#applied >= version ? true : undefined), signal);
  }

  async run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const backoff = new Backoff(dependencies.random);
    for (;;) {
      await this.#changes.until(() => (this.#applied < this.#version ? true : undefined), signal);
      const version = this.#version;
      try {
        await this.#apply(mergeEndpoints(this.#assigned.values(), this.#nodeId, this.#local));
        this.#applied = version;
        this.#changes.tell();
        backoff.reset();
      } catch (error) {
        signal.throwIfAborted();
        dependencies.log.error("the node's balancer could not be set, and is tried again", { error });
        await delay(dependencies.clock, backoff.next(), signal);
      }
    }
  }
}
