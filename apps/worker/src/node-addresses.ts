/** How tasks reach the node that they are on. */
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { hostname } from "node:os";
import { namesOfNode } from "@warren/dns";
import type { Netlink } from "@warren/netlink-napi";

/** The node, as each of its tasks has it; no port is published there. */
export const gateway = "169.254.1.1";

/** Of our own links, no address is the node's. */
const ownLinks = /^(?:lo|wr[0-9a-z]{13}|warren-probe)$/;

export interface NodeAddresses {
  /** IPv4, loopback and link-local ones apart; the gateway where there are none. */
  readonly current: readonly string[];
  close(): void;
}

/** Follows the node's addresses. */
export async function watchAddresses(netlink: Pick<Netlink, "links" | "addresses" | "watch">): Promise<NodeAddresses> {
  let current: readonly string[] = [gateway];
  const read = async (): Promise<void> => {
    const links = new Map((await netlink.links()).map(({ index, name }) => [index, name]));
    const found = (await netlink.addresses())
      .filter(({ linkIndex }) => !ownLinks.test(links.get(linkIndex) ?? "lo"))
      .map(({ address }) => address.split("/")[0] ?? "")
      .filter((address) => isIPv4(address) && !/^(?:127|169\.254)\./.test(address));
    current = found.length === 0 ? [gateway] : [...new Set(found)];
  };
  // The last that are known stay where they can't be read.
  const watch = netlink.watch(["address"], () => void read().catch(() => undefined));
  await read();
  return {
    get current() {
      return current;
    },
    close: () => watch.close(),
  };
}

/** The names that this machine has for itself, as they are now. */
export async function ownNames(): Promise<Set<string>> {
  return namesOfNode(hostname(), await readFile("/etc/hosts", "utf8").catch(() => ""));
}
