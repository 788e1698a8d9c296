import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  NetlinkError,
  changeNetns,
  createNetns,
  deleteNetns,
  isNetns,
  listNetns,
  openNetlink,
  type Link,
  type Netlink,
  type NetworkChange,
  type RouteSpec,
} from "@warren/netlink-napi";
import { restoreForwarding, turnOnForwarding } from "./forwarding.ts";
import { interfacePrefix } from "./isolation.ts";
import type { Attachment, AttachRequest, ResolvedOptions } from "./types.ts";

/** Name of the task's end of the pair. */
const inside = "eth0";

/** The alias of the node's end is this and the task's id, so that the kernel keeps what a restarted worker needs. */
const label = "warren task ";

/** The node's end of a task's pair: `wr` and 13 digits of a hash, 15 characters, the kernel's limit. */
export function interfaceName(taskId: string): string {
  return (
    interfacePrefix +
    BigInt(`0x${createHash("sha256").update(taskId).digest("hex")}`)
      .toString(36)
      .slice(0, 13)
  );
}

/** Marks Warren's routes for addresses that no task has; other programs' routes don't have it. */
const unreachableMetric = 4_096;

const ownName = new RegExp(`^${interfacePrefix}[0-9a-z]{13}$`);

/** Runs a step for which failing with one of `codes` means that it was done before. */
export async function tolerating(codes: readonly string[], step: Promise<void>): Promise<void> {
  try {
    await step;
  } catch (error) {
    if (!NetlinkError.is(error, ...codes)) throw error;
  }
}

/** Creates, lists and removes veth pairs and namespaces. All state is in the kernel. */
export class Interfaces {
  readonly #netlink: Netlink;
  readonly #options: ResolvedOptions;
  #closedLinks: readonly string[] = [];

  constructor(netlink: Netlink, options: ResolvedOptions) {
    this.#netlink = netlink;
    this.#options = options;
  }

  /** Links of the node between which it does not route for others. */
  get closedLinks(): readonly string[] {
    return this.#closedLinks;
  }

