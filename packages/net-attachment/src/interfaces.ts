import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  NetlinkError,
  createNetns,
  deleteNetns,
  isNetns,
  listNetns,
  openNetlink,
  type Link,
  type Netlink,
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

  /** Each step is idempotent, so that an attachment that a crash interrupted is completed. */
  async create(request: AttachRequest): Promise<Attachment> {
    const { taskId, address } = request;
    const name = interfaceName(taskId);
    const netnsPath = request.netnsPath ?? this.ownPath(taskId);
    if (request.netnsPath === undefined && !(await isNetns(netnsPath))) await createNetns(netnsPath);
    const task = openNetlink(netnsPath);
    if (!(await this.#isPair(name, task))) {
      await this.#deleteLink(name);
      await this.#netlink.createVeth({ name, peerName: inside, peerNetns: netnsPath, mtu: this.#options.mtu });
    }
    await this.#setUpTask(task, address);
    await this.#setUpHost(name, request);
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

  async #setUpTask(task: Netlink, address: string): Promise<void> {
    const { gateway } = this.#options;
    await task.writeSysctls({
      "net/ipv4/conf/all/accept_redirects": "0",
      [`net/ipv4/conf/${inside}/accept_redirects`]: "0",
      ...(await this.#withoutIpv6(task, inside)),
    });
    await task.changeLink("lo", { up: true });
    await task.addAddress(inside, `${address}/32`);
    await task.changeLink(inside, { up: true });
    await task.putRoute({ destination: gateway, link: inside });
    await task.putRoute({ destination: "0.0.0.0/0", gateway, link: inside });
  }

  async #setUpHost(name: string, { taskId, address }: AttachRequest): Promise<void> {
    const conf = `net/ipv4/conf/${name}`;
    await this.#netlink.writeSysctls({
      // A packet whose source is not the task's address is dropped, since isolation is by addresses.
      [`${conf}/rp_filter`]: "1",
      // A published port answers on 127.0.0.1 too; the isolation table keeps tasks out of there.
      [`${conf}/route_localnet`]: "1",
      [`${conf}/forwarding`]: "1",
      ...(await this.#withoutIpv6(this.#netlink, name)),
    });
    await this.#netlink.addAddress(name, `${this.#options.gateway}/32`);
    await this.#netlink.changeLink(name, { up: true });
    await this.#netlink.putRoute({ destination: address, link: name });
    // Last: an interface with the alias is complete.
    await this.#netlink.changeLink(name, { alias: label + taskId });
  }

  /** No IPv6 on the pair: link-local addresses would bypass the isolation. Nothing to do in a kernel without IPv6. */
  async #withoutIpv6(netlink: Netlink, link: string): Promise<Record<string, string>> {
    const name = `net/ipv6/conf/${link}/disable_ipv6`;
    try {
      await netlink.readSysctl(name);
      return { [name]: "1" };
    } catch (error) {
      if (NetlinkError.is(error, "ENOENT")) return {};
      throw error;
    }
  }

  #deleteLink(name: string): Promise<void> {
    return tolerating(["ENODEV"], this.#netlink.deleteLink(name));
  }
}
