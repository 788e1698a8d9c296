import type { ContainerEvent, ContainerStatus, ExitStatus, Runtime } from "@warren/runtime";
import { Backoff, Changes, delay, type Clock, type Logger, type Random } from "@warren/std";
import { isUnavailable } from "./waiting.ts";

/** The end of a container; `exit` is undefined if its exit status is not known. */
export interface Ending {
  readonly exit: ExitStatus | undefined;
}

const rank = { created: 0, running: 1, exited: 2, unknown: 3 } as const;

/**
 * The state of each container of this node, from the runtime's events and lists. A state only moves forward, so a late
 * list never reverts an event.
 */
export class Containers {
  readonly #runtime: Pick<Runtime, "events" | "list">;
  readonly #known = new Map<string, ContainerStatus>();
  readonly #changes = new Changes();
  #listed = false;

  constructor(runtime: Pick<Runtime, "events" | "list">) {
    this.#runtime = runtime;
  }

  get(id: string): ContainerStatus | undefined {
    return this.#known.get(id);
  }

  all(): ContainerStatus[] {
    return [...this.#known.values()];
  }

  /** Resolves when the runtime has listed its containers once. */
  async listed(signal: AbortSignal): Promise<void> {
    await this.#changes.until(() => (this.#listed ? true : undefined), signal);
  }

  /** Adds a container, or its newer state. */
  put(status: ContainerStatus): ContainerStatus {
    const known = this.#known.get(status.id);
    const newer = known === undefined || rank[status.state.kind] >= rank[known.state.kind] ? status : known;
    this.#known.set(status.id, newer);
    this.#changes.notify();
    return newer;
  }

  forget(id: string): void {
    this.#known.delete(id);
    this.#changes.notify();
  }

  /** Resolves with the process id once the container runs. */
  async running(id: string, signal: AbortSignal): Promise<number> {
    return this.#changes.until(() => {
      const state = this.#known.get(id)?.state;
      return state?.kind === "running" ? state.pid : undefined;
    }, signal);
  }

  /** Resolves when the container has ended or is gone. */
  async ended(id: string, signal: AbortSignal): Promise<Ending> {
    return this.#changes.until(() => {
      const state = this.#known.get(id)?.state;
      if (state === undefined || state.kind === "unknown") return { exit: undefined };
      return state.kind === "exited" ? { exit: state.exit } : undefined;
    }, signal);
  }

  /** Lists the runtime's containers, as an event may have been missed. */
  async refresh(): Promise<void> {
    const before = new Set(this.#known.keys());
    const listed = await this.#runtime.list();
    for (const status of listed) this.put(status);
    const there = new Set(listed.map(({ id }) => id));
    // A container that was added since the call is not missing.
    for (const id of before) if (!there.has(id)) this.#known.delete(id);
    this.#listed = true;
    this.#changes.notify();
  }

  /** Follows the runtime's events until the signal aborts; reconnects with back-off. */
  async run(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const backoff = new Backoff(dependencies.random);
    while (!signal.aborted) {
      try {
        for await (const event of this.#runtime.events(signal)) {
          if (event.kind === "lost") await this.refresh();
          else this.#take(event);
          backoff.reset();
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!isUnavailable(error)) dependencies.log.error("the runtime's events can't be followed", { error });
        await delay(dependencies.clock, backoff.next(), signal);
      }
    }
  }

  #take(event: Exclude<ContainerEvent, { readonly kind: "lost" }>): void {
    const known = this.#known.get(event.id);
    if (known === undefined) return;
    switch (event.kind) {
      case "started":
        this.put({ ...known, state: { kind: "running", pid: event.pid } });
        break;
      case "exited":
        this.put({ ...known, state: { kind: "exited", exit: event.exit } });
        break;
      case "oom":
        // The exit status has it too.
        break;
      default:
        event satisfies never;
    }
  }
}
