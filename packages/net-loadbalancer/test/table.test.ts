import { describe, expect, test } from "vitest";
import type { BalancedService } from "@warren/net-loadbalancer";
import { nftTable } from "@warren/firewall";
import { staleFlows } from "../src/flows.ts";
import { checkServices, resolveOptions, subnet } from "../src/options.ts";
import { balancerTable } from "../src/table.ts";

const options = resolveOptions({ nodeSubnet: "10.77.1.0/24" });
const web: BalancedService = {
  id: "web",
  vip: "10.96.0.10",
  backends: [{ address: "10.77.1.2", weight: 3 }, { address: "10.77.2.2" }, { address: "10.77.1.9", weight: 0 }],
  ports: [
    { protocol: "tcp", published: 8_080, target: 80, mode: "ingress" },
    { protocol: "udp", published: 53, target: 5_353, mode: "host" },
  ],
};

describe("rules for nft", () => {
  const rules = nftTable(balancerTable([web], options).nft());

  test("give each task its range of the numbers, and a draining one none", () => {
    expect(rules).toContain("dnat to numgen random mod 4 map { 0-2 : 10.77.1.2, 3 : 10.77.2.2 }\n");
    expect(rules).toContain(
      "meta l4proto tcp dnat to numgen random mod 4 map { 0-2 : 10.77.1.2, 3 : 10.77.2.2 } : 80\n",
    );
    expect(rules).not.toContain("10.77.1.9 ");
  });

  test("send a host port only to this node's tasks, and hide only tasks of this node that call themselves", () => {
    expect(rules).toContain("meta l4proto udp dnat to 10.77.1.2 : 5353\n");
    expect(rules).toContain("elements = { 10.77.1.2 . 10.77.1.2 }");
  });

  test("are the same whatever the order of tasks", () => {
    const reversed = balancerTable([{ ...web, backends: web.backends.toReversed() }], options);
    expect(nftTable(reversed.nft())).toBe(rules);
  });

  test("list a published port without a task as idle", () => {
    const idle = nftTable(balancerTable([{ ...web, backends: [] }], options).nft());
    expect(idle).toContain("elements = { tcp . 8080, udp . 53 }");
    expect(idle).not.toContain("dnat to");
  });
});

describe("rules for iptables", () => {
  const { nat, filter } = balancerTable([web], options).iptables();

  test("give each task its share of what the rules before it left", () => {
    const chain = nat.find(({ rules }) => rules.length === 2 && rules[1] === "-j DNAT --to-destination 10.77.2.2");
    expect(chain?.rules[0]).toBe(
      "-m statistic --mode random --probability 0.7500000000 -j DNAT --to-destination 10.77.1.2",
    );
  });

  test("refuse an idle published port", () => {
    expect(filter.find(({ name }) => name === "IDLE")?.rules).toEqual([]);
    const idle = balancerTable([{ ...web, backends: [] }], options).iptables();
    expect(idle.filter.find(({ name }) => name === "IDLE")?.rules).toHaveLength(2);
  });
});

describe("stale UDP flows", () => {
  const dns: BalancedService = { id: "dns", vip: "10.96.0.9", backends: [{ address: "10.77.1.2" }] };
  const entrance = { protocol: 17, destination: "10.96.0.9" };

  test.each<[string, BalancedService[] | undefined, BalancedService[], object[]]>([
    [
      "a first set ends flows that no task of the service answers",
      undefined,
      [dns],
      [{ ...entrance, exceptAnsweredBy: ["10.77.1.2"] }],
    ],
    ["nothing changed", [dns], [dns], []],
    ["a task more", [dns], [{ ...dns, backends: [...dns.backends, { address: "10.77.1.3" }] }], []],
    ["a drained task", [dns], [{ ...dns, backends: [{ address: "10.77.1.2", weight: 0 }] }], []],
    [
      "a task gone",
      [dns],
      [{ ...dns, backends: [{ address: "10.77.1.3" }] }],
      [{ ...entrance, exceptAnsweredBy: ["10.77.1.3"] }],
    ],
    ["a first task", [{ ...dns, backends: [] }], [dns], [{ ...entrance, exceptAnsweredBy: ["10.77.1.2"] }]],
    ["a service gone", [dns], [], [entrance]],
    [
      "a port published",
      [dns],
      [{ ...dns, ports: [{ protocol: "udp", published: 53, target: 53, mode: "ingress" }] }],
      [
        { ...entrance, exceptAnsweredBy: ["10.77.1.2"] },
        { protocol: 17, destinationPort: 53, toLocal: true, exceptAnsweredBy: ["10.77.1.2"] },
      ],
    ],
  ])("%s", (_, before, after, filters) => {
    expect(staleFlows(before, after)).toEqual(filters);
  });
});

describe("what is refused", () => {
  const port = { protocol: "tcp", published: 80, target: 80, mode: "ingress" } as const;
  test.each<[string, Partial<BalancedService>[]]>([
    ["services[0].id", [{ id: "a b" }]],
    ["services[1].id", [{}, {}]],
    ["services[0].vip", [{ vip: "10.95.0.1" }]],
    ["services[1].vip", [{}, { id: "other" }]],
    ["services[0].backends[0].address", [{ backends: [{ address: "fd00::1" }] }]],
    ["services[0].backends[0].weight", [{ backends: [{ address: "10.77.1.2", weight: 0.5 }] }]],
    ["services[0].backends[0].weight", [{ backends: [{ address: "10.77.1.2", weight: -1 }] }]],
    ["services[0].ports[0].published", [{ ports: [{ ...port, published: 0 }] }]],
    ["services[0].ports[0].target", [{ ports: [{ ...port, target: 65_536 }] }]],
    ["services[0].ports[1].published", [{ ports: [port, port] }]],
  ])("%s", (field, parts) => {
    const services = parts.map((part): BalancedService => ({ id: "web", vip: "10.96.0.10", backends: [], ...part }));
    expect(() => checkServices(services, options)).toThrow(
      expect.objectContaining({ failure: { code: "LB_INVALID", field } }),
    );
  });

  test.each(["nodeSubnet", "taskPool", "vipPool", "gateway"])("option %s", (field) => {
    expect(() => resolveOptions({ nodeSubnet: "10.77.1.0/24", [field]: "x" })).toThrow(
      expect.objectContaining({ failure: { code: "LB_INVALID", field } }),
    );
  });
});

test.each([
  ["10.77.1.0/24", "10.77.1.255", true],
  ["10.77.1.0/24", "10.77.2.0", false],
  ["10.77.1.9/24", "10.77.1.0", true],
  ["10.96.0.0/16", "10.97.0.1", false],
  ["0.0.0.0/0", "255.255.255.255", true],
  ["192.0.2.1/32", "192.0.2.1", true],
  ["192.0.2.1/32", "192.0.2.2", false],
  ["128.0.0.0/1", "127.255.255.255", false],
  ["128.0.0.0/1", "255.0.0.1", true],
])("%s holds %s: %s", (text, address, within) => {
  expect(subnet(text)(address)).toBe(within);
});
