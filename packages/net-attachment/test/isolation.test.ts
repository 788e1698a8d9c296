import { describe, expect, test } from "vitest";
import { nftTable } from "@warren/firewall";
import { isolationTable } from "../src/isolation.ts";
import { checkRequest, resolveOptions } from "../src/options.ts";
import { interfaceName } from "../src/interfaces.ts";

const options = resolveOptions({ netnsDirectory: "/run/x", nodeSubnet: "10.77.1.0/24", trusted: ["10.77.9.0/24"] });

describe("the rules", () => {
  const local = [
    { address: "10.77.1.2", networks: ["front"] },
    { address: "10.77.1.3", networks: ["back", "front"] },
    { address: "10.77.1.4", networks: ["front", "back", "back"] },
  ];
  const remote = [
    { address: "10.77.2.2", networks: ["front"] },
    { address: "10.77.2.3", networks: ["elsewhere"] },
  ];
  const table = isolationTable(local, remote, options);
  const text = nftTable(table.nft());

  test("are the same whatever the order of tasks and networks", () => {
    const shuffled = isolationTable(local.toReversed(), remote.toReversed(), options);
    expect(shuffled.nft()).toEqual(table.nft());
    expect(shuffled.iptables()).toEqual(table.iptables());
  });

  test("have one pair of chains for tasks on the same networks, and no network that no local task is on", () => {
    expect(text.match(/chain from_/g)).toHaveLength(2);
    expect(text.match(/set n/g)).toHaveLength(2);
    expect(text).not.toContain("10.77.2.3");
    expect(text).toContain("elements = { 10.77.1.2, 10.77.1.3, 10.77.1.4, 10.77.2.2 }");
    expect(table.iptables().filter.filter(({ name }) => name.startsWith("F-"))).toHaveLength(2);
  });

  test("of iptables accept a group's peers and refuse the rest of the pool", () => {
    const [front] = table.iptables().filter.filter(({ name, rules }) => name.startsWith("F-") && rules.length === 6);
    expect(front?.rules.at(-1)).toBe("-d 10.77.0.0/16 -g @REFUSE");
    expect(front?.rules[3]).toBe("-d 10.77.2.2 -j RETURN");
  });

  test("without tasks still close all tasks' interfaces", () => {
    const none = nftTable(isolationTable([], [], options).nft());
    expect(none).toContain(`iifname "wr*" goto refuse`);
    expect(none).not.toContain("elements");
  });

  test("drop packets between closed links that are neither from nor to a task", () => {
    const closed = isolationTable([], [], options, ["eth0", "eth1"]);
    const pool = "ip saddr != 10.77.0.0/16 ip daddr != 10.77.0.0/16";
    expect(nftTable(closed.nft())).toContain(`iifname { "eth0", "eth1" } oifname { "eth0", "eth1" } ${pool} drop`);
    expect(closed.iptables().filter.find(({ name }) => name === "CLOSED")?.rules).toHaveLength(4);
    expect(nftTable(isolationTable([], [], options).nft())).not.toContain(pool);
  });
});

test("an interface's name is unique to its task, stable, and within the kernel's length", () => {
  const names = Array.from({ length: 1_000 }, (_, i) => interfaceName(`task${i}`));
  expect(new Set(names).size).toBe(1_000);
  expect(names.every((name) => /^wr[0-9a-z]{13}$/.test(name))).toBe(true);
  expect(interfaceName("task7")).toBe(names[7]);
});

test.each([
  ["nodeSubnet", { nodeSubnet: "10.77.1.0" }],
  ["taskPool", { taskPool: "x" }],
  ["vipPool", { vipPool: "fd00::/8" }],
  ["gateway", { gateway: "169.254.1" }],
  ["mtu", { mtu: 100 }],
  ["trusted[1]", { trusted: ["10.0.0.0/8", "10.0.0.0/40"] }],
])("a wrong %s is named", (field, wrong) => {
  expect(() => resolveOptions({ netnsDirectory: "/run/x", nodeSubnet: "10.77.1.0/24", ...wrong })).toThrow(
    expect.objectContaining({ failure: { code: "ATTACHMENT_INVALID", field } }),
  );
});

test.each([
  ["address", { address: "10.77.2.1" }],
  ["address", { address: "fd00::1" }],
  ["taskId", { taskId: "../x" }],
  ["taskId", { taskId: "" }],
])("a request with a wrong %s is refused", (field, wrong) => {
  expect(() => checkRequest({ taskId: "a", address: "10.77.1.2", networks: [], ...wrong }, options)).toThrow(
    expect.objectContaining({ failure: { code: "ATTACHMENT_INVALID", field } }),
  );
});
