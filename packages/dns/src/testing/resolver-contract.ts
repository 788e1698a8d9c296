/** What every `Resolver` must do. */
import { isIP } from "node:net";
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";
import type { Client, Resolver } from "../types.ts";

export interface ResolverUnderTest {
  readonly resolver: Resolver;
  /** One that may see `names`. */
  readonly client: Client;
  /** Names of the cluster that lead to one address or more for the client. */
  readonly names: readonly string[];
  /** Names of the cluster that do not exist for the client, of which there may be none. */
  readonly hidden: readonly string[];
}

/** What a client may ask for and no cluster has, some of it with a meaning in JavaScript. */
const foreign = "example.org a.b.c.d.example - a..b tasks. .web * xn--bcher-kva.example constructor __proto__ tostring"
  .split(" ")
  .concat("", "x".repeat(63), `${"y".repeat(60)}.`.repeat(4));

export const resolverContract: readonly ContractCase<ResolverUnderTest>[] = [
  {
    title: "leads the cluster's names to addresses, the same ones at each question",
    async run({ resolver, client, names }) {
      for (const name of names) {
        const found = resolver.resolve(name, client);
        assert(Array.isArray(found) && found.length > 0, `${name} leads to addresses, not ${String(found)}`);
        for (const address of found) assert(isIP(address) !== 0, `${address} is an address`);
        const again = resolver.resolve(name, { ...client });
        assert(Array.isArray(again) && again.join() === found.join(), `${name} leads to the same again`);
      }
    },
  },
  {
    title: "has nothing to say of other names, whatever they are, so that they are asked upstream",
    async run({ resolver, client }) {
      for (const name of foreign)
        assert(resolver.resolve(name, client) === undefined, `"${name}" is no name of the cluster`);
    },
  },
  {
    title: "denies a name that the client may not see, which must not be asked upstream",
    async run({ resolver, client, hidden }) {
      for (const name of hidden) assert(resolver.resolve(name, client) === "NXDOMAIN", `${name} does not exist`);
    },
  },
  {
    title: "names addresses by names that lead back to them, and no others",
    async run({ resolver, client, names }) {
      for (const name of names) {
        const found = resolver.resolve(name, client);
        for (const address of Array.isArray(found) ? (found as readonly string[]) : []) {
          const reverse = resolver.reverse?.(address, client);
          if (reverse === undefined) continue;
          assert(!reverse.endsWith(".") && reverse === reverse.toLowerCase(), `${reverse} is as a name is asked for`);
          const back = resolver.resolve(reverse, client);
          assert(Array.isArray(back) && back.includes(address), `${reverse} leads back to ${address}`);
        }
      }
      for (const address of ["203.0.113.77", "2001:db8::77", "", "constructor", "__proto__"])
        assert(resolver.reverse?.(address, client) === undefined, `"${address}" is nobody's`);
    },
  },
];
