/** The node's network, joined: interfaces and isolation, balancing, names. */
import { rm } from "node:fs/promises";
import type { NetworkSettings, TaskAttachment, TaskNetwork } from "@warren/agent";
import { PortSpec_Mode, PortSpec_Protocol, type Endpoint } from "@warren/api";
import { ServiceNames, startDnsServer, type DnsServer, type NamedService } from "@warren/dns";
import { AddressPool, startAttachments, type Attachments } from "@warren/net-attachment";
import { LoadBalancer, type BalancedService } from "@warren/net-loadbalancer";
import { startFirewall, type Firewall } from "@warren/net-loadbalancer/firewall";
import { openNetlink } from "@warren/netlink-napi";
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

interface Opened {
  readonly settings: NetworkSettings;
  readonly firewall: Firewall;
  readonly attachments: Attachments;
  readonly balancer: LoadBalancer;
  readonly dns: DnsServer;
  readonly names: ServiceNames;
  readonly pool: AddressPool;
}

/** What the agent sees of `net-attachment`, `net-loadbalancer` and `dns`. */
export class NodeTaskNetwork implements TaskNetwork {
  readonly #dependencies: NetworkDependencies;
  readonly #options: NetworkOptions;
  /** Address → networks: who asks the name server, and for what it may ask. */
  readonly #clients = new Map<string, readonly string[]>();
  /** Task → address. */
  readonly #addresses = new Map<string, string>();
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
        { reverseSubnets, ...upstreams },
      );
      const balancer = new LoadBalancer({ firewall, flows: netlink, log }, settings);
      const pool = new AddressPool(
        settings.nodeSubnet,
        expected.map(({ address }) => address),
      );
      for (const { id, address, networks } of expected) this.#know(id, address, networks);
      this.#opened = { settings, firewall, attachments, balancer, dns, names, pool };
      return { adopted: reconciled.adopted.map(({ taskId }) => taskId) };
    } catch (error) {
      await firewall.close();
      throw error;
    }
  }

  async attach(task: Parameters<TaskNetwork["attach"]>[0]): Promise<{ readonly address: string }> {
    const { attachments, pool } = this.#open();
    const known = this.#addresses.get(task.id);
    const address =
      known ?? (task.address !== undefined && pool.reserve(task.address) ? task.address : pool.allocate());
    this.#know(task.id, address, task.networks);
    try {
      await attachments.attach({ taskId: task.id, address, networks: task.networks, netnsPath: task.netnsPath });
    } catch (error) {
      if (known === undefined) this.#forget(task.id);
      throw error;
    }
    return { address };
  }

  async detach(taskId: string): Promise<void> {
    await this.#open().attachments.detach(taskId);
    this.#forget(taskId);
  }

  async setEndpoints(endpoints: readonly Endpoint[]): Promise<void> {
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

  #know(taskId: string, address: string, networks: readonly string[]): void {
    this.#addresses.set(taskId, address);
    this.#clients.set(address, networks);
  }

  #forget(taskId: string): void {
    const address = this.#addresses.get(taskId);
    if (address === undefined) return;
    this.#addresses.delete(taskId);
    this.#clients.delete(address);
    this.#opened?.pool.release(address);
  }
}

function balancedService({ serviceId, vip, ports, backends }: Endpoint): BalancedService {
  return {
    id: serviceId,
    ...(vip === "" ? {} : { vip }),
    backends: backends.map(({ address, draining }) => ({ address, weight: draining ? 0 : 1 })),
    ports: ports.map(({ protocol, published, target, mode }) => ({
      protocol: protocol === PortSpec_Protocol.UDP ? "udp" : "tcp",
      published,
      target,
      mode: mode === PortSpec_Mode.HOST ? "host" : "ingress",
    })),
  };
}

function namedService({ name, vip, networks, backends }: Endpoint): NamedService {
  return {
    name,
    aliases: networks.flatMap(({ aliases }) => aliases),
    networks: networks.map(({ id }) => id),
    ...(vip === "" ? {} : { vip }),
    tasks: backends.map(({ slot, address, draining }) => ({ slot, address, healthy: !draining })),
  };
}

/** Takes away all that `NodeTaskNetwork` left on the machine: interfaces, namespaces, rules. */
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
