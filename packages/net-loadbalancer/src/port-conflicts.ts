import type { BalancedService, PortUse, ResolvedOptions, WithheldPort } from "./types.ts";

/** The key of a published port, unique on a node. */
export function portKey(protocol: string, port: number): string {
  return `${port}/${protocol}`;
}

/**
 * Splits off the ports that the node needs itself: the services without them, and which ports they are. Pure.
 *
 * A port belongs to its first user: one in `published` stays published even if a program listens on it later. Programs
 * that listen on the gateway's address alone are no conflict, as its ports are never published.
 */
export function withholdPorts(
  services: readonly BalancedService[],
  inUse: readonly PortUse[],
  published: ReadonlySet<string>,
  { reserved, gateway }: Pick<ResolvedOptions, "reserved" | "gateway">,
): { readonly services: readonly BalancedService[]; readonly withheld: readonly WithheldPort[] } {
  const ours = new Set(reserved.map(({ protocol, port }) => portKey(protocol, port)));
  const taken = new Set(
    inUse.filter(({ address }) => address !== gateway).map(({ protocol, port }) => portKey(protocol, port)),
  );
  const withheld: WithheldPort[] = [];
  const kept = services.map((service) => {
    const { ports = [] } = service;
    const free = ports.filter((port) => {
      const key = portKey(port.protocol, port.published);
      const reason = ours.has(key) ? "reserved" : taken.has(key) && !published.has(key) ? "in use" : undefined;
      if (reason === undefined) return true;
      withheld.push({ serviceId: service.id, protocol: port.protocol, published: port.published, reason });
      return false;
    });
    return free.length === ports.length ? service : { ...service, ports: free };
  });
  return { services: kept, withheld };
}
