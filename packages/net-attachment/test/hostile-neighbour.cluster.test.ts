import { join } from "node:path";
import { startFirewall, type Firewall, type FirewallBackend } from "@warren/firewall";
import { startAttachments, type Attachments } from "@warren/net-attachment";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

const nodeAddress = "192.168.7.1";

/** A node on two LANs, with a neighbour on each that routes to tasks and gateway through the node. */
class Rig implements AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabHost;
  readonly neighbour: LabHost;
  readonly other: LabHost;
  readonly firewall: Firewall;
  attachments!: Attachments;

  private constructor(lab: Lab, hosts: readonly LabHost[], firewall: Firewall) {
    this.lab = lab;
    [this.node, this.neighbour, this.other] = hosts as [LabHost, LabHost, LabHost];
    this.firewall = firewall;
  }

  static async open(backend: FirewallBackend, forwarding: "0" | "1"): Promise<Rig> {
    const lab = await Lab.open();
    const node = await lab.host("node");
    const neighbour = await lab.host("neighbour");
    const other = await lab.host("other");
    await lab.wire(node, `${nodeAddress}/24`, neighbour, "192.168.7.2/24");
    await lab.wire(node, "192.168.8.1/24", other, "192.168.8.2/24");
    await node.netlink.writeSysctls({ "net/ipv4/ip_forward": forwarding, "net/ipv4/conf/all/rp_filter": "0" });
    await node.netlink.putRoute({ destination: "0.0.0.0/0", gateway: "192.168.7.2" });
    for (const destination of ["10.77.0.0/16", "169.254.1.1", "192.168.8.0/24"])
      await neighbour.netlink.putRoute({ destination, gateway: nodeAddress });
    await other.netlink.putRoute({ destination: "0.0.0.0/0", gateway: "192.168.8.1" });
    await neighbour.serve("neighbour", 80);
    await other.serve("other", 80);
    const firewall = await startFirewall({ events: node.netlink, run: node.run }, { backend });
    const rig = new Rig(lab, [node, neighbour, other], firewall);
    const { attachments } = await startAttachments(
      { netlink: node.netlink, firewall },
      { netnsDirectory: join(lab.folder, "tasks"), nodeSubnet: "10.77.1.0/24" },
      [],
    );
    rig.attachments = attachments;
    return rig;
  }

  async task(taskId: string, address: string, networks: readonly string[]): Promise<LabHost> {
    const { netnsPath } = await this.attachments.attach({ taskId, address, networks });
    const task = this.lab.adopt(netnsPath);
    await task.serve(taskId, 80);
    return task;
  }

  /** Lets the neighbour send from an address that is not its own. */
  async forge(source: string): Promise<void> {
    await this.neighbour.netlink.addAddress("lo", `${source}/32`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.firewall.close();
    await this.lab[Symbol.asyncDispose]();
  }
}

const refused = { code: "EHOSTUNREACH" };
const lost = { code: "ETIMEDOUT" };

