import { createHash } from "node:crypto";
import type { Chain, IptablesRules, NftObject, RuleTable } from "@warren/firewall";
import type { ResolvedOptions } from "./types.ts";

/** Names of tasks' interfaces begin with this; a hash of the task's id follows. */
export const interfacePrefix = "wr";

/** A task in the rules. */
export interface Member {
  readonly address: string;
  readonly networks: readonly string[];
}

/** Tasks that are on the same networks share a chain. */
interface Group {
  readonly key: string;
  readonly networks: readonly string[];
  readonly addresses: readonly string[];
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}

function groups(local: readonly Member[]): Group[] {
  const found = new Map<string, { networks: string[]; addresses: string[] }>();
  for (const member of local) {
    const networks = [...new Set(member.networks)].sort();
    const key = hash(networks.join(" "));
    const group = found.get(key) ?? { networks, addresses: [] };
    group.addresses.push(member.address);
    found.set(key, group);
  }
  return [...found]
    .map(([key, group]) => ({ key, networks: group.networks, addresses: group.addresses.sort() }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Addresses on each network that a local task is on, local and remote. */
function membership(members: readonly Member[]): Map<string, string[]> {
  const found = new Map<string, Set<string>>();
  for (const { address, networks } of members) {
    for (const network of networks) {
      const set = found.get(network) ?? new Set();
      found.set(network, set.add(address));
    }
  }
  return new Map([...found].map(([network, set]) => [network, [...set].sort()]));
}

interface Plan {
  readonly groups: readonly Group[];
  readonly members: ReadonlyMap<string, readonly string[]>;
  /** Links of the node between which it does not route for others. */
  readonly closedLinks: readonly string[];
}

function nftRules(plan: Plan, options: ResolvedOptions): NftObject[] {
  const { taskPool, vipPool, trusted, gateway } = options;
  const links = plan.closedLinks.map((link) => `"${link}"`).join(", ");
  const used = [...new Set(plan.groups.flatMap(({ networks }) => networks))].sort();
  const sets = used.map((network) => ({
    map: `n${hash(network)}`,
    type: "ipv4_addr",
    elements: plan.members.get(network) ?? [],
  }));
  const chains = plan.groups.flatMap(({ key, networks }) => {
    const accept = (side: string): string[] => networks.map((network) => `ip ${side} @n${hash(network)} accept`);
    const insiders = trusted.map((subnet) => `ip saddr ${subnet} accept`);
    const answers = trusted.map((subnet) => `ip daddr ${subnet} ct direction reply accept`);
    return [
      { chain: `from_${key}`, rules: [...accept("daddr"), ...answers, `ip daddr ${taskPool} goto refuse`] },
      { chain: `to_${key}`, rules: [...accept("saddr"), ...insiders, "goto refuse"] },
    ];
  });
  const map = (name: string): NftObject => ({
    map: name,
    type: "ipv4_addr : verdict",
    elements: plan.groups.flatMap(({ key, addresses }) => addresses.map((each) => `${each} : goto ${name}_${key}`)),
  });
  return [
    ...sets,
    { chain: "refuse", rules: ["reject with icmp type admin-prohibited"] },
    ...chains,
    map("from"),
    map("to"),
    {
      chain: "prerouting",
      hook: "type filter hook prerouting priority raw",
      rules: [
        'iifname "lo" return',
        `iifname != "${interfacePrefix}*" ip daddr ${gateway} drop`,
        ...[taskPool, ...trusted].map((subnet) => `ip saddr ${subnet} fib saddr . iif oif missing drop`),
        `iifname "${interfacePrefix}*" fib saddr . iif oif missing drop`,
        `ip saddr ${vipPool} drop`,
      ],
    },
    {
      chain: "forward",
      hook: "type filter hook forward priority filter - 5",
      rules: [
        `ct status & dnat != 0 ct original ip daddr != ${vipPool} accept`,
        ...(links === ""
          ? []
          : [`iifname { ${links} } oifname { ${links} } ip saddr != ${taskPool} ip daddr != ${taskPool} drop`]),
        `ip saddr != ${taskPool} ct direction reply ct state established,related accept`,
        "ip saddr vmap @from",
        "ip daddr vmap @to",
        `iifname "${interfacePrefix}*" goto refuse`,
      ],
    },
    {
      chain: "input",
      hook: "type filter hook input priority filter - 5",
      rules: [`iifname "${interfacePrefix}*" ip daddr 127.0.0.0/8 ct state != { established, related } drop`],
    },
    {
      chain: "postrouting",
      hook: "type nat hook postrouting priority srcnat",
      rules: [`ip saddr ${taskPool} ip daddr != ${taskPool} oifname != "${interfacePrefix}*" masquerade`],
    },
  ];
}

function iptablesRules(plan: Plan, options: ResolvedOptions): IptablesRules {
  const { taskPool, vipPool, trusted, gateway } = options;
  const chains = plan.groups.flatMap(({ key, networks }): Chain[] => {
    const peers = [...new Set(networks.flatMap((network) => plan.members.get(network) ?? []))].sort();
    return [
      {
        name: `F-${key}`,
        rules: [
          ...peers.map((peer) => `-d ${peer} -j RETURN`),
          ...trusted.map((subnet) => `-d ${subnet} -m conntrack --ctdir REPLY -j RETURN`),
          `-d ${taskPool} -g @REFUSE`,
        ],
      },
      {
        name: `T-${key}`,
        rules: [...[...peers, ...trusted].map((peer) => `-s ${peer} -j RETURN`), "-g @REFUSE"],
      },
    ];
  });
  const lead = (side: "s" | "d", chain: "F" | "T"): string[] =>
    plan.groups.flatMap(({ key, addresses }) => addresses.map((address) => `-${side} ${address} -g @${chain}-${key}`));
  return {
    raw: [
      {
        name: "PREROUTING",
        hooks: ["PREROUTING"],
        rules: [
          "-i lo -j RETURN",
          `! -i ${interfacePrefix}+ -d ${gateway} -j DROP`,
          ...[taskPool, ...trusted].map((subnet) => `-s ${subnet} -m rpfilter --invert -j DROP`),
          `-i ${interfacePrefix}+ -m rpfilter --invert -j DROP`,
          `-s ${vipPool} -j DROP`,
        ],
      },
    ],
    filter: [
      { name: "REFUSE", rules: ["-j REJECT --reject-with icmp-admin-prohibited"] },
      ...chains,
      {
        name: "CLOSED",
        rules: [
          ...["-s", "-d"].map((side) => `${side} ${taskPool} -j RETURN`),
          ...plan.closedLinks.map((link) => `-o ${link} -j DROP`),
        ],
      },
      {
        name: "FORWARD",
        hooks: ["FORWARD"],
        rules: [
          `-m conntrack --ctstate DNAT ! --ctorigdst ${vipPool} -j RETURN`,
          ...plan.closedLinks.map((link) => `-i ${link} -j @CLOSED`),
          `! -s ${taskPool} -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN`,
          ...lead("s", "F"),
          ...lead("d", "T"),
          `-i ${interfacePrefix}+ -g @REFUSE`,
        ],
      },
      {
        name: "INPUT",
        hooks: ["INPUT"],
        rules: [`-i ${interfacePrefix}+ -d 127.0.0.0/8 -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP`],
      },
    ],
    nat: [
      {
        name: "POSTROUTING",
        hooks: ["POSTROUTING"],
        rules: [`-s ${taskPool} ! -d ${taskPool} ! -o ${interfacePrefix}+ -j MASQUERADE`],
      },
    ],
  };
}

/**
 * Isolation between networks, as rules. Pure: equal members give equal rules.
 *
 * `local` are this node's tasks, `remote` those of other nodes that share a network with one, `closedLinks` the node's
 * links between which it does not route for others.
 *
 * - I1: a source address is accepted only on the interface that the route to it leads through (reverse-path filter). A
 *   source of the task pool on any other interface, and any other source on a task's interface, is dropped; the gateway's
 *   address answers on tasks' interfaces only; a VIP is never a source.
 * - I2: each packet between tasks is checked by the networks of both ends, whether or not it belongs to a tracked
 *   connection. So a connection that began while rules were missing, or before a task left a network, does not go on.
 *   Connection tracking decides only for packets from outside: replies pass, and what came through a published port.
 * - I3: a task's interface whose address is not in the rules reaches no task and nothing outside, so that a task has no
 *   network before its rules are in place.
 * - I4: `accept` ends only our own chain: other programs' rules may still refuse.
 */
export function isolationTable(
  local: readonly Member[],
  remote: readonly Member[],
  options: ResolvedOptions,
  closedLinks: readonly string[] = [],
): RuleTable {
  const plan = { groups: groups(local), members: membership([...local, ...remote]), closedLinks };
  return { name: "net", nft: () => nftRules(plan, options), iptables: () => iptablesRules(plan, options) };
}
