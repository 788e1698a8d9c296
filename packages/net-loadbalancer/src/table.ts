import { createHash } from "node:crypto";
import type { Chain, IptablesRules, NftObject, RuleTable } from "@warren/firewall";
import { subnet } from "./options.ts";
import type { BalancedService, PublishedPort, ResolvedOptions, ServiceBackend } from "./types.ts";

/** The targets of a VIP or published port: the tasks that take new connections, each with its weight. */
interface Target {
  /** Name of the chain; letters and digits. */
  readonly chain: string;
  readonly backends: readonly Required<ServiceBackend>[];
}

/** The snapshot in the order and form that both backends render. */
interface Plan {
  readonly vips: readonly (Target & { readonly vip: string })[];
  readonly ports: readonly (Target & { readonly port: PublishedPort })[];
  /** This node's tasks that may call themselves through a VIP or published port. */
  readonly local: readonly string[];
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

function plan(services: readonly BalancedService[], options: ResolvedOptions): Plan {
  const here = subnet(options.nodeSubnet);
  const isHere = ({ address }: ServiceBackend): boolean => here(address);
  const vips = [];
  const ports = [];
  const local = new Set<string>();
  for (const service of services) {
    const backends = service.backends
      .map(({ address, weight = 1 }) => ({ address, weight }))
      .filter(({ weight }) => weight > 0)
      .sort((a, b) => (a.address < b.address ? -1 : 1));
    for (const { address } of backends.filter(isHere)) local.add(address);
    if (service.vip !== undefined) vips.push({ vip: service.vip, chain: `s${hash(service.id)}`, backends });
    for (const port of service.ports ?? []) {
      const chain = `p${hash(`${port.protocol}/${port.published}`)}`;
      ports.push({ port, chain, backends: port.mode === "host" ? backends.filter(isHere) : backends });
    }
  }
  return { vips, ports, local: [...local].sort() };
}

const open = ({ backends }: Target): boolean => backends.length > 0;

/** A random number below the sum of the weights, drawn for each new connection, selects the task by its range. */
function nftChoice(backends: readonly Required<ServiceBackend>[]): string {
  if (backends.length === 1) return (backends[0] as ServiceBackend).address;
  let next = 0;
  const ranges = backends.map(({ address, weight }) => {
    const first = next;
    next += weight;
    return `${weight === 1 ? first : `${first}-${next - 1}`} : ${address}`;
  });
  return `numgen random mod ${next} map { ${ranges.join(", ")} }`;
}

function nftRules({ vips, ports, local }: Plan, options: ResolvedOptions): NftObject[] {
  const { taskPool, nodeSubnet, vipPool, gateway } = options;
  const key = ({ port }: Plan["ports"][number]): string => `${port.protocol} . ${port.published}`;
  const portRule = (p: Plan["ports"][number]): string =>
    `meta l4proto ${p.port.protocol} dnat to ${nftChoice(p.backends)} : ${p.port.target}`;
  return [
    ...vips.filter(open).map((v) => ({ chain: v.chain, rules: [`dnat to ${nftChoice(v.backends)}`] })),
    ...ports.filter(open).map((p) => ({ chain: p.chain, rules: [portRule(p)] })),
    {
      map: "vips",
      type: "ipv4_addr : verdict",
      elements: vips.filter(open).map((v) => `${v.vip} : goto ${v.chain}`),
    },
    {
      map: "ports",
      type: "inet_proto . inet_service : verdict",
      elements: ports.filter(open).map((p) => `${key(p)} : goto ${p.chain}`),
    },
    {
      map: "idle_ports",
      type: "inet_proto . inet_service",
      elements: ports.filter((p) => !open(p)).map(key),
    },
    { map: "hairpin", type: "ipv4_addr . ipv4_addr", elements: local.map((address) => `${address} . ${address}`) },
    {
      chain: "balance",
      rules: ["ip daddr vmap @vips", `ip daddr != ${gateway} fib daddr type local meta l4proto . th dport vmap @ports`],
    },
    { chain: "prerouting", hook: "type nat hook prerouting priority dstnat - 5", rules: ["jump balance"] },
    { chain: "output", hook: "type nat hook output priority -105", rules: ["jump balance"] },
    {
      chain: "postrouting",
      hook: "type nat hook postrouting priority srcnat - 5",
      rules: [
        "ct status & dnat == 0 return",
        `ip saddr . ip daddr @hairpin snat to ${gateway}`,
        `ip daddr != ${taskPool} return`,
        `ip saddr 127.0.0.0/8 ip daddr ${nodeSubnet} snat to ${gateway}`,
        `ip daddr ${nodeSubnet} return`,
        "ip saddr 127.0.0.0/8 masquerade",
        `ct original ip daddr != ${vipPool} masquerade`,
        `ip saddr != ${taskPool} masquerade`,
      ],
    },
    { chain: "refuse", rules: ["meta l4proto tcp reject with tcp reset", "reject"] },
    {
      chain: "forward",
      hook: "type filter hook forward priority filter",
      rules: [`ip daddr ${vipPool} jump refuse`],
    },
    {
      chain: "output_refuse",
      hook: "type filter hook output priority filter",
      rules: [`ip daddr ${vipPool} jump refuse`],
    },
    {
      chain: "input",
      hook: "type filter hook input priority filter",
      rules: [`ip daddr != ${gateway} meta l4proto . th dport @idle_ports jump refuse`],
    },
  ];
}

/** As `nftChoice`, with one rule per task: each takes its share of what the rules before it left. */
function iptablesChoice(backends: readonly Required<ServiceBackend>[], before: string, after: string): string[] {
  let left = backends.reduce((sum, { weight }) => sum + weight, 0);
  return backends.map(({ address, weight }) => {
    const share = weight === left ? "" : `-m statistic --mode random --probability ${(weight / left).toFixed(10)} `;
    left -= weight;
    return `${before}${share}-j DNAT --to-destination ${address}${after}`;
  });
}

function iptablesRules({ vips, ports, local }: Plan, options: ResolvedOptions): IptablesRules {
  const { taskPool, nodeSubnet, vipPool, gateway } = options;
  const match = ({ port }: Plan["ports"][number]): string =>
    `-p ${port.protocol} -m ${port.protocol} --dport ${port.published}`;
  const toPool = `-m conntrack --ctstate DNAT -d ${taskPool}`;
  const nat: Chain[] = [
    ...vips.filter(open).map((v) => ({ name: v.chain, rules: iptablesChoice(v.backends, "", "") })),
    ...ports.filter(open).map((p) => ({
      name: p.chain,
      rules: iptablesChoice(p.backends, `-p ${p.port.protocol} `, `:${p.port.target}`),
    })),
    { name: "PORTS", rules: ports.filter(open).map((p) => `${match(p)} -g @${p.chain}`) },
    {
      name: "BALANCE",
      hooks: ["PREROUTING", "OUTPUT"],
      rules: [
        ...vips.filter(open).map((v) => `-d ${v.vip} -g @${v.chain}`),
        `! -d ${gateway} -m addrtype --dst-type LOCAL -j @PORTS`,
      ],
    },
    {
      name: "POSTROUTING",
      hooks: ["POSTROUTING"],
      rules: [
        ...local.map(
          (address) => `-s ${address} -d ${address} -m conntrack --ctstate DNAT -j SNAT --to-source ${gateway}`,
        ),
        `-d ${nodeSubnet} -s 127.0.0.0/8 -m conntrack --ctstate DNAT -j SNAT --to-source ${gateway}`,
        `-d ${nodeSubnet} -j RETURN`,
        `${toPool} -s 127.0.0.0/8 -j MASQUERADE`,
        `${toPool} -m conntrack ! --ctorigdst ${vipPool} -j MASQUERADE`,
        `${toPool} ! -s ${taskPool} -j MASQUERADE`,
      ],
    },
  ];
  const filter: Chain[] = [
    { name: "REFUSE", rules: ["-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT"] },
    { name: "VIPS", hooks: ["FORWARD", "OUTPUT"], rules: [`-d ${vipPool} -g @REFUSE`] },
    {
      name: "IDLE",
      hooks: ["INPUT"],
      rules: ports.filter((p) => !open(p)).map((p) => `! -d ${gateway} ${match(p)} -g @REFUSE`),
    },
  ];
  return { filter, nat };
}

/**
 * The balancer's rules for these services. Pure: equal snapshots give equal text.
 *
 * A packet to a VIP, or to a published port of one of the node's own addresses, has its destination translated to a task
 * that is drawn by weight; the rest of its connection follows by connection tracking. The source stays the caller's, except
 * where the answer would not come back: a task of this node that calls itself, or is called from loopback, sees its gateway
 * (masquerading would need an address of the node's own, and it may have none); a task of another node sees this node
 * where the caller is outside. Packets to a VIP or port without a task are refused at once.
 */
export function balancerTable(services: readonly BalancedService[], options: ResolvedOptions): RuleTable {
  const planned = plan(services, options);
  return { name: "lb", nft: () => nftRules(planned, options), iptables: () => iptablesRules(planned, options) };
}