describe.each(["nft", "iptables"] as const)("by %s", (backend) => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await Rig.open(backend, "0");
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  test("no packet of a neighbour on the LAN that claims a task's address reaches a task", async () => {
    await rig.task("a", "10.77.1.2", ["front"]);
    const b = await rig.task("b", "10.77.1.3", ["front"]);
    await rig.attachments.setRemote([{ address: "10.77.2.2", networks: ["front"] }]);
    // A local task's, a remote task's, an unused one of the pool, a VIP.
    for (const source of ["10.77.1.2", "10.77.2.2", "10.77.1.200", "10.96.0.7"]) {
      await rig.forge(source);
      await rig.neighbour.sendFrom(source, "10.77.1.3", 80, "forged");
    }
    // Sent later from the node itself, through the same interface of the task.
    await rig.node.sendFrom("169.254.1.1", "10.77.1.3", 80, "true");
    await until("the genuine packet arrives", async () => (await b.received()).some((line) => line.endsWith("true")));
    expect(await b.received()).toEqual(["169.254.1.1 true"]);
  });

  test("a task that claims an address of the LAN is not forwarded, though the node's own check is loose", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.node.netlink.writeSysctls({ "net/ipv4/conf/all/rp_filter": "2" });
    await a.netlink.addAddress("eth0", "192.168.8.99/32");
    await a.sendFrom("192.168.8.99", "192.168.7.2", 80, "forged");
    await a.sendFrom("10.77.1.2", "192.168.7.2", 80, "true");
    await until("the genuine packet arrives", async () => (await rig.neighbour.received()).length > 0);
    expect(await rig.neighbour.received()).toEqual([`${nodeAddress} true`]);
  });

  test("the gateway's address answers tasks and the node, and no host on the LAN", async () => {
    const a = await rig.task("a", "10.77.1.2", []);
    await rig.node.serve("names", 53);
    expect(await a.send("169.254.1.1", 53, 4_000)).toMatchObject({ name: "names" });
    expect(await rig.node.send("169.254.1.1", 53, 4_000)).toMatchObject({ name: "names" });
    await expect(rig.neighbour.send("169.254.1.1", 53, 4_000)).rejects.toMatchObject(lost);
  });

  test("a node that did not forward before does not route between its LANs, and tasks still reach both", async () => {
    const a = await rig.task("a", "10.77.1.2", []);
    await expect(rig.neighbour.send("192.168.8.2", 80, 4_000)).rejects.toMatchObject(lost);
    expect(await a.call("192.168.8.2", 80)).toMatchObject({ name: "other", caller: "192.168.8.1" });
    expect(await a.call("192.168.7.2", 80)).toMatchObject({ name: "neighbour" });
  });

  test("a node that forwarded before still routes between its LANs, also after removeAll", async () => {
    await using router = await Rig.open(backend, "1");
    expect(await router.neighbour.call("192.168.8.2", 80)).toMatchObject({ name: "other" });
    await router.attachments.removeAll();
    expect((await router.node.netlink.readSysctl("net/ipv4/ip_forward")).trim()).toBe("1");
    await rig.attachments.removeAll();
    expect((await rig.node.netlink.readSysctl("net/ipv4/ip_forward")).trim()).toBe("0");
  });

  test("a task gets no packets of flows of the task that had its address before", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.task("b", "10.77.1.3", ["front"]);
    await a.send("10.77.1.3", 80, 4_000);
    const tracked = (): Promise<string> => rig.node.run("cat", ["/proc/net/nf_conntrack"]).then(({ stdout }) => stdout);
    expect(await tracked()).toContain("10.77.1.3");
    await rig.attachments.detach("b");
    expect(await tracked()).not.toContain("10.77.1.3");
    await rig.task("c", "10.77.1.3", ["back"]);
    await expect(a.send("10.77.1.3", 80, 4_000)).rejects.toMatchObject(lost);
  });

  test("flows of tasks that went while no worker ran end when one starts, and those of tasks that stayed go on", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    const c = await rig.task("c", "10.77.1.4", ["front"]);
    await rig.task("b", "10.77.1.3", ["front"]);
    await a.send("10.77.1.3", 80, 4_000);
    await c.send("10.77.1.2", 80, 4_001);
    // As if a worker had been killed between the two steps of an end.
    const links = await rig.node.netlink.links();
    await rig.node.netlink.deleteLink(links.find(({ alias }) => alias === "warren task b")?.name ?? "none");
    await rig.attachments.reconcile([
      { taskId: "a", address: "10.77.1.2", networks: ["front"] },
      { taskId: "c", address: "10.77.1.4", networks: ["front"] },
    ]);
    const { stdout } = await rig.node.run("cat", ["/proc/net/nf_conntrack"]);
    expect(stdout).not.toContain("10.77.1.3");
    expect(stdout).toContain("10.77.1.4");
  });

  test("the kernel's flows are not gone through for an address that has none", async () => {
    const { netlink } = rig.node;
    const deleteFlows = vi.spyOn(netlink, "deleteFlows");
    await rig.attachments.attach({ taskId: "b", address: "10.77.1.3", networks: [] });
    expect(deleteFlows).not.toHaveBeenCalled();
    // What could not be ended when its task went is ended before the next one has the address.
    deleteFlows.mockRejectedValueOnce(new Error("the kernel has no memory"));
    await expect(rig.attachments.detach("b")).rejects.toThrow("no memory");
    deleteFlows.mockClear();
    await rig.attachments.attach({ taskId: "c", address: "10.77.1.3", networks: [] });
    expect(deleteFlows).toHaveBeenCalledWith([{ end: "10.77.1.3" }]);
    await rig.attachments.detach("c");
  });

  test("a connection ends for a task that leaves its network", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    await rig.task("b", "10.77.1.3", ["front"]);
    expect(await a.send("10.77.1.3", 80, 4_000)).toMatchObject({ name: "b" });
    await rig.attachments.attach({ taskId: "b", address: "10.77.1.3", networks: ["back"] });
    await expect(a.send("10.77.1.3", 80, 4_000)).rejects.toMatchObject(lost);
  });

  test("flows that crossed while rules were flushed end when the rules are back", async () => {
    const a = await rig.task("a", "10.77.1.2", ["front"]);
    const b = await rig.task("b", "10.77.1.3", ["back"]);
    await rig.neighbour.netlink.putRoute({ destination: "10.77.1.2", gateway: nodeAddress });
    // As if the rules were missing for a while.
    await rig.firewall.remove("net");
    expect(await a.send("10.77.1.3", 80, 4_000)).toMatchObject({ name: "b" });
    expect(await a.send("192.168.7.2", 80, 4_001)).toMatchObject({ name: "neighbour", caller: "10.77.1.2" });
    await rig.attachments.reconcile([
      { taskId: "a", address: "10.77.1.2", networks: ["front"] },
      { taskId: "b", address: "10.77.1.3", networks: ["back"] },
    ]);
    await expect(a.send("10.77.1.3", 80, 4_000)).rejects.toMatchObject(lost);
    await expect(a.call("10.77.1.3", 80)).rejects.toMatchObject(refused);
    expect(await a.send("192.168.7.2", 80, 4_001)).toMatchObject({ caller: nodeAddress });
    expect(await b.received()).toHaveLength(1);
  });
});
