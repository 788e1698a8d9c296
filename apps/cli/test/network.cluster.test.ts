/** A node's network as tasks and callers meet it: the node is a host of a lab, with a cable to another. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Task } from "@warren/api";
import { slotKeyText } from "@warren/api/model";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";
import { keepAsking } from "./caller.ts";
import { Machine, type MachineOptions } from "./machine.ts";

const nodeAddress = "192.168.7.1";
const outsideAddress = "192.168.7.2";

/** A machine whose network is a lab's host, and the host at the other end of its cable. */
class Site implements AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabHost;
  readonly outside: LabHost;
  readonly machine: Machine;
  /** In containerd already: the node's loopback is not the registry's. */
  readonly image: string;

  private constructor(lab: Lab, node: LabHost, outside: LabHost, machine: Machine, image: string) {
    this.lab = lab;
    this.node = node;
    this.outside = outside;
    this.machine = machine;
    this.image = image;
  }

  static async open(options: MachineOptions = {}): Promise<Site> {
    const lab = await Lab.open();
    const node = await lab.host("node");
    const outside = await lab.host("outside");
    await node.netlink.writeSysctls({ "net/ipv4/ip_forward": "0" });
    await lab.wire(node, `${nodeAddress}/24`, outside, `${outsideAddress}/24`);
    await node.netlink.putRoute({ destination: "0.0.0.0/0", gateway: outsideAddress });
    const machine = await Machine.start({ ...options, netns: node.path });
    const serve = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www";
    const config = { Cmd: ["sh", "-c", serve], StopSignal: "SIGKILL" };
    const image = await machine.push("network/web:1", { config });
    await using runtime = await machine.bed.open();
    await runtime.pull(image);
    return new Site(lab, node, outside, machine, image);
  }

  create(name: string, ...flags: string[]): Promise<string> {
    // A task that runs is enough here: what the monitor waits for is tested elsewhere.
    return this.machine.ok("service", "create", name, "--image", this.image, "--update-monitor", "0", ...flags);
  }

  /** What a shell in a task writes, whatever its exit code. */
  async inTask(task: string, script: string): Promise<string> {
    return (await this.machine.warren("task", "exec", task, "--", "sh", "-c", script)).stdout;
  }

  /** From outside: the body of `/`, or what went wrong. */
  async get(port: number, address: string = nodeAddress): Promise<string> {
    const wget = ["timeout", "2", "wget", "-qO-", `http://${address}:${port}/`];
    const { stdout, stderr } = await this.outside.run("busybox", wget);
    return stdout || stderr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}

const addressOf = (task: Task | undefined): string => task?.status?.container?.address ?? "";

