import { describe, expect, test } from "vitest";
import { nftTable, type NftObject } from "@warren/firewall";
import { nftChange } from "../src/nft-change.ts";

const table: readonly NftObject[] = [
  { chain: "a", rules: ["accept"] },
  { chain: "b", rules: ["counter", "accept"] },
  { map: "where", type: "ipv4_addr : verdict", elements: ["10.0.0.1 : goto a", "10.0.0.2 : goto b"] },
  { map: "some", type: "ipv4_addr", elements: [] },
  { chain: "in", hook: "type filter hook input priority 0", rules: ["ip daddr vmap @where"] },
];
const change = (...after: readonly NftObject[]): string[] | undefined => nftChange("ip t", table, after);
const [a, b, where, some, input] = table as [NftObject, NftObject, NftObject, NftObject, NftObject];

test("a table is written as nft reads it, empty lists left out", () => {
  expect(nftTable([where, some, input])).toBe(
    `\tmap where {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 10.0.0.1 : goto a, 10.0.0.2 : goto b }\n\t}
\tset some {\n\t\ttype ipv4_addr\n\t}
\tchain in {\n\t\ttype filter hook input priority 0\n\t\tip daddr vmap @where\n\t}\n`,
  );
});

describe("the transaction from one table to another", () => {
  test("is empty when they are the same", () => {
    expect(change(...table)).toEqual([]);
  });

  test("replaces the rules of the chain that differs", () => {
    expect(change(a, { chain: "b", rules: ["drop"] }, where, some, input)).toEqual([
      "flush chain ip t b",
      "add rule ip t b drop",
    ]);
  });

  test("names no object before it exists, and removes none while it is named", () => {
    const moved: NftObject = {
      map: "where",
      type: "ipv4_addr : verdict",
      elements: ["10.0.0.1 : goto a", "10.0.0.2 : goto c", "10.0.0.3 : goto a"],
    };
    const full: NftObject = { map: "some", type: "ipv4_addr", elements: ["10.0.0.9"] };
    expect(change(a, { chain: "c", rules: ["accept"] }, moved, full, input)).toEqual([
      "add chain ip t c",
      "delete element ip t where { 10.0.0.2 : goto b }",
      "add rule ip t c accept",
      "add element ip t where { 10.0.0.2 : goto c, 10.0.0.3 : goto a }",
      "add element ip t some { 10.0.0.9 }",
      "flush chain ip t b",
      "delete chain ip t b",
    ]);
  });

  test.each<[string, NftObject[]]>([
    ["a hook differs", [a, b, where, some, { chain: "in", hook: "type filter hook input priority 1", rules: [] }]],
    ["a type differs", [a, b, where, { map: "some", type: "ipv4_addr : verdict", elements: [] }, input]],
    ["a chain becomes a set", [a, b, where, { chain: "some", rules: [] }, input]],
    ["a set is new", [...table, { map: "new", type: "ipv4_addr", elements: [] }]],
    ["a hooked chain is new", [...table, { chain: "out", hook: "type filter hook output priority 0", rules: [] }]],
    ["a set goes", [a, b, where, input]],
    ["a hooked chain goes", [a, b, where, some]],
  ])("replaces the whole table when %s", (_, after) => {
    expect(change(...after)).toBeUndefined();
  });

  test("replaces the whole table when much differs", () => {
    const many = (rule: string): NftObject[] =>
      Array.from({ length: 40 }, (_, i) => ({ chain: `c${i}`, rules: [i < 12 ? rule : "accept"] }));
    expect(nftChange("ip t", many("accept"), many("drop"))).toBeUndefined();
    expect(nftChange("ip t", many("accept").slice(3), many("accept"))).toHaveLength(6);
  });
});
