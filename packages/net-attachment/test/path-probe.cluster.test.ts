/** Rules of the firewalls that people have, and what they keep from tasks. */
import { join } from "node:path";
import { startFirewall, type Firewall } from "@warren/firewall";
import { LoadBalancer } from "@warren/net-loadbalancer";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PathProbe, startAttachments, type Attachments, type BlockedPath } from "@warren/net-attachment";

const network = { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" };
const gateway = "169.254.1.1";

/** A node of one process's life: what it attaches and probes. */
class Node implements AsyncDisposable {
  readonly host: LabHost;
  readonly firewall: Firewall;
  readonly attachments: Attachments;
  readonly probe: PathProbe;
  /** The outcome of each look, in order. */
  readonly looks: (readonly BlockedPath[])[];

  private constructor(
    host: LabHost,
    firewall: Firewall,
    attachments: Attachments,
    probe: PathProbe,
    looks: (readonly BlockedPath[])[],
  ) {
    this.host = host;
    this.firewall = firewall;
    this.attachments = attachments;
    this.probe = probe;
    this.looks = looks;
  }

  static async start(lab: Lab, host: LabHost): Promise<Node> {
    const { netlink, run } = host;
    const firewall = await startFirewall({ events: netlink, run });
    const { attachments } = await startAttachments(
      { netlink, firewall },
      { ...network, gateway, netnsDirectory: join(lab.folder, "tasks"), trusted: [PathProbe.outsideSubnet] },
      [],
    );
    const looks: (readonly BlockedPath[])[] = [];
    const folder = join(lab.folder, "probe");
    const probe = await PathProbe.start({ netlink, attachments }, { ...network, folder }, (blocked) =>
      looks.push(blocked),
    );
    const balancer = new LoadBalancer({ firewall, flows: netlink, hostPorts: async () => [] }, network);
    await balancer.set([{ id: "probe", vip: probe.vip, backends: [{ address: probe.address }] }]);
    probe.first();
    return new Node(host, firewall, attachments, probe, looks);
  }

  /** What is blocked at the end of the next look. */
  async next(): Promise<Record<string, string>> {
    const { length } = this.looks;
    const blocked = await until("the probe has looked", () => this.looks.length > length && this.looks.at(-1), 20_000);
    return Object.fromEntries(blocked.map(({ path, how }) => [path, how]));
  }

  async nft(rules: string): Promise<void> {
    const { code, stderr } = await this.host.run("nft", ["-f", "-"], rules);
    expect([code, stderr]).toEqual([0, ""]);
  }

  async iptables(...args: readonly string[]): Promise<void> {
    expect((await this.host.run("iptables", args)).code).toBe(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.probe.close();
    await this.firewall.close();
  }
}

/** As `ufw enable` leaves it with its defaults, as far as a packet of a task meets it. */
const ufw = `
table ip filter {
  chain ufw-user-input { }
  chain ufw-user-forward { }
  chain INPUT { type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state { established, related } accept
    jump ufw-user-input
  }
  chain FORWARD { type filter hook forward priority filter; policy drop;
    ct state { established, related } accept
    jump ufw-user-forward
  }
}`;

/** As firewalld 1.3 leaves it, with `eth0` in its default zone. */
const firewalld = `
table inet firewalld {
  chain filter_IN_public_allow { }
  chain filter_FWD_policies { }
  chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_IN_public_allow
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_FWD_policies
    oifname "eth0" accept
    reject with icmpx admin-prohibited
  }
}`;

describe("rules of other programs", () => {
  let lab: Lab;
  let node: Node;
  beforeEach(async () => {
    lab = await Lab.open();
    const host = await lab.host("node");
    await host.serve("names", 53);
    node = await Node.start(lab, host);
  });
  afterEach(async () => {
    await node[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  test("none keep nothing, and our own changes are no reason to look", async () => {
    expect(await node.next()).toEqual({});
    await node.attachments.attach({ taskId: "a", address: "10.77.1.2", networks: ["front"] });
    lab.adopt(join(lab.folder, "tasks/a"));
    // What is noticed of this comes after all that went before it.
    await node.nft("table ip others { }");
    expect(await node.next()).toEqual({});
    expect(node.looks).toHaveLength(2);
  });

  test("ufw's keep everything, are noticed when they come, and what cures it too", async () => {
    expect(await node.next()).toEqual({});
    await node.nft(ufw);
    expect(await node.next()).toEqual({
      names: "dropped",
      services: "dropped",
      tasks: "dropped",
      published: "dropped",
    });
    const pool = "10.77.0.0/16";
    await node.iptables(
      "-A",
      "ufw-user-input",
      "-s",
      pool,
      "-d",
      gateway,
      "-p",
      "udp",
      "--dport",
      "53",
      "-j",
      "ACCEPT",
    );
    await node.iptables("-A", "ufw-user-forward", "-s", pool, "-j", "ACCEPT");
    await node.iptables("-A", "ufw-user-forward", "-d", pool, "-j", "ACCEPT");
    expect(await until("all is back", async () => Object.keys(await node.next()).length === 0, 30_000)).toBe(true);
  });

  test("firewalld's keep the names, and tasks from each other's own addresses", async () => {
    expect(await node.next()).toEqual({});
    await node.nft(firewalld);
    expect(await node.next()).toEqual({ names: "refused", tasks: "refused" });
    await node.nft(
      `add rule inet firewalld filter_IN_public_allow ip saddr 10.77.0.0/16 ip daddr ${gateway} udp dport 53 accept`,
    );
    expect(await node.next()).toEqual({ tasks: "refused" });
    await node.nft("add rule inet firewalld filter_FWD_policies ip daddr 10.77.0.0/16 accept");
    expect(await node.next()).toEqual({});
  });

  test("what was there before the worker is noticed by its first look, by the next worker too", async () => {
    expect(await node.next()).toEqual({});
    await node[Symbol.asyncDispose]();
    await node.nft(firewalld);
    node = await Node.start(lab, node.host);
    expect(await node.next()).toEqual({ names: "refused", tasks: "refused" });
  });
});