/** Echoes datagrams to port 9000 of a task, from within its network. */
async function echo(task: Task | undefined): Promise<ChildProcess> {
  const text = `const s = require("node:dgram").createSocket("udp4");
s.on("message", (data, { address, port }) => s.send("task " + address + " " + data, port, address));
s.bind(9000, () => console.log("ready"));`;
  const netns = `--net=/proc/${task?.status?.container?.pid}/ns/net`;
  const child = spawn("nsenter", [netns, process.execPath, "-e", text], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}

/** A name server that knows 203.0.113.9 under every name there is. */
const answersEverything = `const s = require("node:dgram").createSocket("udp4");
s.on("message", (asked, { address, port }) => {
  const end = asked.indexOf(0, 12) + 5;
  const isA = asked.readUInt16BE(end - 4) === 1;
  const head = Buffer.from([asked[0], asked[1], 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9]);
  s.send(Buffer.concat([head, asked.subarray(12, end), ...(isA ? [answer] : [])]), port, address);
});
s.bind(53, () => console.log("ready"));`;

describe("with nft", () => {
  let site: Site;
  beforeAll(async () => {
    site = await Site.open();
    await site.create("web", "--replicas", "3", "-p", "8080:80", "--network", "default,alias=www,alias=site");
    await site.create("client");
  }, 120_000);
  afterAll(() => site?.[Symbol.asyncDispose](), 120_000);

  test("a container reaches the outside with the node's address, and nobody outside reaches into it", async () => {
    await site.outside.serve("outside", 7_000);
    const said = await site.inTask("client.1", `echo hi | timeout 2 nc ${outsideAddress} 7000`);
    expect(said).toContain(`outside ${nodeAddress} hi`);
    await site.outside.netlink.putRoute({ destination: "10.77.0.0/16", gateway: nodeAddress });
    const [client] = await site.machine.running("client");
    await expect(site.outside.call(addressOf(client), 80)).rejects.toThrow();
  });

  test("a service answers by name, alias and slot, and its tasks by tasks.NAME", async () => {
    const { endpoint } = await site.machine.client.services.get({ ref: "web" });
    const tasks = await site.machine.running("web");
    const addresses = async (name: string): Promise<string[]> => {
      const answer = await site.inTask("client.1", `nslookup -type=a ${name}`);
      return [...answer.matchAll(/^Address:\s+(10\.\S+)$/gm)].map(([, address]) => address ?? "").toSorted();
    };
    for (const name of ["web", "web.warren", "www", "site"])
      expect(await addresses(name), name).toEqual([endpoint?.vip]);
    expect(await addresses("tasks.web")).toEqual(tasks.map(addressOf).toSorted());
    for (const task of tasks) expect(await addresses(`${slotKeyText(task.slot)}.web`)).toEqual([addressOf(task)]);
    expect(await addresses("4.web")).toEqual([]);
    for (const host of ["web", "www", "2.web", "tasks.web"])
      expect(await site.inTask("client.1", `timeout 2 wget -qO- http://${host}/`), host).toMatch(/^\w+\n$/);
  });

  test("the node's own name leads to the node", async () => {
    const answer = await site.inTask("client.1", `nslookup -type=a ${hostname()}`);
    expect([...answer.matchAll(/^Address:\s+([\d.]+)$/gm)].map(([, address]) => address)).toEqual([nodeAddress]);
  });

  test("given name servers and domains say where other names are asked, and no answer from there hides a service", async () => {
    const answering = spawn("nsenter", [`--net=${site.outside.path}`, process.execPath, "-e", answersEverything], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(answering.stdout, "data");
      await site.create("asks", "--dns", outsideAddress, "--dns-search", "wild.test", "--dns-option", "ndots:3");
      const lookUp = (name: string): Promise<string> => site.inTask("asks.1", `nslookup -type=a ${name}`);
      expect(await lookUp("elsewhere.example")).toContain("203.0.113.9");
      expect(await site.inTask("client.1", "nslookup -type=a elsewhere.example")).not.toContain("203.0.113.9");
      for (const host of ["web", "web.warren", "2.web", "tasks.web"])
        expect(await site.inTask("asks.1", `timeout 2 wget -qO- http://${host}/`), host).toMatch(/^\w+\n$/);
    } finally {
      answering.kill();
      await once(answering, "close");
    }
  });

  test("what another program's rules keep from tasks is said of the node and by why, and that they are gone", async () => {
    const { machine, node } = site;
    const conditions = async (): Promise<string> => machine.ok("node", "list");
    await until("all is well", async () => !(await conditions()).includes("FIREWALL"), 20_000);
    const chain = "type filter hook input priority filter + 10";
    const rules = `table inet others {\nchain input {\n${chain}\niifname "wr*" udp dport 53 reject\n}\n}\n`;
    expect(await node.run("nft", ["-f", "-"], rules)).toMatchObject({ code: 0, stderr: "" });
    await until("it is said of the node", async () => (await conditions()).includes("FIREWALL_NAMES"), 20_000);
    expect(
      await machine.ok("node", "inspect", "-o", "json", (await machine.ok("node", "list", "-o", "name")).trim()),
    ).toContain("tasks resolve no names");
    const why = await machine.ok("why", "web");
    expect(why).toContain("tasks resolve no names");
    expect(why).toContain("iptables -I INPUT -s 10.77.0.0/16 -d 169.254.1.1 -p udp --dport 53 -j ACCEPT");
    await node.run("nft", ["delete", "table", "inet", "others"]);
    await until("it is over", async () => !(await conditions()).includes("FIREWALL"), 20_000);
    expect(await machine.ok("why", "web")).not.toContain("resolve no names");
  });

  test("a port that the node listens on is not published, and why says so and what frees it", async () => {
    const { machine, node } = site;
    await node.serve("host", 8_099);
    await site.create("taken", "-p", "8099:80");
    expect(await machine.ok("node", "list")).toContain("PORT_IN_USE 8099/tcp");
    const why = await machine.ok("why", "taken");
    expect(why).toContain("port 8099/tcp of service taken is not published: a program of the node listens on it");
    expect(why).toContain("ss -lntp 'sport = :8099'");
    expect(await machine.ok("why", "web")).not.toContain("8099");
    await machine.ok("service", "delete", "taken");
    await until("it is over", async () => !(await machine.ok("node", "list")).includes("PORT_IN_USE"), 20_000);
  });

  test("a published port answers outside and on loopback, from every task", async () => {
    const seen = new Set<string>();
    await until("all three answer outside", async () => seen.add(await site.get(8_080)).size === 3, 20_000);
    expect([...seen].every((text) => /^\w+\n$/.test(text))).toBe(true);
    const local = await site.node.run("busybox", ["timeout", "2", "wget", "-qO-", "http://127.0.0.1:8080/"]);
    expect(seen).toContain(local.stdout);
  });

  test("a published UDP port reaches a task with the caller's address, and another when that one goes", async () => {
    await site.create("echo", "-p", "9000:9000/udp", "--restart-delay", "100ms");
    const [first] = await site.machine.running("echo");
    const one = await echo(first);
    expect(await site.outside.send(nodeAddress, 9_000, 4_000)).toEqual({ name: "task", caller: outsideAddress });
    process.kill(first?.status?.container?.pid ?? 0, "SIGKILL");
    one.kill();
    const second = await until(
      "another runs",
      async () => (await site.machine.running("echo")).find(({ meta }) => meta?.id !== first?.meta?.id),
      20_000,
    );
    const two = await echo(second);
    expect(await site.outside.send(nodeAddress, 9_000, 4_000)).toEqual({ name: "task", caller: outsideAddress });
    two.kill();
    await site.machine.ok("service", "delete", "echo");
  });

  test("a host port leads to the node's own task, and a second task can't have it", async () => {
    await site.create("hosted", "-p", "mode=host,published=8088,target=80");
    expect(await site.get(8_088)).toMatch(/^\w+\n$/);
    const [task] = await site.machine.running("hosted");
    expect(slotKeyText(task?.slot)).toBe("1");
    await site.machine.ok("service", "scale", "hosted=2", "--detach");
    await until(
      "the second says why it waits",
      async () => (await site.machine.ok("why", "hosted")).includes("8088"),
      20_000,
    );
    await site.machine.ok("service", "delete", "hosted");
    expect(await site.get(8_088)).toContain("refused");
  });

  test("rules that somebody flushes are put back while requests go on, and theirs are left alone", async () => {
    const theirs = "table ip theirs {\n\tchain x {\n\t\tcounter packets 0 bytes 0\n\t}\n}\n";
    const caller = keepAsking(async () => {
      const answer = await site.get(8_080);
      if (!/^\w+\n$/.test(answer)) throw new Error(answer);
      return answer;
    });
    for (let flushes = 1; flushes <= 5; flushes++) {
      await until("requests are answered", () => caller.answers.length >= flushes * 5);
      expect((await site.node.run("nft", ["flush", "ruleset"])).code).toBe(0);
      const flushed = performance.now();
      await until("the rules are back", async () => {
        const { stdout } = await site.node.run("nft", ["list", "ruleset"]);
        return stdout.includes("table ip warren_lb") && stdout.includes("table ip warren_net");
      });
      const before = caller.answers.length;
      await until("requests are answered again", () => caller.answers.length > before + 1);
      // What comes between a flush and its mending finds nobody; that is short, also on a busy machine.
      expect(performance.now() - flushed).toBeLessThan(5_000);
    }
    await caller.stop();
    await site.node.run("nft", ["-f", "-"], theirs);
    await site.machine.ok("service", "scale", "web=1");
    await site.machine.ok("service", "scale", "web=3");
    await site.machine.killDaemon("worker");
    await site.machine.startDaemon("worker");
    await site.machine.nodeReady();
    expect((await site.node.run("nft", ["list", "table", "ip", "theirs"])).stdout).toContain("chain x");
  });

  test("when the cluster is left nothing of ours is in the node's network, and all of theirs", async () => {
    await site.machine.killDaemon("worker", "SIGTERM");
    await site.machine.killDaemon("manager", "SIGTERM");
    await site.machine.leave();
    const { stdout } = await site.node.run("nft", ["list", "ruleset"]);
    expect(stdout).toContain("table ip theirs");
    expect(stdout).not.toContain("warren");
    const links = (await site.node.netlink.links()).map(({ name }) => name);
    expect(links.toSorted()).toEqual(["lab0a", "lo"]);
    expect(await site.node.netlink.readSysctl("net/ipv4/ip_forward")).toBe("0");
    expect((await site.node.netlink.routes()).filter(({ kind }) => kind !== "unicast")).toEqual([]);
    expect(JSON.stringify(await site.node.netlink.addresses())).not.toContain("169.254.1.1");
  });
});

test("where nft does not work iptables does the same", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-no-nft-"));
  try {
    await writeFile(join(folder, "nft"), "#!/bin/sh\nexit 127\n", { mode: 0o755 });
    await using site = await Site.open({ workerEnv: { PATH: `${folder}:${process.env["PATH"]}` } });
    await site.create("web", "--replicas", "2", "-p", "8080:80");
    await site.create("client");
    expect((await site.node.run("nft", ["list", "tables"])).stdout).not.toContain("warren");
    expect((await site.node.run("iptables-save", ["-t", "nat"])).stdout).toContain("WARREN-LB");
    const seen = new Set<string>();
    await until("both answer outside", async () => seen.add(await site.get(8_080)).size === 2, 20_000);
    expect(seen).toContain(await site.inTask("client.1", "timeout 2 wget -qO- http://web/"));
    await site.outside.serve("outside", 7_000);
    const said = await site.inTask("client.1", `echo hi | timeout 2 nc ${outsideAddress} 7000`);
    expect(said).toContain(`outside ${nodeAddress} hi`);
    await site.node.run("iptables", ["-t", "nat", "-F"]);
    await until("they are put back", async () => /^\w+\n$/.test(await site.get(8_080)), 20_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});
