/** What every `Directory` must do. */
import type { X509Certificate } from "node:crypto";
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";
import type { Identity, Role } from "../identity.ts";
import type { Directory } from "../server/peer.ts";

type Chain = readonly X509Certificate[];

export interface DirectoryUnderTest {
  readonly directory: Directory;
  /** A certificate of one that is in the cluster. */
  readonly member: (name: string, role: Role) => Promise<Chain>;
  /** One of another cluster's authority, for the same name. */
  readonly stranger: (name: string, role: Role) => Promise<Chain>;
  /** Takes a node or user out of the cluster. */
  readonly remove: (name: string) => Promise<void>;
}

function identified(directory: Directory, chain: Chain): Identity {
  const found = directory.identify(chain);
  assert(!("refused" in found), `it is known, not ${"refused" in found ? found.message : ""}`);
  return found;
}

function isRefused(directory: Directory, chain: Chain, what: string): void {
  const found = directory.identify(chain);
  assert("refused" in found, `${what} is refused`);
  assert(found.refused !== "" && found.message !== "", "for programs and for people");
}

export const directoryContract: readonly ContractCase<DirectoryUnderTest>[] = [
  {
    title: "knows who is in the cluster by its certificate: a worker is its node, nobody else is one",
    async run({ directory, member }) {
      const worker = identified(directory, await member("w1", "worker"));
      assert(
        worker.name === "w1" && worker.nodeId === "w1" && worker.roles.join() === "worker",
        "a worker is its node",
      );
      const user = identified(directory, await member("ann", "client"));
      assert(user.name === "ann" && user.nodeId === undefined && user.roles.join() === "client", "a user is none");
      const manager = identified(directory, await member("m1", "manager"));
      assert(manager.roles.join() === "manager", "a manager is one");
    },
  },
  {
    title: "refuses who shows no certificate, and one of another authority",
    async run({ directory, stranger }) {
      isRefused(directory, [], "no certificate");
      isRefused(directory, await stranger("w1", "worker"), "a stranger");
    },
  },
  {
    title: "refuses who was removed, at the next question, its forwarded identity too",
    async run({ directory, member, remove }) {
      const chain = await member("w2", "worker");
      const identity = identified(directory, chain);
      assert(directory.confirm(identity) === undefined, "it is in the cluster");
      await remove("w2");
      isRefused(directory, chain, "who was removed");
      assert(directory.confirm(identity) !== undefined, "nor is it forwarded for");
    },
  },
];
