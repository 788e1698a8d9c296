import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startAttachments, type Attachments, type AttachRequest, type Reconciled } from "@warren/net-attachment";
import { LoadBalancer } from "@warren/net-loadbalancer";
import { startFirewall, type Firewall, type FirewallBackend } from "@warren/firewall";
import { listNetns } from "@warren/netlink-napi";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";

/** A node with a host outside, and its attachments. */
class Rig implements AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabHost;
  readonly outside: LabHost;
  readonly firewall: Firewall;
  attachments!: Attachments;

  private constructor(lab: Lab, node: LabHost, outside: LabHost, firewall: Firewall) {
    this.lab = lab;
    this.node = node;
    this.outside = outside;
    this.firewall = firewall;
  }

  static async open(backend: FirewallBackend): Promise<Rig> {
    const lab = await Lab.open();
    const node = await lab.host("node");
    const outside = await lab.host("outside");
    await lab.wire(node, "192.168.7.1/24", outside, "192.168.7.2/24");
    await node.netlink.putRoute({ destination: "0.0.0.0/0", gateway: "192.168.7.2" });
    await outside.netlink.putRoute({ destination: "10.77.0.0/16", gateway: "192.168.7.1" });
    await outside.serve("outside", 80);
    const rig = new Rig(lab, node, outside, await startFirewall({ events: node.netlink, run: node.run }, { backend }));
    await rig.start();
    return rig;
  }

  get netnsDirectory(): string {
    return join(this.lab.folder, "tasks");
  }

  /** Starts as a worker does: with the state that is in the kernel, and the attachments that it expects. */
  async start(expected: readonly AttachRequest[] = []): Promise<Reconciled> {
    const options = { netnsDirectory: this.netnsDirectory, nodeSubnet: "10.77.1.0/24", trusted: ["10.77.9.0/24"] };
    const { attachments, reconciled } = await startAttachments(
      { netlink: this.node.netlink, firewall: this.firewall },
      options,
      expected,
    );
    this.attachments = attachments;
    return reconciled;
  }

  async task(taskId: string, address: string, networks: readonly string[]): Promise<LabHost> {
    const { netnsPath } = await this.attachments.attach({ taskId, address, networks });
    const task = this.lab.adopt(netnsPath);
    await task.serve(taskId, 80);
    return task;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.firewall.close();
    await this.lab[Symbol.asyncDispose]();
  }
}

const refused = { code: "EHOSTUNREACH" };

