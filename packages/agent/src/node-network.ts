import { BlockList } from "node:net";
import { Changes, type Clock, type Logger, type Random } from "@warren/std";
import type { NetworkSettings, NodeEndpoint, TaskAttachment, TaskNetwork } from "./seams.ts";
import { persistently } from "./waiting.ts";

/** The node's network. Calls wait until it is open. */
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
   * Opens the network, with retries. Later settings that differ are only logged: they take effect at the worker's next
   * start, since running tasks use the first ones.
   */
  async open(settings: NetworkSettings, expected: readonly TaskAttachment[], signal: AbortSignal): Promise<void> {
    if (this.#state.kind !== "unopened") {
      const { nodeSubnet, taskPool, vipPool } = this.#state.settings;
      if (settings.nodeSubnet === nodeSubnet && settings.taskPool === taskPool && settings.vipPool === vipPool) return;
      this.#dependencies.log.error("the node's network has changed: restart the worker to take it up", { ...settings });
      return;
    }
    this.#state = { kind: "opening", settings };
    // Interfaces of another node, which this machine was before, are removed: they are not in this node's subnet.
    const subnet = new BlockList();
    const [first = "", prefix] = settings.nodeSubnet.split("/");
    subnet.addSubnet(first, Number(prefix));
    const own = expected.filter(({ address }) => subnet.check(address));
    const open = (): Promise<{ readonly adopted: readonly string[] }> => this.#network.open(settings, own);
    const { adopted } = await persistently(this.#dependencies, "opening the node's network", signal, open, () => true);
    this.#state = { kind: "open", settings, adopted: new Set(adopted) };
    this.#changes.notify();
  }

  /** Resolves when the network is open, with the ids of tasks whose interfaces were adopted. */
  opened(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return this.#changes.until(() => (this.#state.kind === "open" ? this.#state.adopted : undefined), signal);
  }

  async attach(task: TaskAttachment, signal: AbortSignal): Promise<void> {
    await this.opened(signal);
    await this.#network.attach(task);
  }

  /** Removes interface and flows, with retries. */
  async detach(taskId: string, address: string, signal: AbortSignal): Promise<void> {
    await this.opened(signal);
    const detach = (): Promise<void> => this.#network.detach(taskId, address);
    await persistently(this.#dependencies, `detaching task ${taskId}`, signal, detach, () => true);
  }

  async setEndpoints(endpoints: readonly NodeEndpoint[], signal: AbortSignal): Promise<void> {
    await this.opened(signal);
    await this.#network.setEndpoints(endpoints);
  }
}
