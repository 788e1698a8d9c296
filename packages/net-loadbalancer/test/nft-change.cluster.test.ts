import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LoadBalancer, type BalancedService, type ServiceBackend } from "@warren/net-loadbalancer";
import { runProgram, startFirewall, type Firewall, type Run } from "@warren/firewall";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { RecordingLogger, seededRandom, until } from "@warren/std/testing";

/** A node whose inputs to nft are kept, and how long each took. */
class Node implements AsyncDisposable {
  readonly host: LabHost;
  readonly log = new RecordingLogger();
  readonly inputs: string[] = [];
  readonly firewall: Firewall;
  readonly balancer: LoadBalancer;

  private constructor(host: LabHost, inputs: string[], firewall: Firewall) {
    this.host = host;
    this.inputs = inputs;
    this.firewall = firewall;
    this.balancer = new LoadBalancer({ firewall, flows: host.netlink }, { nodeSubnet: "10.77.1.0/24" });
  }

  static async open(host: LabHost): Promise<Node> {
    const inputs: string[] = [];
    const run: Run = (program, args, input) => {
      if (args[0] === "-f" && input !== undefined) inputs.push(input);
      return runProgram("nsenter", [`--net=${host.path}`, program, ...args], input);
    };
    return new Node(host, inputs, await startFirewall({ events: host.netlink, run }, { backend: "nft" }));
  }

  /** Whether the last transaction was a change and not the whole table. */
  get changed(): boolean {
    return !(this.inputs.at(-1) ?? "").includes("delete table");
  }

  /** Its table in an order that does not depend on its history. */
  async table(): Promise<readonly string[]> {
    const { stdout } = await this.host.run("nft", ["list", "table", "ip", "warren_lb"]);
    const blocks = stdout.replaceAll(/chain mark_\w+/g, "chain mark").match(/^\t\w+ \S+ \{[\s\S]*?^\t\}/gm) ?? [];
    return blocks
      .map((block) =>
        block.replace(/elements = \{([^}]*)\}/, (_, list: string) =>
          list
            .split(",")
            .map((element) => element.trim())
            .toSorted()
            .join(", "),
        ),
      )
      .toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.firewall.close();
  }
}

function service(i: number, backends: readonly ServiceBackend[]): BalancedService {
  const ports = [{ protocol: "tcp", published: 20_000 + i, target: 80, mode: "ingress" }] as const;
  return { id: `s${i}`, vip: `10.96.${4 + (i >> 8)}.${i & 255}`, backends, ports };
}

const threeTasks = (i: number): ServiceBackend[] => [1, 2, 3].map((j) => ({ address: `10.77.${1 + (i % 200)}.${j}` }));

let lab: Lab;
let hosts: LabHost[];
beforeAll(async () => {
  lab = await Lab.open();
  hosts = [await lab.host("changed"), await lab.host("whole"), await lab.host("large")];
});
afterAll(() => lab[Symbol.asyncDispose]());

test("a table that was changed a hundred times equals the table of the last snapshot applied whole", async () => {
  const random = seededRandom(20_260_101);
  await using node = await Node.open(hosts[0] as LabHost);
  const services = new Map(Array.from({ length: 40 }, (_, i) => [i, service(i, threeTasks(i))]));
  await node.balancer.set([...services.values()]);
  let changes = 0;
  const check = async (): Promise<void> => {
    const before = hosts[1] as LabHost;
    await before.run("nft", ["flush", "ruleset"]);
    await using whole = await Node.open(before);
    await whole.balancer.set([...services.values()]);
    expect(whole.changed).toBe(false);
    expect(await node.table()).toEqual(await whole.table());
  };
  for (let step = 0; step < 100; step += 1) {
    for (let part = 0; part <= random.int(3); part += 1) {
      const i = random.int(60);
      // Gone, idle, moved to another VIP and port, or other tasks with other weights, some of them on this node.
      const kind = random.int(5);
      if (kind === 0) services.delete(i);
      else if (kind === 1) services.set(i, service(i, []));
      else if (kind === 2 && services.has(i)) {
        const j = 100 + random.int(100);
        services.set(i, { ...service(j, threeTasks(j)), id: `s${i}`, vip: `10.96.${4 + i}.200` });
      } else {
        const backends = Array.from({ length: 1 + random.int(4) }, (_, k) => ({
          address: `10.77.${1 + random.int(2)}.${1 + k + 8 * random.int(20)}`,
          weight: random.int(3),
        }));
        services.set(i, service(i, backends));
      }
    }
    const ports = [...services.values()].map(({ ports: [port] = [] }) => port?.published);
    if (new Set(ports).size !== ports.length) continue;
    await node.balancer.set([...services.values()]);
    if (node.changed) changes += 1;
    if (step % 20 === 19) await check();
  }
  await check();
  expect(changes).toBeGreaterThan(50);
});

describe("with 1,000 services", () => {
  const services = Array.from({ length: 1_000 }, (_, i) => service(i, threeTasks(i)));
  const withTask = (n: number): BalancedService[] =>
    services.with(500, service(500, [{ address: `10.77.250.${n}` }, ...threeTasks(500).slice(1)]));

  test("a task's address changes in a few lines, in a small part of the time of the whole table", async () => {
    await using node = await Node.open(hosts[2] as LabHost);
    const took = async (set: readonly BalancedService[]): Promise<number> => {
      const begin = performance.now();
      await node.balancer.set(set);
      return performance.now() - begin;
    };
    const wholeMs = await took(services);
    const changesMs: number[] = [];
    for (let n = 1; n <= 9; n += 1) changesMs.push(await took(withTask(n)));
    expect(node.inputs).toHaveLength(10);
    for (const input of node.inputs.slice(1)) expect(input.split("\n").length).toBeLessThan(10);
    // On an idle machine it is a fifteenth; the bound leaves room for a busy one.
    expect(Math.min(...changesMs)).toBeLessThan(wholeMs / 3);
  });

  test("a change restores the whole table where other programs flushed, edited or replaced it meanwhile", async () => {
    await using node = await Node.open(hosts[2] as LabHost);
    await node.balancer.set(withTask(1));
    const good = await node.table();
    const meddle: string[][] = [
      ["flush", "ruleset"],
      ["add", "rule", "ip", "warren_lb", "refuse", "counter"],
      ["flush", "map", "ip", "warren_lb", "vips"],
      ["flush", "chain", "ip", "warren_lb", "balance"],
    ];
    for (const [n, words] of meddle.entries()) {
      expect((await node.host.run("nft", words)).code).toBe(0);
      await node.balancer.set(withTask(n + 2));
      await node.balancer.set(withTask(1));
      await until("it is whole", async () => JSON.stringify(await node.table()) === JSON.stringify(good));
    }
  });
});
