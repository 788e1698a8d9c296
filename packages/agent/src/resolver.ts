/** A container's name servers, and the upstreams of its questions. Pure. */
import { BlockList, isIPv6 } from "node:net";
import type { DnsConfig } from "@warren/api";
import type { Dns } from "@warren/runtime";
import { specInvalid } from "./errors.ts";

export interface Resolver {
  /** The container's `resolv.conf`. */
  readonly dns: Dns;
  /** Where the node's name server asks for this task what is no name of the cluster's; empty: where it asks for all. */
  readonly upstreams: readonly string[];
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/**
 * A task that is in a network asks the node's name server, whatever its spec says: given servers are where that one asks
 * next, and the cluster's own domain is searched before given ones, so that no answer from there hides a name of ours.
 * A task in no network asks the servers that its spec names.
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
