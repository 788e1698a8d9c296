/** The node's network, joined: interfaces and isolation, balancing, names. */
import { rm } from "node:fs/promises";
import type { NetworkSettings, NodeEndpoint, TaskAttachment, TaskNetwork } from "@warren/agent";
import { PortSpec_Mode, PortSpec_Protocol } from "@warren/api";
import { ServiceNames, startDnsServer, type DnsServer, type NamedService } from "@warren/dns";
import { startAttachments, type Attachments } from "@warren/net-attachment";
import { LoadBalancer, type BalancedService } from "@warren/net-loadbalancer";
import { startFirewall, type Firewall } from "@warren/firewall";
import { openNetlink, type Netlink } from "@warren/netlink-napi";
import type { Clock, Logger, Metrics, Random } from "@warren/std";

export interface NetworkDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface NetworkOptions {
  /** Of the worker, for namespaces of tasks that have none from their container. */
  readonly netnsDirectory: string;
  /** Name servers for all names that are not ours. @default those of /etc/resolv.conf */
  readonly dnsUpstreams?: readonly string[];
}

/** Of answers with names of services, seconds: a lease that has left its names is asked for no longer than that (L8). */
const nameTtlSeconds = 1;

interface Opened {
  readonly netlink: Netlink;
  readonly firewall: Firewall;
  readonly attachments: Attachments;
  readonly balancer: LoadBalancer;
  readonly dns: DnsServer;
  readonly names: ServiceNames;
}

/** What the agent sees of `net-attachment`, `net-loadbalancer` and `dns`. */
export class NodeTaskNetwork implements TaskNetwork {
  readonly #dependencies: NetworkDependencies;
  readonly #options: NetworkOptions;
  /** Address → networks: who asks the name server, and for what it may ask. */
  readonly #clients = new Map<string, readonly string[]>();
  #opened: Opened | undefined;

  constructor(dependencies: NetworkDependencies, options: NetworkOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
  }

  async open(
    settings: NetworkSettings,
    expected: readonly TaskAttachment[],
  ): Promise<{ readonly adopted: readonly string[] }> {
    const { clock, random, log, metrics } = this.#dependencies;
    const netlink = openNetlink();
    const firewall = await startFirewall({ events: netlink, log });
    try {
      const { netnsDirectory, dnsUpstreams } = this.#options;
      const requests = expected.map(({ id, ...attachment }) => ({ taskId: id, ...attachment }));
      const { attachments, reconciled } = await startAttachments(
        { netlink, firewall, log },
        { ...settings, netnsDirectory },
        requests,
      );
      const names = new ServiceNames({ clientNetworks: (address) => this.#clients.get(address) ?? [] });
      const reverseSubnets = [settings.taskPool, settings.vipPool];
      const upstreams = dnsUpstreams === undefined ? {} : { upstreams: dnsUpstreams };
      const dns = await startDnsServer(
        { resolver: names, clock, random, log, metrics },
        { reverseSubnets, ttlSeconds: nameTtlSeconds, ...upstreams },
      );
      const balancer = new LoadBalancer({ firewall, flows: netlink, log }, settings);
      for (const { address, networks } of expected) this.#clients.set(address, networks);
      this.#opened = { netlink, firewall, attachments, balancer, dns, names };
      return { adopted: reconciled.adopted.map(({ taskId }) => taskId) };
    } catch (error) {
      await firewall.close();
      throw error;
    }
  }

  async attach({ id, address, networks, netnsPath }: TaskAttachment): Promise<void> {
    const { attachments } = this.#open();
    this.#clients.set(address, networks);
    try {
      await attachments.attach({ taskId: id, address, networks, netnsPath });
    } catch (error) {
      this.#clients.delete(address);
      throw error;
    }
  }

  async detach(taskId: string, address: string): Promise<void> {
    const { attachments } = this.#open();
    await attachments.detach(taskId);
    this.#clients.delete(address);
  }

  async setEndpoints(endpoints: readonly NodeEndpoint[]): Promise<void> {
    const { balancer, names } = this.#open();
    names.update(endpoints.map(namedService));
    await balancer.set(endpoints.map(balancedService));
  }

  /** Stops serving; interfaces and rules stay, so that tasks do not notice. */
  async close(): Promise<void> {
    await this.#opened?.dns.close();
    await this.#opened?.firewall.close();
  }

  #open(): Opened {
    if (this.#opened === undefined) throw new Error("assertion failed: the network is used before it was opened");
    return this.#opened;
  }
}

/** A service as the balancer has it. Pure. */
export function balancedService({ serviceId, vip, ports, backends }: NodeEndpoint): BalancedService {
  return {
    id: serviceId,
    ...(vip === "" ? {} : { vip }),
    backends: backends.map(({ address, weight }) => ({ address, weight })),
    ports: ports.map(({ protocol, published, target, mode }) => ({
      protocol: protocol === PortSpec_Protocol.UDP ? "udp" : "tcp",
      published,
      target,
      mode: mode === PortSpec_Mode.HOST ? "host" : "ingress",
    })),
  };
}

/** A service as the name server has it: no name leads to what is draining. Pure. */
export function namedService({ name, vip, networks, backends }: NodeEndpoint): NamedService {
  return {
    name,
    aliases: networks.flatMap(({ aliases }) => aliases),
    networks: networks.map(({ id }) => id),
    ...(vip === "" ? {} : { vip }),
    tasks: backends
      .filter(({ draining }) => !draining)
      .map(({ slot, address }) => ({ slot: numberOf(slot), address, healthy: true })),
  };
}

/** Of a replicated service's slot; 0 of any other, which has no name of its own. */
function numberOf(slot: string): number {
  return /^[1-9]\d*$/.test(slot) ? Number(slot) : 0;
}

/** Removes all that `NodeTaskNetwork` left on the machine: interfaces, namespaces, rules; forwarding, if it was off before. */
export async function removeNodeNetwork(
  settings: NetworkSettings,
  { netnsDirectory }: Pick<NetworkOptions, "netnsDirectory">,
): Promise<void> {
  const netlink = openNetlink();
  await using firewall = await startFirewall({ events: netlink });
  const { attachments } = await startAttachments({ netlink, firewall }, { ...settings, netnsDirectory }, []);
  await attachments.removeAll();
  await firewall.remove("lb");
  await rm(netnsDirectory, { recursive: true, force: true });
}
