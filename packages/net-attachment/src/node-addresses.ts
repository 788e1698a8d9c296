/** How tasks reach the node that they are on. */
import { isIPv4 } from "node:net";
import type { Netlink } from "@warren/netlink-napi";
import type { Logger } from "@warren/std";
import { defaultGateway } from "./options.ts";

/** Of our own links, no address is the node's. */
const ownLinks = /^(?:lo|wr[0-9a-z]{13}|warren-probe)$/;

export interface NodeAddresses {
  /** IPv4, loopback and link-local ones apart; the gateway where there are none. */
  readonly current: readonly string[];
  close(): void;
}

/** Follows the node's addresses. Where they can't be read after a change, the last that are known stay, and it is logged. */
export async function watchAddresses({
  netlink,
  log,
}: {
  readonly netlink: Pick<Netlink, "links" | "addresses" | "watch">;
  readonly log: Logger;
}): Promise<NodeAddresses> {
  let current: readonly string[] = [defaultGateway];
  const read = async (): Promise<void> => {
    const links = new Map((await netlink.links()).map(({ index, name }) => [index, name]));
    const found = (await netlink.addresses())
      .filter(({ linkIndex }) => !ownLinks.test(links.get(linkIndex) ?? "lo"))
      .map(({ address }) => address.split("/")[0] ?? "")
      .filter((address) => isIPv4(address) && !/^(?:127|169\.254)\./.test(address));
    current = found.length === 0 ? [defaultGateway] : [...new Set(found)];
  };
  const watch = netlink.watch(["address"], () => {
    read().catch((error: unknown) => log.warn("the node's addresses could not be read", { error }));
  });
  await read();
  return {
    get current() {
      return current;
    },
    close: () => watch.close(),
  };
}
