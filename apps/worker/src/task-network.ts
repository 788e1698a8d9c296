/** The node's network, joined: interfaces and isolation, balancing, names. */
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { NetworkSettings, NodeConditions, NodeEndpoint, TaskAttachment, TaskNetwork } from "@warren/agent";
import { PortSpec_Mode, PortSpec_Protocol } from "@warren/api";
import {
  namesOfMachine,
  NodeNames,
  ServiceNames,
  startDnsServer,
  type DnsServer,
  type NamedService,
} from "@warren/dns";
import {
  defaultGateway,
  PathProbe,
  startAttachments,
  watchAddresses,
  type AttachRequest,
  type Attachments,
  type BlockedPath,
  type NodeAddresses,
} from "@warren/net-attachment";
import { LoadBalancer, type BalancedService } from "@warren/net-loadbalancer";
import { foreignFirewall, startFirewall, type Firewall } from "@warren/firewall";
import { openNetlink, type Netlink } from "@warren/netlink-napi";
import type { Clock, Logger, Metrics, Random } from "@warren/std";
import { firewallConditions, portConditions } from "./node-conditions.ts";

export interface NetworkDependencies {
  /** Where it says what keeps it from doing its work. */
  readonly conditions: NodeConditions;
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
  /** Undefined where it could not be made: tasks have their network all the same. */
  readonly probe: PathProbe | undefined;
  readonly dns: DnsServer;
  readonly names: ServiceNames;
  readonly nodeAddresses: NodeAddresses;
}

/** What the agent sees of `net-attachment`, `net-loadbalancer` and `dns`. */
export class NodeTaskNetwork implements TaskNetwork {
  readonly #dependencies: NetworkDependencies;
  readonly #options: NetworkOptions;
  /** Clients of the name server by address: which names they see, and their own upstreams. */
  readonly #clients = new Map<string, Pick<TaskAttachment, "networks" | "nameServers">>();
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
      const { attachments, reconciled } = await startAttachments(
        { netlink, firewall, log },
        { ...settings, netnsDirectory, trusted: [PathProbe.outsideSubnet] },
        expected.map(attachRequest),
      );
      const names = new ServiceNames({ clientNetworks: (address) => this.#clients.get(address)?.networks ?? [] });
      const nodeAddresses = await watchAddresses({ netlink, log });
      const reverseSubnets = [settings.taskPool, settings.vipPool];
      const upstreams = dnsUpstreams === undefined ? {} : { upstreams: dnsUpstreams };
      const dns = await startDnsServer(
        {
          resolver: new NodeNames(names, await namesOfMachine(), () => nodeAddresses.current),
          upstreamsOf: ({ address }) => this.#clients.get(address)?.nameServers ?? [],
          clock,
          random,
          log,
          metrics,
        },
        { reverseSubnets, ttlSeconds: nameTtlSeconds, ...upstreams },
      );
      const balancer = new LoadBalancer({ firewall, flows: netlink, log }, settings);
      const probe = await this.#startProbe(netlink, attachments, settings);
      for (const task of expected) this.#clients.set(task.address, task);
      this.#opened = { netlink, firewall, attachments, balancer, probe, dns, names, nodeAddresses };
      return { adopted: reconciled.adopted.map(({ taskId }) => taskId) };
    } catch (error) {
      await firewall.close();
      throw error;
    }
  }

  async attach(task: TaskAttachment): Promise<void> {
    const { attachments } = this.#open();
    this.#clients.set(task.address, task);
    try {
      await attachments.attach(attachRequest(task));
    } catch (error) {
      this.#clients.delete(task.address);
      throw error;
    }
  }

  async detach(taskId: string, address: string): Promise<void> {
    const { attachments } = this.#open();
    await attachments.detach(taskId);
    this.#clients.delete(address);
  }

  async setEndpoints(endpoints: readonly NodeEndpoint[]): Promise<void> {
    const { balancer, probe, names } = this.#open();
    names.update(endpoints.map(namedService));
    const probed = probe && { id: "probe", vip: probe.vip, backends: [{ address: probe.address }] };
    await balancer.set([...endpoints.map(balancedService), ...(probed === undefined ? [] : [probed])]);
    probe?.first();
    const serviceNames = new Map(endpoints.map(({ serviceId, name }) => [serviceId, name]));
    this.#dependencies.conditions.set("ports", portConditions(balancer.withheld, serviceNames));
  }

  /** Stops serving; interfaces and rules stay, so that tasks do not notice. */
  async close(): Promise<void> {
    await this.#opened?.probe?.close();
    await this.#opened?.dns.close();
    this.#opened?.nodeAddresses.close();
    await this.#opened?.firewall.close();
  }

  async #startProbe(
    netlink: Netlink,
    attachments: Attachments,
    settings: NetworkSettings,
  ): Promise<PathProbe | undefined> {
    const { clock, log } = this.#dependencies;
    const folder = dirname(this.#options.netnsDirectory);
    const onBlocked = (blocked: readonly BlockedPath[]): void => void this.#onBlocked(settings, blocked);
    try {
      return await PathProbe.start({ netlink, attachments, clock, log }, { ...settings, folder }, onBlocked);
    } catch (error) {
      log.error("what other programs' rules keep from tasks can't be found out", { error });
      return undefined;
    }
  }

  async #onBlocked({ taskPool }: NetworkSettings, blocked: readonly BlockedPath[]): Promise<void> {
    const { conditions, log } = this.#dependencies;
    try {
      const firewall = blocked.length === 0 ? undefined : await foreignFirewall();
      conditions.set("firewall", firewallConditions(blocked, firewall, { taskPool, gateway: defaultGateway }));
    } catch (error) {
      log.error("which firewall keeps packets from tasks could not be found out", { blocked, error });
    }
  }

  #open(): Opened {
    if (this.#opened === undefined) throw new Error("assertion failed: the network is used before it was opened");
    return this.#opened;
  }
}

function attachRequest({ id, address, networks, netnsPath }: TaskAttachment): AttachRequest {
  return { taskId: id, address, networks, netnsPath };
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

/** A service as the name server has it. Pure. */
export function namedService({ name, vip, networks, backends }: NodeEndpoint): NamedService {
  return {
    name,
    aliases: networks.flatMap(({ aliases }) => aliases),
    networks: networks.map(({ id }) => id),
    ...(vip === "" ? {} : { vip }),
    tasks: backends.map(({ slot, address, draining }) => ({ slot, address, draining, healthy: true })),
  };
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
