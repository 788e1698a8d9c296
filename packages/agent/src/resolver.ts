/** A container's `resolv.conf`, and the upstreams of its queries. Pure. */
import { BlockList, isIPv6 } from "node:net";
import type { DnsConfig } from "@warren/api";
import type { Dns } from "@warren/runtime";
import { specInvalid } from "./errors.ts";

export interface Resolver {
  /** The container's `resolv.conf`. */
  readonly dns: Dns;
  /**
   * Servers to which the node's name server forwards this task's queries for names outside the cluster; empty: the
   * node's.
   */
  readonly upstreams: readonly string[];
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/**
 * A task on a network always queries the node's name server, which forwards to the spec's servers. The cluster's domain
 * is searched before the spec's domains, so that their answers hide no name of the cluster. A task on no network
 * queries the spec's servers directly.
 *
 * @param own the node's name servers, and the domain of the names that they know
 * @throws AgentError `AGENT_SPEC_INVALID`
 */
export function resolverOf(
  asked: DnsConfig | undefined,
  networks: readonly string[],
  own: { readonly nameServers: readonly string[]; readonly domain: string },
): Resolver {
  const { servers = [], search = [], options = [] } = asked ?? {};
  if (networks.length === 0)
    return { dns: { servers: servers.length === 0 ? own.nameServers : servers, search, options }, upstreams: [] };
  const inside = servers.find((server) => loopback.check(server, isIPv6(server) ? "ipv6" : "ipv4"));
  if (inside !== undefined)
    throw specInvalid(
      "container.dns.servers",
      `${inside} is within the container, where the node's name server can't ask`,
    );
  const searched = search.filter((domain) => domain !== ".");
  return {
    dns: { servers: own.nameServers, search: searched.length === 0 ? search : [own.domain, ...searched], options },
    upstreams: servers,
  };
}
