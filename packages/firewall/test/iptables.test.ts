import { expect, test } from "vitest";
import { iptablesRestore, parseSave } from "../src/iptables.ts";

test("iptables-restore replaces our chains and jumps, and leaves other programs' alone", () => {
  const save = [
    "*filter",
    ":FORWARD ACCEPT [0:0]",
    "-A FORWARD -j WARREN-LB-OLD",
    "-A FORWARD -j DOCKER",
    "COMMIT",
    "*nat",
    ":PREROUTING ACCEPT [0:0]",
    ":WARREN-LB-A - [0:0]",
    ":WARREN-LB-GONE - [0:0]",
    ":WARREN-NET-A - [0:0]",
    "-A PREROUTING -j WARREN-LB-A",
    "-A WARREN-LB-A -j WARREN-LB-GONE",
    "COMMIT",
    "",
  ].join("\n");
  const rules = {
    filter: [],
    nat: [
      { name: "A", hooks: ["PREROUTING", "OUTPUT"], rules: ["-g @B"] },
      { name: "B", rules: [] },
    ],
  } as const;
  expect(iptablesRestore("lb", rules, save).split("\n")).toEqual([
    "*filter",
    "-D FORWARD -j WARREN-LB-OLD",
    "COMMIT",
    "*nat",
    ":WARREN-LB-A - [0:0]",
    ":WARREN-LB-B - [0:0]",
    ":WARREN-LB-GONE - [0:0]",
    "-I OUTPUT -j WARREN-LB-A",
    "-A WARREN-LB-A -g WARREN-LB-B",
    "-X WARREN-LB-GONE",
    "COMMIT",
    "",
  ]);
  expect(parseSave(save, "net").nat.chains).toEqual(["WARREN-NET-A"]);
});

test("where nothing is to add or remove, the kernel creates no table", () => {
  expect(iptablesRestore("lb", { filter: [], nat: [] }, "")).toBe("");
});
