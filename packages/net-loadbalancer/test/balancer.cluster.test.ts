import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LoadBalancer, type BalancedService } from "@warren/net-loadbalancer";
import { runProgram, startFirewall, type Firewall, type FirewallBackend, type Run } from "@warren/firewall";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { parseSockets } from "../src/host-ports.ts";
import { FakeClock, RecordingLogger, until } from "@warren/std/testing";

const vip = "10.96.0.10";
const nodeAddress = "192.168.7.1";

/** Runs the real programs, in the host's namespace. */
function runIn(host: LabHost): Run {
  return (program, args, input) => runProgram("nsenter", [`--net=${host.path}`, program, ...args], input);
}

/** A node with a client outside; tasks are routed as net-attachment does it. */
class Rig implements AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabHost;
  readonly client: LabHost;
  readonly firewall: Firewall;
  readonly balancer: LoadBalancer;
  readonly log: RecordingLogger;

  private constructor(lab: Lab, node: LabHost, client: LabHost, firewall: Firewall, log: RecordingLogger) {
    this.lab = lab;
    this.node = node;
    this.client = client;
    this.firewall = firewall;
    this.log = log;
    const hostPorts = async () => parseSockets((await node.run("cat", ["/proc/net/tcp"])).stdout, "tcp");
    this.balancer = new LoadBalancer({ firewall, flows: node.netlink, log, hostPorts }, { nodeSubnet: "10.77.1.0/24" });
  }

  static async open(backend: FirewallBackend, { wired = true } = {}): Promise<Rig> {
    const lab = await Lab.open();
    const node = await lab.host("node");
    const client = await lab.host("client");
    await node.netlink.writeSysctls({ "net/ipv4/ip_forward": "1" });
    if (wired) {
      await lab.wire(node, `${nodeAddress}/24`, client, "192.168.7.2/24");
      await node.netlink.putRoute({ destination: "0.0.0.0/0", gateway: "192.168.7.2" });
      await client.netlink.putRoute({ destination: "10.96.0.0/16", gateway: nodeAddress });
    }
    const log = new RecordingLogger();
    const firewall = await startFirewall({ events: node.netlink, run: runIn(node), log }, { backend });
    return new Rig(lab, node, client, firewall, log);
  }

  async task(name: string, address: string, port = 80): Promise<LabHost> {
    const task = await this.lab.host(name);
    await this.node.netlink.createVeth({ name, peerName: "eth0", peerNetns: task.path });
    await this.node.netlink.writeSysctls({ [`net/ipv4/conf/${name}/route_localnet`]: "1" });
    await this.node.netlink.addAddress(name, "169.254.1.1/32");
    await this.node.netlink.changeLink(name, { up: true });
    await this.node.netlink.putRoute({ destination: address, link: name });
    await task.netlink.addAddress("eth0", `${address}/32`);
    await task.netlink.changeLink("eth0", { up: true });
    await task.netlink.putRoute({ destination: "169.254.1.1", link: "eth0" });
    await task.netlink.putRoute({ destination: "0.0.0.0/0", gateway: "169.254.1.1", link: "eth0" });
    await task.serve(name, port);
    return task;
  }

  async rules(): Promise<string> {
    const { stdout } = await this.node.run(
      this.firewall.backend === "nft" ? "nft" : "iptables-save",
      this.firewall.backend === "nft" ? ["list", "ruleset"] : [],
    );
    return stdout
      .replaceAll(/^#.*\n/gm, "")
      .replaceAll(/\n*\tchain mark_\w+ \{\n\t\}/g, "")
      .replaceAll(/\[\d+:\d+\]/g, "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.firewall.close();
    await this.lab[Symbol.asyncDispose]();
  }
}

async function tally(calls: number, call: () => Promise<{ readonly name: string }>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < calls; i++) {
    const { name } = await call();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function web(backends: BalancedService["backends"], more: Partial<BalancedService> = {}): BalancedService {
  return { id: "web", vip, backends, ...more };
}

describe.each(["nft", "iptables"] as const)("by %s", (backend) => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await Rig.open(backend);
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  test("new connections to a VIP go to tasks in proportion to their weights, with the caller's address kept", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.task("b", "10.77.1.3");
    await rig.balancer.set([web([{ address: "10.77.1.2", weight: 3 }, { address: "10.77.1.3" }])]);
    expect(await caller.call(vip, 80)).toMatchObject({ caller: "10.77.1.9" });
    const counts = await tally(200, () => caller.call(vip, 80));
    // 150 ± 5 standard deviations of a binomial draw.
    expect(counts["a"]).toBeGreaterThan(119);
    expect(counts["a"]).toBeLessThan(181);
    expect(counts["a"]! + counts["b"]!).toBe(200);
  });

  test("a draining task keeps its open connections and its UDP flows, and gets no new ones", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.task("b", "10.77.1.3");
    await rig.balancer.set([web([{ address: "10.77.1.2" }])]);
    const connection = await caller.connect(vip, 80);
    expect(await caller.send(vip, 80, 4_000)).toMatchObject({ name: "a" });
    await rig.balancer.set([web([{ address: "10.77.1.2", weight: 0 }, { address: "10.77.1.3" }])]);
    expect(await tally(20, () => caller.call(vip, 80))).toEqual({ b: 20 });
    expect(await connection.ask()).toBe("a");
    expect(await caller.send(vip, 80, 4_000)).toMatchObject({ name: "a" });
    expect(await caller.send(vip, 80, 4_001)).toMatchObject({ name: "b" });
  });

  test("a UDP flow to a task that is gone is sent to another task", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.task("b", "10.77.1.3");
    const ports = [{ protocol: "udp", published: 9_000, target: 80, mode: "ingress" }] as const;
    await rig.balancer.set([web([{ address: "10.77.1.2" }], { ports })]);
    expect(await caller.send(vip, 80, 4_000)).toMatchObject({ name: "a" });
    expect(await rig.client.send(nodeAddress, 9_000, 4_000)).toMatchObject({ name: "a", caller: "192.168.7.2" });
    await rig.balancer.set([web([{ address: "10.77.1.3" }], { ports })]);
    expect(await caller.send(vip, 80, 4_000)).toMatchObject({ name: "b" });
    expect(await rig.client.send(nodeAddress, 9_000, 4_000)).toMatchObject({ name: "b" });
  });

  test("a task reaches itself through its VIP and through its published port", async () => {
    const a = await rig.task("a", "10.77.1.2");
    const ports = [{ protocol: "tcp", published: 8_080, target: 80, mode: "ingress" }] as const;
    await rig.balancer.set([web([{ address: "10.77.1.2" }], { ports })]);
    expect(await a.call(vip, 80)).toMatchObject({ name: "a" });
    expect(await a.call(nodeAddress, 8_080)).toMatchObject({ name: "a" });
  });

  test("a published port answers clients outside with their address kept, and the node on each of its addresses", async () => {
    await rig.task("a", "10.77.1.2", 8_000);
    const ports = [{ protocol: "tcp", published: 8_080, target: 8_000, mode: "ingress" }] as const;
    await rig.balancer.set([web([{ address: "10.77.1.2" }], { ports })]);
    expect(await rig.client.call(nodeAddress, 8_080)).toEqual({ name: "a", caller: "192.168.7.2" });
    expect(await rig.node.call(nodeAddress, 8_080)).toMatchObject({ name: "a" });
    expect(await rig.node.call("127.0.0.1", 8_080)).toMatchObject({ name: "a" });
    expect(await rig.node.call(vip, 8_000)).toMatchObject({ name: "a" });
  });

  test("a port that a program of the node listens on stays that program's, from outside and from the node", async () => {
    await rig.task("a", "10.77.1.2");
    await rig.node.serve("ssh", 22);
    const ports = [22, 8_080].map(
      (published) => ({ protocol: "tcp", published, target: 80, mode: "ingress" }) as const,
    );
    await rig.balancer.set([web([{ address: "10.77.1.2" }], { ports })]);
    expect(await rig.client.call(nodeAddress, 22)).toMatchObject({ name: "ssh" });
    expect(await rig.node.call("127.0.0.1", 22)).toMatchObject({ name: "ssh" });
    expect(await rig.client.call(nodeAddress, 8_080)).toMatchObject({ name: "a" });
    expect(rig.balancer.withheld).toMatchObject([{ published: 22, reason: "in use" }]);
  });

  test("on a node without an uplink a published port answers on loopback, and a task reaches itself", async () => {
    await using alone = await Rig.open(backend, { wired: false });
    const a = await alone.task("a", "10.77.1.2");
    const ports = [{ protocol: "tcp", published: 8_080, target: 80, mode: "ingress" }] as const;
    await alone.balancer.set([web([{ address: "10.77.1.2" }], { ports })]);
    expect(await alone.node.call("127.0.0.1", 8_080)).toEqual({ name: "a", caller: "169.254.1.1" });
    expect(await a.call(vip, 80)).toEqual({ name: "a", caller: "169.254.1.1" });
  });

  test("a task on another node is reached from outside with the node's address, which it can answer", async () => {
    const elsewhere = await rig.lab.host("elsewhere");
    await rig.lab.wire(rig.node, "10.77.1.1/32", elsewhere, "10.77.2.2/32");
    await rig.node.netlink.putRoute({ destination: "10.77.2.0/24", link: "lab1a", source: "10.77.1.1" });
    await elsewhere.netlink.putRoute({ destination: "10.77.1.1", link: "lab1b" });
    await elsewhere.netlink.putRoute({ destination: "10.77.1.0/24", gateway: "10.77.1.1" });
    await elsewhere.serve("elsewhere", 80);
    const caller = await rig.task("caller", "10.77.1.9");
    const port = { protocol: "tcp", published: 8_080, target: 80, mode: "ingress" } as const;
    await rig.balancer.set([
      web([{ address: "10.77.2.2" }], { ports: [port, { ...port, published: 8_081, mode: "host" }] }),
    ]);
    expect(await rig.client.call(nodeAddress, 8_080)).toEqual({ name: "elsewhere", caller: "10.77.1.1" });
    expect(await rig.node.call(vip, 80)).toMatchObject({ name: "elsewhere" });
    expect(await caller.call(vip, 80)).toEqual({ name: "elsewhere", caller: "10.77.1.9" });
    await expect(rig.client.call(nodeAddress, 8_081)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("an idle VIP, an unused VIP and an idle published port are refused at once", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    const ports = [{ protocol: "tcp", published: 8_080, target: 80, mode: "ingress" }] as const;
    await rig.balancer.set([web([{ address: "10.77.1.2", weight: 0 }], { ports })]);
    await expect(caller.call(vip, 80)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(caller.call("10.96.3.3", 80)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(rig.node.call(vip, 80)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(rig.client.call(nodeAddress, 8_080)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("rules that other programs flush, edit or delete are restored, and other programs' rules are left alone", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.balancer.set([web([{ address: "10.77.1.2" }])]);
    const ours = await rig.rules();
    const nft = (rules: string): Promise<unknown> => rig.node.run("nft", ["-f", "-"], rules);
    const attacks: Record<string, () => Promise<unknown>> =
      backend === "nft"
        ? {
            "flush ruleset": () => nft("flush ruleset"),
            "delete table": () => nft("delete table ip warren_lb"),
            "flush chain": () => nft("flush chain ip warren_lb balance"),
            "add rule": () => nft("add rule ip warren_lb balance drop"),
          }
        : {
            "iptables -F": () => rig.node.run("iptables", ["-t", "nat", "-F"]),
            "delete a jump": () =>
              rig.node.run("iptables", ["-t", "nat", "-D", "PREROUTING", "-j", "WARREN-LB-BALANCE"]),
            "add a rule": () => rig.node.run("iptables", ["-t", "nat", "-A", "WARREN-LB-BALANCE", "-j", "ACCEPT"]),
          };
    for (const [what, attack] of Object.entries(attacks)) {
      const before = rig.log.records.length;
      await attack();
      await until(`the rules are back after ${what}`, () =>
        rig.log.records.slice(before).some(({ event }) => event.startsWith("restored rules")),
      );
      expect(await rig.rules(), what).toBe(ours);
      expect(await caller.call(vip, 80)).toMatchObject({ name: "a" });
    }
    const count = rig.log.records.length;
    const theirs =
      backend === "nft"
        ? "table ip theirs {\n\tchain x {\n\t\tcounter\n\t}\n}\n"
        : "-A FORWARD -s 10.200.0.1/32 -j DROP";
    if (backend === "nft") await nft(theirs);
    else await rig.node.run("iptables", theirs.split(" "));
    await rig.balancer.set([web([{ address: "10.77.1.2", weight: 2 }])]);
    expect(await rig.rules()).toContain(backend === "nft" ? "table ip theirs" : theirs);
    await rig.balancer.remove();
    const left = await rig.rules();
    expect(left).toContain(backend === "nft" ? "table ip theirs" : theirs);
    expect(left.toLowerCase()).not.toContain("warren");
    expect(rig.log.records.slice(count).filter(({ level }) => level !== "info")).toEqual([]);
  });

  test("the same services applied again leave the same rules and every connection", async () => {
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.balancer.set([web([{ address: "10.77.1.2" }])]);
    const rules = await rig.rules();
    const connection = await caller.connect(vip, 80);
    await Promise.all(Array.from({ length: 20 }, () => rig.balancer.set([web([{ address: "10.77.1.2" }])])));
    expect(await rig.rules()).toBe(rules);
    expect(await connection.ask()).toBe("a");
  });

  test("1,000 services of three tasks are applied within two seconds", async () => {
    const services = Array.from({ length: 1_000 }, (_, i): BalancedService => ({
      id: `s${i}`,
      vip: `10.96.${4 + (i >> 8)}.${i & 255}`,
      backends: [1, 2, 3].map((j) => ({ address: `10.77.${1 + (i % 200)}.${j}` })),
      ports: [{ protocol: "tcp", published: 20_000 + i, target: 80, mode: "ingress" }],
    }));
    await rig.balancer.set(services);
    const started = performance.now();
    await rig.balancer.set(services.toReversed());
    expect(performance.now() - started).toBeLessThan(2_000);
    const caller = await rig.task("caller", "10.77.1.9");
    await rig.task("a", "10.77.1.2");
    await rig.balancer.set([...services, web([{ address: "10.77.1.2" }])]);
    expect(await caller.call(vip, 80)).toMatchObject({ name: "a" });
    expect(rig.log.records.filter(({ level }) => level !== "info")).toEqual([]);
  });
});

test("where the kernel does not notify of a flush, as with iptables-legacy, the rules are restored within the resync period", async () => {
  await using lab = await Lab.open();
  const node = await lab.host("node");
  const clock = new FakeClock();
  const legacy: Run = (program, args, input) => node.run(program.replace("iptables", "iptables-legacy"), args, input);
  await using firewall = await startFirewall({ events: node.netlink, run: legacy, clock }, { backend: "iptables" });
  const balancer = new LoadBalancer({ firewall, flows: node.netlink }, { nodeSubnet: "10.77.1.0/24" });
  await balancer.set([web([{ address: "10.77.1.2" }])]);
  const rules = async (): Promise<string> => (await node.run("iptables-legacy-save", ["-t", "nat"])).stdout;
  expect(await rules()).toContain("--to-destination 10.77.1.2");
  await node.run("iptables-legacy", ["-t", "nat", "-F"]);
  expect(await rules()).not.toContain("--to-destination");
  clock.advance(10_000);
  await until("the rules are back", async () => (await rules()).includes("--to-destination 10.77.1.2"));
});
