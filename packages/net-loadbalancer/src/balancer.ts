import { serially, silentLogger, type Logger } from "@warren/std";
import type { Firewall } from "@warren/firewall";
import { staleFlows, strayFlows } from "./flows.ts";
import { readHostPorts } from "./host-ports.ts";
import { checkServices, resolveOptions } from "./options.ts";
import { portKey, withholdPorts } from "./port-conflicts.ts";
import { balancerTable } from "./table.ts";
import type { BalancedService, Flows, LoadBalancerOptions, PortUse, PublishedPort, WithheldPort } from "./types.ts";

export interface LoadBalancerDependencies {
  readonly firewall: Pick<Firewall, "apply" | "remove">;
  readonly flows: Flows;
  /** Ports that programs of the node listen on. @default those of this process's network namespace */
  readonly hostPorts?: () => Promise<readonly PortUse[]>;
  readonly log?: Logger;
}

/** The VIPs and published ports of one node. */
export class LoadBalancer {
  readonly #firewall: Pick<Firewall, "apply" | "remove">;
  readonly #flows: Flows;
  readonly #log: Logger;
  readonly #options: Required<LoadBalancerOptions>;
  readonly #one = serially();
  readonly #hostPorts: () => Promise<readonly PortUse[]>;
  /** Keys of the ports that our rules publish. */
  #published: ReadonlySet<string> = new Set();
  #withheld: readonly WithheldPort[] = [];
  #requested: readonly BalancedService[] | undefined;
  /** The services of the last `set`. An earlier call that has not begun applies these too. */
  #wanted: readonly BalancedService[] = [];
  #applied: readonly BalancedService[] | undefined;

  /**
   * Changes no rules: those of an earlier process stay until the first `set`.
   *
   * @throws LoadBalancerError `LB_INVALID`
   */
  constructor(dependencies: LoadBalancerDependencies, options: LoadBalancerOptions) {
    this.#firewall = dependencies.firewall;
    this.#flows = dependencies.flows;
    this.#hostPorts = dependencies.hostPorts ?? readHostPorts;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "loadbalancer" });
    this.#options = resolveOptions(options);
  }

  /**
   * Balances exactly these services, once it resolves. UDP flows to tasks that are gone are ended, so that their senders
   * reach another task; TCP connections end with their task.
   *
   * @throws LoadBalancerError `LB_INVALID` (nothing changed); FirewallError `FIREWALL_RULES_FAILED`
   */
  async set(services: readonly BalancedService[]): Promise<void> {
    checkServices(services, this.#options);
    this.#wanted = structuredClone(services);
    await this.#one(async () => {
      if (this.#wanted === this.#requested) return;
      const requested = this.#wanted;
      const wanted = await this.#withoutWithheld(requested);
      await this.#firewall.apply({ ...balancerTable(wanted, this.#options), restored: () => this.#endStrays(wanted) });
      this.#requested = requested;
      this.#published = new Set(
        wanted.flatMap(({ ports = [] }) => ports.map(({ protocol, published }) => portKey(protocol, published))),
      );
      const filters = staleFlows(this.#applied, wanted);
      this.#applied = wanted;
      if (filters.length === 0) return;
      const ended = await this.#flows.deleteFlows(filters);
      if (ended > 0) this.#log.info("ended flows to tasks that are gone", { ended });
    });
  }

  /** Ports of the last `set` that are not published on this node, since the node needs them itself. Each `set` checks anew. */
  get withheld(): readonly WithheldPort[] {
    return this.#withheld;
  }

  async #withoutWithheld(requested: readonly BalancedService[]): Promise<readonly BalancedService[]> {
    const isNew = ({ protocol, published }: PublishedPort): boolean =>
      !this.#published.has(portKey(protocol, published));
    const asks = requested.some(({ ports = [] }) => ports.some(isNew));
    const inUse = asks ? await this.#hostPorts() : [];
    const { services, withheld } = withholdPorts(requested, inUse, this.#published, this.#options);
    const known = new Set(this.#withheld.map((port) => JSON.stringify(port)));
    for (const port of withheld)
      if (!known.has(JSON.stringify(port))) this.#log.warn("a port of the node is not published", { ...port });
    this.#withheld = withheld;
    return services;
  }

  /** Ends flows to VIPs that began while there were no rules: they would stay untranslated for as long as they last. */
  async #endStrays(services: readonly BalancedService[]): Promise<void> {
    const filters = strayFlows(services);
    if (filters.length > 0) await this.#flows.deleteFlows(filters);
  }

  /** Removes all rules of the balancer; without it they outlive the process. */
  async remove(): Promise<void> {
    await this.#one(() => this.#firewall.remove("lb"));
    this.#applied = undefined;
    this.#requested = undefined;
    this.#published = new Set();
  }
}
