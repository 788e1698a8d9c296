/** What is not as it should be on a node, in words, with what mends it. Pure. */
import type { Condition } from "@warren/agent";
import type { ForeignFirewall } from "@warren/firewall";
import type { BlockedPath, PathName } from "@warren/net-attachment";
import type { WithheldPort } from "@warren/net-loadbalancer";
import type { RuntimeInfo } from "@warren/runtime";
import { knownRuntimeFaults } from "@warren/runtime-containerd";

/** The holes that are known of the machine's OCI runtime. */
export function runtimeConditions(info: Pick<RuntimeInfo, "ociRuntime">): Condition[] {
  return knownRuntimeFaults(info).map(({ id, what, remedy }) => ({
    code: "RUNTIME_FAULT",
    subject: id,
    message: `${info.ociRuntime}: ${what}`,
    remedy,
  }));
}

/** @param serviceNames by id */
export function portConditions(
  withheld: readonly WithheldPort[],
  serviceNames: ReadonlyMap<string, string>,
): Condition[] {
  return withheld.map(({ serviceId, protocol, published, reason }) => {
    const name = serviceNames.get(serviceId) ?? serviceId;
    const port = `${published}/${protocol}`;
    const list = `ss -ln${protocol === "tcp" ? "t" : "u"}p 'sport = :${published}'`;
    return {
      ...(reason !== "reserved" && { command: list }),
      code: reason === "reserved" ? "PORT_RESERVED" : "PORT_IN_USE",
      subject: port,
      serviceIds: [serviceId],
      message: `port ${port} of service ${name} is not published: ${
        reason === "reserved" ? "it is one of Warren's own" : "a program of the node listens on it"
      }`,
      remedy:
        reason === "reserved"
          ? `publish another: warren service update ${name} --publish`
          : `end the program, then: warren service update ${name} --force; or publish another port`,
    };
  });
}

/** What a blocked path means for tasks and their callers. */
const blockedPaths: Readonly<Record<PathName, { readonly code: string; readonly lost: string }>> = {
  names: { code: "FIREWALL_NAMES", lost: "tasks resolve no names: packets from them to the node's name server" },
  services: { code: "FIREWALL_SERVICES", lost: "tasks reach no service by its address: packets between tasks" },
  tasks: { code: "FIREWALL_TASKS", lost: "tasks do not reach each other's own addresses: packets between tasks" },
  published: { code: "FIREWALL_PUBLISHED", lost: "published ports do not answer: packets from outside to tasks" },
};

/** What rules of other programs keep from tasks, each with the commands that cure it. */
export function firewallConditions(
  blocked: readonly BlockedPath[],
  firewall: ForeignFirewall | undefined,
  { taskPool, gateway }: { readonly taskPool: string; readonly gateway: string },
): Condition[] {
  return blocked.map(({ path, how }) => {
    const { code, lost } = blockedPaths[path];
    const by = firewall === undefined ? "rules of another program" : `the rules of ${firewall}`;
    const commands = cures[firewall ?? "other"];
    const remedy = path === "names" ? commands.names(taskPool, gateway) : commands.forward(taskPool);
    return {
      code,
      everyTask: true,
      message: `${lost} are ${how} by ${by}`,
      remedy,
      ...(firewall !== undefined && { command: remedy }),
    };
  });
}

interface Cure {
  readonly names: (pool: string, gateway: string) => string;
  readonly forward: (pool: string) => string;
}

/** As tried with ufw 0.36 and firewalld 1.3. */
const cures: Readonly<Record<ForeignFirewall | "other", Cure>> = {
  ufw: {
    names: (pool, gateway) => `ufw allow from ${pool} to ${gateway} port 53`,
    forward: (pool) => `ufw route allow from ${pool} && ufw route allow to ${pool}`,
  },
  firewalld: {
    names: (pool, gateway) =>
      `firewall-cmd --permanent --add-rich-rule='rule family=ipv4 source address=${pool} destination address=${gateway} service name=dns accept' && firewall-cmd --reload`,
    forward: (pool) =>
      [
        "firewall-cmd --permanent --new-policy=warren",
        "firewall-cmd --permanent --policy=warren --add-ingress-zone=ANY --add-egress-zone=ANY",
        ...["source", "destination"].map(
          (end) =>
            `firewall-cmd --permanent --policy=warren --add-rich-rule='rule family=ipv4 ${end} address=${pool} accept'`,
        ),
        "firewall-cmd --reload",
      ].join(" && "),
  },
  other: {
    names: (pool, gateway) =>
      `accept them: iptables -I INPUT -s ${pool} -d ${gateway} -p udp --dport 53 -j ACCEPT, the same with -p tcp, or what your rules are made with`,
    forward: (pool) =>
      `accept them: iptables -I FORWARD -s ${pool} -j ACCEPT; iptables -I FORWARD -d ${pool} -j ACCEPT, or what your rules are made with`,
  },
};