describe.each(["nft", "iptables"] as const)("by %s", (backend) => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await Rig.open(backend);
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  test("tasks that share a network reach each other by their addresses, and others are refused at once", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    const both = await rig.task("both", "10.77.1.3", ["front", "back"]);
    const c = await rig.task("c", "10.77.1.4", ["back"]);
    const none = await rig.task("none", "10.77.1.5", []);
    expect(await a.call("10.77.1.3", 80)).toEqual({ name: "both", caller: "10.77.1.2" });
    expect(await both.call("10.77.1.2", 80)).toMatchObject({ name: "a" });
    expect(await both.call("10.77.1.4", 80)).toMatchObject({ name: "c" });
    await expect(a.call("10.77.1.4", 80)).rejects.toMatchObject(refused);
    await expect(c.call("10.77.1.2", 80)).rejects.toMatchObject(refused);
    await expect(none.call("10.77.1.2", 80)).rejects.toMatchObject(refused);
    await expect(a.call("10.77.1.200", 80)).rejects.toMatchObject(refused);
    expect(await a.call("10.77.1.2", 80)).toMatchObject({ name: "a" });
  });

  test("a task reaches the outside as its node and the node itself; from outside no task is reached by its address", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.node.serve("node", 53);
    expect(await a.call("192.168.7.2", 80)).toEqual({ name: "outside", caller: "192.168.7.1" });
    expect(await a.send("169.254.1.1", 53, 4_000)).toEqual({ name: "node", caller: "10.77.1.2" });
    expect(await rig.node.call("10.77.1.2", 80)).toMatchObject({ name: "a" });
    await expect(rig.outside.call("10.77.1.2", 80)).rejects.toMatchObject(refused);
  });

  test("a task can't reach servers on the node's loopback", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.node.serve("node", 9_090);
    // A hostile task routes loopback out of its interface.
    await a.netlink.writeSysctls({ "net/ipv4/conf/all/route_localnet": "1" });
    await a.run("ip", ["route", "del", "local", "127.0.0.0/8", "table", "local"]);
    await a.run("ip", ["route", "del", "local", "127.0.0.1", "table", "local"]);
    await a.run("ip", ["addr", "flush", "dev", "lo"]);
    await a.netlink.putRoute({ destination: "127.0.0.1", gateway: "169.254.1.1", link: "eth0", source: "10.77.1.2" });
    await expect(a.call("127.0.0.1", 9_090)).rejects.toMatchObject({ code: "ETIMEDOUT" });
  });

  test("the gateway's address is there before the first task and goes with the last of ours, so that a name server can listen", async () => {
    const has = async (): Promise<boolean> =>
      (await rig.node.netlink.addresses()).some(({ address }) => address === "169.254.1.1/32");
    expect(await has()).toBe(true);
    await rig.start();
    expect(await has()).toBe(true);
    await rig.attachments.removeAll();
    expect(await has()).toBe(false);
  });

  test("a task that uses another task's address can't send from it", async () => {
    await rig.task("b", "10.77.1.3", ["front"]);
    await rig.attachments.attach({ taskId: "a", address: "10.77.1.2", networks: ["front"] });
    const thief = await rig.task("thief", "10.77.1.4", ["front"]);
    const flowsToB = (): Promise<number> => rig.node.netlink.deleteFlows([{ protocol: 17, destination: "10.77.1.3" }]);
    expect(await thief.send("10.77.1.3", 80, 4_000)).toMatchObject({ caller: "10.77.1.4" });
    expect(await flowsToB()).toBe(1);
    await thief.netlink.addAddress("eth0", "10.77.1.2/32");
    await thief.netlink.deleteAddress("eth0", "10.77.1.4/32");
    await expect(thief.send("10.77.1.3", 80, 4_001)).rejects.toMatchObject({ code: "ETIMEDOUT" });
    expect(await flowsToB()).toBe(0);
    await rig.attachments.detach("a");
  });

  test("tasks of other nodes are reachable where they share a network, and trusted subnets reach every task", async () => {
    const far = await rig.lab.host("far");
    const [near, end] = await rig.lab.wire(rig.node, "10.77.9.1/32", far, "10.77.2.2/32");
    await far.netlink.addAddress(end, "10.77.2.3/32");
    await far.netlink.addAddress(end, "10.77.9.2/32");
    await far.netlink.putRoute({ destination: "10.77.9.1", link: end });
    await far.netlink.putRoute({ destination: "10.77.1.0/24", gateway: "10.77.9.1" });
    for (const subnet of ["10.77.2.0/24", "10.77.9.2"])
      await rig.node.netlink.putRoute({ destination: subnet, link: near });
    await far.serve("far", 80);
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await expect(a.call("10.77.2.2", 80)).rejects.toMatchObject(refused);
    await rig.attachments.setRemote([
      { address: "10.77.2.2", networks: ["front"] },
      { address: "10.77.2.3", networks: ["back"] },
    ]);
    expect(await a.call("10.77.2.2", 80)).toEqual({ name: "far", caller: "10.77.1.2" });
    await expect(a.call("10.77.2.3", 80)).rejects.toMatchObject(refused);
    const from = (source: string): Promise<void> =>
      far.netlink.putRoute({ destination: "10.77.1.0/24", gateway: "10.77.9.1", source });
    await from("10.77.2.2");
    expect(await far.call("10.77.1.2", 80)).toMatchObject({ caller: "10.77.2.2" });
    await from("10.77.2.3");
    await expect(far.call("10.77.1.2", 80)).rejects.toMatchObject(refused);
    await from("10.77.9.2");
    expect(await far.call("10.77.1.2", 80)).toMatchObject({ caller: "10.77.9.2" });
  });

  test("through a VIP a task reaches only tasks that share a network with it; a published port is open to all", async () => {
    const web = await rig.task("web", "10.77.1.2", ["front"]);
    const friend = await rig.task("friend", "10.77.1.3", ["front"]);
    const stranger = await rig.task("stranger", "10.77.1.4", ["back"]);
    const balancer = new LoadBalancer(
      { firewall: rig.firewall, flows: rig.node.netlink },
      { nodeSubnet: "10.77.1.0/24" },
    );
    const ports = [{ protocol: "tcp", published: 8_080, target: 80, mode: "ingress" }] as const;
    await balancer.set([{ id: "web", vip: "10.96.0.10", backends: [{ address: "10.77.1.2" }], ports }]);
    expect(await friend.call("10.96.0.10", 80)).toEqual({ name: "web", caller: "10.77.1.3" });
    expect(await web.call("10.96.0.10", 80)).toMatchObject({ name: "web" });
    await expect(stranger.call("10.96.0.10", 80)).rejects.toMatchObject(refused);
    expect(await stranger.call("192.168.7.1", 8_080)).toMatchObject({ name: "web" });
    expect(await rig.outside.call("192.168.7.1", 8_080)).toEqual({ name: "web", caller: "192.168.7.2" });
    expect(await rig.node.call("127.0.0.1", 8_080)).toMatchObject({ name: "web" });
    expect(await friend.call("192.168.7.2", 80)).toMatchObject({ name: "outside" });
  });

  test("attaching again completes what is missing and breaks no connection; other networks take effect", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.task("b", "10.77.1.3", ["front"]);
    const connection = await a.connect("10.77.1.3", 80);
    const request = { taskId: "a", address: "10.77.1.2", networks: ["front"] };
    const [first, second] = await Promise.all([rig.attachments.attach(request), rig.attachments.attach(request)]);
    expect(second).toEqual(first);
    expect(await connection.ask()).toBe("b");
    await rig.attachments.attach({ ...request, networks: ["back"] });
    await expect(a.call("10.77.1.3", 80)).rejects.toMatchObject(refused);
    await rig.node.netlink.deleteRoute({ destination: "10.77.1.2" });
    await rig.attachments.attach(request);
    expect(await a.call("10.77.1.3", 80)).toMatchObject({ name: "b" });
  });

  test("a restarted worker adopts the attachments that it expects, connections included, and removes all others", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.task("b", "10.77.1.3", ["front"]);
    await rig.attachments.attach({ taskId: "orphan", address: "10.77.1.4", networks: [] });
    await rig.attachments.attach({ taskId: "half", address: "10.77.1.5", networks: [] });
    await rig.node.netlink.deleteRoute({ destination: "10.77.1.5" });
    await rig.node.netlink.createVeth({ name: "wrtheirs", peerName: "x" });
    const connection = await a.connect("10.77.1.3", 80);
    const expected = [
      ["a", "10.77.1.2"],
      ["b", "10.77.1.3"],
      ["half", "10.77.1.5"],
      ["new", "10.77.1.6"],
    ].map(([taskId = "", address = ""]) => ({ taskId, address, networks: ["front"] }));
    const { adopted, missing, removed } = await rig.start(expected);
    expect(adopted.map(({ taskId, address }) => [taskId, address])).toEqual([
      ["a", "10.77.1.2"],
      ["b", "10.77.1.3"],
    ]);
    expect(missing).toEqual(["half", "new"]);
    expect(removed).toHaveLength(4);
    expect(await connection.ask()).toBe("b");
    expect(await rig.attachments.list()).toEqual(expect.arrayContaining([...adopted]));
    expect(await listNetns(rig.netnsDirectory)).toHaveLength(2);
    expect(await rig.node.netlink.link("wrtheirs")).toBeDefined();
  });

  test("thirty tasks attached at once are complete, and removeAll leaves nothing of them", async () => {
    const before = (await rig.node.netlink.links()).length;
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        rig.attachments.attach({ taskId: `t${i}`, address: `10.77.1.${i + 2}`, networks: ["n"] }),
      ),
    );
    expect(await rig.attachments.list()).toHaveLength(30);
    await rig.attachments.detach("t0");
    await rig.attachments.detach("t0");
    expect(await rig.attachments.list()).toHaveLength(29);
    await rig.attachments.removeAll();
    expect(await rig.node.netlink.links()).toHaveLength(before);
    expect(await listNetns(rig.netnsDirectory)).toEqual([]);
    expect((await rig.node.netlink.routes()).filter(({ destination }) => destination.startsWith("10.77."))).toEqual([]);
    const { stdout } = await rig.node.run(
      backend === "nft" ? "nft" : "iptables-save",
      backend === "nft" ? ["list", "ruleset"] : [],
    );
    expect(stdout.toLowerCase()).not.toContain("warren");
  });

  test("an address in use, an address outside of the node's subnet and IPv6 are refused before anything is created", async () => {
    const links = (await rig.node.netlink.links()).length + 1;
    await rig.attachments.attach({ taskId: "a", address: "10.77.1.2", networks: [] });
    const attach = (taskId: string, address: string): Promise<unknown> =>
      (async () => rig.attachments.attach({ taskId, address, networks: [] }))();
    await expect(attach("b", "10.77.1.2")).rejects.toMatchObject({ code: "ATTACHMENT_ADDRESS_TAKEN" });
    await expect(attach("b", "10.78.1.2")).rejects.toMatchObject({
      failure: { code: "ATTACHMENT_INVALID", field: "address" },
    });
    await expect(attach("b", "fd00::2")).rejects.toThrow("IPv6");
    await expect(attach("../b", "10.77.1.3")).rejects.toMatchObject({ failure: { field: "taskId" } });
    await expect(
      rig.attachments.attach({ taskId: "c", address: "10.77.1.9", networks: [], netnsPath: "/nowhere" }),
    ).rejects.toMatchObject({ code: "ATTACHMENT_FAILED" });
    expect(await rig.node.netlink.links()).toHaveLength(links);
    await rig.attachments.removeAll();
  });
});
