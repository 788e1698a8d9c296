import { startFirewall, type FirewallBackend, type RuleTable, type Run } from "@warren/firewall";
import { firewallContract } from "@warren/firewall/testing";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { FakeClock, runReadmeExample, until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

/** A host's programs, where `iptables` is the variant that is asked for. */
function programs(host: LabHost, variant: "nft" | "legacy" = "nft"): Run {
  return (program, args, input) =>
    host.run(program.replace(/^iptables-(?=save|restore)/, `iptables-${variant}-`), args, input);
}

async function allRules(host: LabHost): Promise<string> {
  const nft = await host.run("nft", ["list", "ruleset"]);
  const legacy = await host.run("iptables-legacy-save", []);
  return nft.stdout + legacy.stdout;
}

async function flush(host: LabHost, backend: FirewallBackend): Promise<void> {
  if (backend === "nft") await host.run("nft", ["flush", "ruleset"]);
  else for (const args of [["-F"], ["-X"]]) await host.run("iptables", args);
}

describe.each(["nft", "iptables"] as const)("the firewall by %s", (backend) => {
  test.each(firewallContract)("$title", async ({ run }) => {
    await using lab = await Lab.open();
    const host = await lab.host("node");
    await using firewall = await startFirewall({ events: host.netlink, run: programs(host) }, { backend });
    await run({ firewall, rules: () => allRules(host), flush: () => flush(host, backend) });
  });
});

const table: RuleTable = {
  name: "a",
  nft: () => [{ chain: "entry", hook: "type filter hook input priority filter", rules: ["ip saddr 192.0.2.1 drop"] }],
  iptables: () => ({
    raw: [{ name: "RAW", hooks: ["PREROUTING"], rules: ["-s 192.0.2.1 -j DROP"] }],
    filter: [{ name: "ENTRY", hooks: ["INPUT"], rules: ["-s 192.0.2.1 -j DROP"] }],
    nat: [],
  }),
};

const kinds = [
  ["nft", "nft"],
  ["iptables", "nft"],
  ["iptables", "legacy"],
] as const;
const changes = kinds.flatMap((from) => kinds.filter((to) => to !== from).map((to) => ({ from, to })));

test.each(changes)(
  "a change from $from to $to leaves no old rules, and removal leaves none at all",
  async ({ from, to }) => {
    await using lab = await Lab.open();
    const host = await lab.host("node");
    const open = ([backend, variant]: (typeof kinds)[number]) =>
      startFirewall({ events: host.netlink, run: programs(host, variant), clock: new FakeClock() }, { backend });
    {
      await using before = await open(from);
      await before.apply(table);
      expect(await allRules(host)).toContain("192.0.2.1");
    }
    await using after = await open(to);
    await after.apply(table);
    // As often as the one table of this backend has it.
    expect((await allRules(host)).match(/192\.0\.2\.1/g)).toHaveLength(to[0] === "nft" ? 1 : 2);
    await after.remove("a");
    expect((await allRules(host)).toLowerCase()).not.toContain("warren");
  },
);

test("rules that iptables-legacy flushed, which the kernel does not notify of, are restored within ten seconds", async () => {
  await using lab = await Lab.open();
  const host = await lab.host("node");
  const clock = new FakeClock();
  const run = programs(host, "legacy");
  await using firewall = await startFirewall({ events: host.netlink, run, clock }, { backend: "iptables" });
  await firewall.apply(table);
  await host.run("iptables-legacy", ["-F"]);
  expect((await host.run("iptables-legacy-save", ["-t", "filter"])).stdout).not.toContain("192.0.2.1");
  clock.advance(10_000);
  await until("the rules are restored", async () =>
    (await host.run("iptables-legacy-save", ["-t", "filter"])).stdout.includes("192.0.2.1"),
  );
});

test("the README's example runs and leaves no rules", async () => {
  await using lab = await Lab.open();
  const host = await lab.host("node");
  const finished = await runReadmeExample(new URL("..", import.meta.url), ["nsenter", `--net=${host.path}`]);
  expect(finished).toMatchObject({ stderr: "", code: 0 });
  expect(finished.stdout).toMatch(/^(nft|iptables)\n$/);
  expect(await allRules(host)).toBe("");
});
