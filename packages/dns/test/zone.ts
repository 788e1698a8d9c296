import type { Resolved, Resolver } from "@warren/dns";

/** Names and addresses as they are given, for every client. */
export function zoneResolver(
  names: Readonly<Record<string, Resolved>>,
  addresses: Readonly<Record<string, string>> = {},
): Resolver {
  const [forward, reverse] = [new Map(Object.entries(names)), new Map(Object.entries(addresses))];
  return { resolve: (name) => forward.get(name), reverse: (address) => reverse.get(address) };
}
