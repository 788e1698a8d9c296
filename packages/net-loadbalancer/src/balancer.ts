import { serially, silentLogger, type Logger } from "@warren/std";
import type { Firewall } from "@warren/firewall";
import { staleFlows } from "./flows.ts";
import { checkServices, resolveOptions } from "./options.ts";
import { balancerTable } from "./table.ts";
import type { BalancedService, Flows, LoadBalancerOptions } from "./types.ts";

export interface LoadBalancerDependencies {
  readonly firewall: Pick<Firewall, "apply" | "remove">;
  readonly flows: Flows;
  readonly log?: Logger;
}

/** The VIPs and published ports of one node. */
export class LoadBalancer {
  readonly #firewall: Pick<Firewall, "apply" | "remove">;
  readonly #flows: Flows;
  readonly #log: Logger;
  readonly #options: Required<LoadBalancerOptions>;
  readonly #one = serially();
  /** What was asked for last; an older wish that has not begun gives way to it. */
  #wanted: readonly BalancedService[] = [];
  #applied: readonly BalancedService[] | undefined;

  /**
   * Touches no rules: those of the process before stay until the first `set`.
   *
   * @throws LoadBalancerError `LB_INVALID`
   */
  constructor(dependencies: LoadBalancerDependencies, options: LoadBalancerOptions) {
    this.#firewall = dependencies.firewall;
    this.#flows = dependencies.flows;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "loadbalancer" });
    this.#options = resolveOptions(options);
  }

  /**
   * Balances exactly these services, from when it resolves. UDP flows to tasks that are gone are ended, so that
   * their senders reach another; TCP connections end with their task.
   *
   * @throws LoadBalancerError `LB_INVALID` (nothing changed); FirewallError `FIREWALL_RULES_FAILED`
   */
  async set(services: readonly BalancedService[]): Promise<void> {
    checkServices(services, this.#options);
    this.#wanted = structuredClone(services);
    await this.#one(async () => {
      const wanted = this.#wanted;
      if (wanted === this.#applied) return;
      await this.#firewall.apply(balancerTable(wanted, this.#options));
      const filters = staleFlows(this.#applied, wanted);
      this.#applied = wanted;
      if (filters.length === 0) return;
      const ended = await this.#flows.deleteFlows(filters);
      if (ended > 0) this.#log.info("ended flows to tasks that are gone", { ended });
    });
  }

  /** Takes all rules of the balancer away; without it they outlive the process. */
  async remove(): Promise<void> {
    await this.#one(() => this.#firewall.remove("lb"));
    this.#applied = undefined;
  }
}
