import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NamedService } from "@warren/dns";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";
import type { Settings } from "./name-server.ts";

const gateway = "169.254.1.1";
const program = fileURLToPath(new URL("name-server.ts", import.meta.url));

/** A name server in the namespace of a host. */
class NameServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  static async start(host: LabHost, settings: Settings): Promise<NameServer> {
    const args = [
      `--net=${host.path}`,
      process.execPath,
      "--conditions=warren-source",
      program,
      JSON.stringify(settings),
    ];
    const child = spawn("nsenter", args, { stdio: ["pipe", "pipe", "inherit"] });
    const server = new NameServer(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    await server.#lines.next();
    return server;
  }

  async update(services: readonly NamedService[]): Promise<void> {
    this.#child.stdin?.write(`${JSON.stringify(services)}\n`);
    await this.#lines.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.stdin?.end();
    await closed;
  }
}

const task = (slot: number, address: string, healthy = true) => ({ slot: String(slot), address, healthy });
const services: NamedService[] = [
  { name: "web", networks: ["front"], vip: "10.96.0.10", tasks: [task(1, "10.77.1.2"), task(2, "10.77.2.2")] },
  { name: "stack_db", networks: ["back"], vip: "10.96.0.11", tasks: [task(1, "10.77.1.3")] },
  {
    name: "many",
    networks: ["front"],
    vip: "10.96.0.12",
    tasks: Array.from({ length: 120 }, (_, i) => task(i + 1, `10.77.3.${i + 1}`)),
  },
];

let lab: Lab;
let node: LabHost;
let front: LabHost;
let back: LabHost;
let outer: NameServer;
let server: NameServer;
let resolvConf: string;

beforeAll(async () => {
  lab = await Lab.open();
  node = await lab.host("node");
  front = await lab.host("front");
  back = await lab.host("back");
  const outside = await lab.host("outside");
  await node.netlink.addAddress("lo", `${gateway}/32`);
  for (const [host, address] of [
    [front, "10.77.1.2"],
    [back, "10.77.1.3"],
  ] as const) {
    // As a task is attached: a /32 on each end, and the gateway by the link.
    const [near, far] = await lab.wire(node, `${gateway}/32`, host, `${address}/32`);
    await node.netlink.putRoute({ destination: address, link: near });
    await host.netlink.putRoute({ destination: gateway, link: far });
    await host.netlink.putRoute({ destination: "0.0.0.0/0", gateway, link: far });
  }
  await lab.wire(node, "192.168.7.1/24", outside, "192.168.7.2/24");
  resolvConf = join(lab.folder, "resolv.conf");
  await writeFile(join(lab.folder, "task.conf"), `nameserver ${gateway}\nsearch warren\noptions ndots:1\n`);
  await writeFile(resolvConf, "nameserver 192.168.7.2\n");
  // The name server of the outside is one of ours, too: to it, `intranet.lan` is a service.
  outer = await NameServer.start(outside, {
    options: {
      listen: [{ address: "192.168.7.2" }, { address: "192.168.7.2", port: 54 }],
      upstreams: [],
      domain: "lan",
    },
    services: [{ name: "intranet", networks: ["all"], vip: "192.0.2.80", tasks: [] }],
    clients: { "192.168.7.1": ["all"] },
  });
  server = await NameServer.start(node, {
    options: { upstreams: { resolvConf } },
    services,
    clients: { "10.77.1.2": ["front"], "10.77.1.3": ["back"] },
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await outer[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

/** Runs a program in the host with the resolv.conf of a task, as a container has it. */
async function inTask(host: LabHost, ...command: string[]): Promise<{ code: number; stdout: string }> {
  const script = `mount --bind '${join(lab.folder, "task.conf")}' /etc/resolv.conf && exec "$@"`;
  return host.run("unshare", ["--mount", "sh", "-c", script, "sh", ...command]);
}

async function addresses(host: LabHost, name: string): Promise<string[]> {
  const { stdout } = await inTask(host, "getent", "ahostsv4", name);
  return [...new Set(stdout.split("\n").flatMap((line) => line.split(" ")[0] || []))];
}

describe("from a task's namespace", () => {
  test.each([
    ["web", ["10.96.0.10"]],
    ["web.warren", ["10.96.0.10"]],
    ["WEB", ["10.96.0.10"]],
    ["1.web", ["10.77.1.2"]],
    ["2.web.warren", ["10.77.2.2"]],
    ["intranet.lan", ["192.0.2.80"]],
  ])("the C library finds %s", async (name, expected) => {
    expect(await addresses(front, name)).toEqual(expected);
  });

  test("the C library finds every task, more than a datagram holds", async () => {
    expect((await addresses(front, "tasks.web")).toSorted()).toEqual(["10.77.1.2", "10.77.2.2"]);
    expect(await addresses(front, "tasks.many")).toHaveLength(120);
  });

  test("busybox gets its reply from the gateway's address, and the name of an address", async () => {
    const { stdout } = await inTask(back, "busybox", "nslookup", "-type=a", "stack_db.warren", gateway);
    expect(stdout).toContain(`${gateway}:53`);
    expect(stdout).toMatch(/Name:\s*stack_db\.warren\s+Address: 10\.96\.0\.11/);
    expect((await inTask(back, "busybox", "nslookup", "10.77.1.3")).stdout).toContain("1.stack_db.warren");
  });

  test("a service of a network that the task is not on does not exist", async () => {
    expect(await addresses(front, "stack_db")).toEqual([]);
    expect(await addresses(back, "web")).toEqual([]);
    expect((await inTask(back, "getent", "hosts", "10.96.0.10")).code).not.toBe(0);
  });

  test("a replaced task is found by the next question", async () => {
    await server.update([
      { ...services[0], tasks: [task(1, "10.77.1.2", false), task(1, "10.77.1.9")] } as NamedService,
    ]);
    expect(await addresses(front, "1.web")).toEqual(["10.77.1.9"]);
    expect(await addresses(front, "tasks.web")).toEqual(["10.77.1.9"]);
    await server.update(services);
  });

  test("other names are asked of the node's upstreams, also after its resolv.conf has changed", async () => {
    const swap = async (text: string): Promise<void> => {
      await writeFile(`${resolvConf}.new`, text);
      await rename(`${resolvConf}.new`, resolvConf);
    };
    await swap("nameserver 192.168.7.77\n");
    await swap("nameserver 192.168.7.2\n");
    await until("the new one is asked", async () => (await addresses(front, "intranet.lan"))[0] === "192.0.2.80");
    expect((await inTask(front, "getent", "hosts", "nowhere.lan")).code).not.toBe(0);
  });
});
