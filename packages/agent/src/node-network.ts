import type { Endpoint } from "@warren/api";
import type { Clock, Logger, Random } from "@warren/std";
import type { NetworkSettings, TaskAttachment, TaskNetwork } from "./seams.ts";
import { Changes, persistently } from "./waiting.ts";

/** The node's network, from when it is open: who asks sooner waits. */
export class NodeNetwork {
  readonly #network: TaskNetwork;
  readonly #dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger };
  readonly #changes = new Changes();
  #state:
    | { readonly kind: "unopened" }
    | { readonly kind: "opening"; readonly settings: NetworkSettings }
    | { readonly kind: "open"; readonly settings: NetworkSettings; readonly adopted: ReadonlySet<string> } = {
    kind: "unopened",
  };

  constructor(
    network: TaskNetwork,
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
  ) {
    this.#network = network;
    this.#dependencies = dependencies;
  }

  /**
   * Opens it, however often that takes. Settings that come later are for the next start of this worker, since tasks
   * run by these.
   */
  async open(settings: NetworkSettings, expected: readonly TaskAttachment[], signal: AbortSignal): Promise<void> {
    if (this.#state.kind !== "unopened") {
      const { nodeSubnet, taskPool, vipPool } = this.#state.settings;
      if (settings.nodeSubnet === nodeSubnet && settings.taskPool === taskPool && settings.vipPool === vipPool) return;
      this.#dependencies.log.error("the node's network has changed: restart the worker to take it up", { ...settings });
      return;
    }
    this.#state = { kind: "opening", settings };
    const open = (): Promise<{ readonly adopted: readonly string[] }> => this.#network.open(settings, expected);
    const { adopted } = await persistently(this.#dependencies, "opening the node's network", signal, open, () => true);
    this.#state = { kind: "open", settings, adopted: new Set(adopted) };
    this.#changes.tell();
  }

  /** Resolves when it is open, with the tasks whose interfaces were there. */
  opened(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return this.#changes.until(() => (this.#state.kind === "open" ? this.#state.adopted : undefined), signal);
  }

  async attach(task: Parameters<TaskNetwork["attach"]>[0], signal: AbortSignal): Promise<string> {
    await this.opened(signal);
    return (await this.#network.attach(task)).address;
  }

  /** Takes interface and address back, however often that takes. */
  async detach(taskId: string, signal: AbortSignal): Promise<void> {
    await this.opened(signal);
    const detach = (): Promise<void> => this.#network.detach(taskId);
    await persistently(this.#dependencies, `detaching task ${taskId}`, signal, detach, () => true);
  }

  async setEndpoints(endpoints: readonly Endpoint[], signal: AbortSignal): Promise<void> {
    await this.opened(signal);
    await this.#network.setEndpoints(endpoints);
  }
}
