import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { hostname } from "node:os";
import type { Client, Resolved, Resolver } from "./types.ts";

/** What is loopback on every machine, and no name of one. */
const everywhere = /^(?:localhost|ip6-localhost|ip6-loopback|.*\.localhost|localhost\..*)$/;

/**
 * Names that a machine has for itself: its hostname, and what its `/etc/hosts` has on loopback addresses (Debian's
 * `127.0.1.1`). In lower case. Pure.
 */
export function namesOfNode(hostname: string, hosts: string): Set<string> {
  const lines = hosts.split("\n").map((line) => line.replace(/#.*/, "").trim().split(/\s+/));
  const onLoopback = lines
    .filter(([address = ""]) => address === "::1" || (isIPv4(address) && address.startsWith("127.")))
    .flatMap(([, ...names]) => names);
  const names = [hostname, ...onLoopback].map((name) => name.toLowerCase().replace(/\.$/, ""));
  return new Set(names.filter((name) => name !== "" && !everywhere.test(name)));
}

/** The names that this machine has for itself, as they are now. */
export async function namesOfMachine(): Promise<Set<string>> {
  return namesOfNode(hostname(), await readFile("/etc/hosts", "utf8").catch(() => ""));
}

/**
 * Answers for the node's own names with addresses that its tasks reach it at. Upstream, the node's resolver says loopback
 * of them, which within a container is the container. Names that `names` has go first.
 */
export class NodeNames implements Resolver {
  readonly #names: Resolver;
  readonly #own: ReadonlySet<string>;
  readonly #addresses: () => readonly string[];

  /** @param addresses of the node, asked for at each question */
  constructor(names: Resolver, own: ReadonlySet<string>, addresses: () => readonly string[]) {
    this.#names = names;
    this.#own = own;
    this.#addresses = addresses;
  }

  resolve(name: string, client: Client): Resolved {
    return this.#names.resolve(name, client) ?? (this.#own.has(name) ? this.#addresses() : undefined);
  }

  reverse(address: string, client: Client): string | undefined {
    return this.#names.reverse?.(address, client);
  }
}