  /**
   * Prepares the node: forwarding; an ICMP error for addresses of the pool that no task has, which also keeps the pool's
   * packets off the default route; and the gateway's address before the first task, so that the name server can listen
   * on it.
   */
  async prepare(): Promise<void> {
    const { netnsDirectory, gateway } = this.#options;
    await mkdir(netnsDirectory, { recursive: true });
    for (const route of this.#unreachable()) await this.#netlink.putRoute(route);
    await this.#netlink.addAddress("lo", `${gateway}/32`);
    this.#closedLinks = await turnOnForwarding(this.#netlink, netnsDirectory);
  }

  async unprepare(): Promise<void> {
    const { netnsDirectory, gateway } = this.#options;
    await restoreForwarding(this.#netlink, netnsDirectory);
    // By their form: the subnets of an earlier time may have been others.
    for (const { destination, kind, metric } of await this.#netlink.routes())
      if (kind === "unreachable" && metric === unreachableMetric)
        await tolerating(["ESRCH"], this.#netlink.deleteRoute({ destination, kind, metric }));
    await tolerating(["EADDRNOTAVAIL"], this.#netlink.deleteAddress("lo", `${gateway}/32`));
  }

  #unreachable(): RouteSpec[] {
    const { nodeSubnet, taskPool } = this.#options;
    return [nodeSubnet, taskPool].map((destination) => ({
      destination,
      kind: "unreachable",
      metric: unreachableMetric,
    }));
  }

  ownPath(taskId: string): string {
    return join(this.#options.netnsDirectory, taskId);
  }

  /**
   * Each step is idempotent, so that an attachment that a crash interrupted is completed. What is inside the namespace is
   * one call, and so is what is outside: hundreds of tasks may start at once.
   */
  async create(request: AttachRequest): Promise<Attachment> {
    const { taskId, address } = request;
    const name = interfaceName(taskId);
    const netnsPath = request.netnsPath ?? this.ownPath(taskId);
    if (request.netnsPath === undefined && !(await isNetns(netnsPath))) await createNetns(netnsPath);
    const pair = this.#pair(name);
    const inTask = this.#inTask(address);
    try {
      await changeNetns(netnsPath, [...pair, ...inTask]);
    } catch (error) {
      if (!NetlinkError.is(error, "EEXIST")) throw error;
      const whole = await this.#isPair(name, openNetlink(netnsPath));
      if (!whole) await this.#deleteLink(name);
      await changeNetns(netnsPath, whole ? inTask : [...pair, ...inTask]);
    }
    await this.#netlink.changeAll(this.#onHost(name, request));
    return { taskId, address, interface: name, netnsPath };
  }

  async remove(taskId: string): Promise<void> {
    await this.#deleteLink(interfaceName(taskId));
    await deleteNetns(this.ownPath(taskId));
  }

  /** Attachments that are complete; interrupted ones are not among them. */
  async list(): Promise<Attachment[]> {
    const links = (await this.#netlink.links()).filter((link) => link.kind === "veth" && ownName.test(link.name));
    const routes = await this.#netlink.routes();
    const whole: Attachment[] = [];
    for (const link of links) {
      const taskId = link.alias?.startsWith(label) === true ? link.alias.slice(label.length) : undefined;
      const route = routes.find(
        ({ linkIndex, destination }) => linkIndex === link.index && destination.endsWith("/32"),
      );
      if (taskId === undefined || route === undefined || !link.up) continue;
      const [address = ""] = route.destination.split("/");
      whole.push({ taskId, address, interface: link.name, netnsPath: this.ownPath(taskId) });
    }
    return whole;
  }

  /** Removes our interfaces and namespaces that belong to no task of `keep`. */
  async removeOthers(keep: ReadonlySet<string>): Promise<string[]> {
    const names = new Set([...keep].map(interfaceName));
    const removed: string[] = [];
    for (const link of await this.#netlink.links()) {
      if (link.kind !== "veth" || !ownName.test(link.name) || names.has(link.name)) continue;
      await this.#deleteLink(link.name);
      removed.push(link.name);
    }
    const paths = new Set([...keep].map((taskId) => this.ownPath(taskId)));
    for (const path of await listNetns(this.#options.netnsDirectory)) {
      if (paths.has(path)) continue;
      await deleteNetns(path);
      removed.push(path);
    }
    return removed;
  }

  /** Whether the link is there and its other end is `eth0` of that namespace. */
  async #isPair(name: string, task: Netlink): Promise<boolean> {
    const [near, far]: (Link | undefined)[] = await Promise.all([this.#netlink.link(name), task.link(inside)]);
    return near !== undefined && far !== undefined && near.peerIndex === far.index && far.peerIndex === near.index;
  }

  /** Creates the pair from the task's end, as interfaces of its namespace begin with what is set for new ones. */
  #pair(name: string): NetworkChange[] {
    const veth = { name: inside, peerName: name, peerNetns: this.#netlink.netns, mtu: this.#options.mtu };
    return [...safeSysctls("default"), { veth }];
  }

  #inTask(address: string): NetworkChange[] {
    const { gateway } = this.#options;
    return [
      { sysctl: "net/ipv4/conf/all/accept_redirects", value: "0" },
      ...safeSysctls(inside),
      { link: "lo", change: { up: true } },
      { link: inside, address: `${address}/32` },
      { link: inside, change: { up: true } },
      { route: { destination: gateway, link: inside } },
      { route: { destination: "0.0.0.0/0", gateway, link: inside } },
    ];
  }

  #onHost(name: string, { taskId, address }: AttachRequest): NetworkChange[] {
    const conf = `net/ipv4/conf/${name}`;
    return [
      // A packet whose source is not the task's address is dropped, since isolation is by addresses.
      { sysctl: `${conf}/rp_filter`, value: "1" },
      // A published port answers on 127.0.0.1 too; the isolation table keeps tasks out of there.
      { sysctl: `${conf}/route_localnet`, value: "1" },
      { sysctl: `${conf}/forwarding`, value: "1" },
      withoutIpv6(name),
      { link: name, address: `${this.#options.gateway}/32` },
      { link: name, change: { up: true } },
      { route: { destination: address, link: name } },
      // Last: an interface with the alias is complete.
      { link: name, change: { alias: label + taskId } },
    ];
  }

  #deleteLink(name: string): Promise<void> {
    return tolerating(["ENODEV"], this.#netlink.deleteLink(name));
  }
}

/** No IPv6 on the pair: link-local addresses would bypass the isolation. Nothing to do in a kernel without IPv6. */
function withoutIpv6(link: string): NetworkChange {
  return { sysctl: `net/ipv6/conf/${link}/disable_ipv6`, value: "1", ifPresent: true };
}

/** Of an interface in a task's namespace; `default`: of those to come. */
function safeSysctls(link: string): NetworkChange[] {
  return [{ sysctl: `net/ipv4/conf/${link}/accept_redirects`, value: "0" }, withoutIpv6(link)];
}
