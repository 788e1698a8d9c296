/** What every `Firewall` must do: cases for any test runner, each failing by a throw. */
import { assert } from "@warren/std";
import { until, type ContractCase } from "@warren/std/testing";
import { FirewallError } from "../errors.ts";
import type { Firewall, RuleTable } from "../types.ts";

/** A machine with a firewall, for one case; no rules of ours are there at first. */
export interface FirewallUnderTest {
  readonly firewall: Firewall;
  /** The text of all rules that are in place on the machine now. */
  rules(): Promise<string>;
  /** Removes all rules, as another program. */
  flush(): Promise<void>;
}

/** Drops what comes from these addresses. */
function dropping(name: string, sources: readonly string[], more: Partial<RuleTable> = {}): RuleTable {
  return {
    name,
    nft: () => [
      {
        chain: "entry",
        hook: "type filter hook input priority filter",
        rules: sources.map((source) => `ip saddr ${source} drop`),
      },
    ],
    iptables: () => ({
      filter: [{ name: "ENTRY", hooks: ["INPUT"], rules: sources.map((source) => `-s ${source} -j DROP`) }],
      nat: [],
    }),
    ...more,
  };
}

/** A rule that no kernel knows. */
const nonsense: RuleTable = {
  name: "a",
  nft: () => [{ chain: "entry", hook: "type filter hook input priority filter", rules: ["nonsense"] }],
  iptables: () => ({ filter: [{ name: "ENTRY", hooks: ["INPUT"], rules: ["--nonsense"] }], nat: [] }),
};

async function sees(
  subject: FirewallUnderTest,
  present: readonly string[],
  absent: readonly string[] = [],
): Promise<void> {
  const rules = await subject.rules();
  for (const each of present) assert(rules.includes(each), `${each} stands in the rules`);
  for (const each of absent) assert(!rules.includes(each), `${each} does not stand in the rules`);
}

async function restored(subject: FirewallUnderTest, text: string): Promise<void> {
  await until(`${text} is restored`, async () => (await subject.rules()).includes(text));
}

const one = "192.0.2.1";
const two = "192.0.2.2";
const three = "192.0.2.3";

/** The subject's `FirewallError` refuses a table whose only rule is `nonsense`. */
export const firewallContract: readonly ContractCase<FirewallUnderTest>[] = [
  {
    title: "a table is in place when apply resolves, and replaces the one of its name alone",
    async run(subject) {
      await subject.firewall.apply(dropping("a", [one]));
      await subject.firewall.apply(dropping("b", [two]));
      await sees(subject, [one, two]);
      await subject.firewall.apply(dropping("a", [three]));
      await sees(subject, [three, two], [one]);
    },
  },
  {
    title: "of tables that are applied at once the last one stays",
    async run(subject) {
      await Promise.all([one, two, three].map((source) => subject.firewall.apply(dropping("a", [source]))));
      await sees(subject, [three], [one, two]);
    },
  },
  {
    title: "a removed table is gone, and removing what is not there succeeds",
    async run(subject) {
      await subject.firewall.remove("a");
      await subject.firewall.apply(dropping("a", [one]));
      await subject.firewall.apply(dropping("b", [two]));
      await subject.firewall.remove("a");
      await subject.firewall.remove("a");
      await sees(subject, [two], [one]);
    },
  },
  {
    title: "a refused table rejects, and the one that was applied before stays and is still restored",
    async run(subject) {
      await subject.firewall.apply(dropping("a", [one]));
      const error: unknown = await subject.firewall.apply(nonsense).catch((caught: unknown) => caught);
      assert(FirewallError.is(error, "FIREWALL_RULES_FAILED"), "the refusal has its code");
      await sees(subject, [one]);
      await subject.flush();
      await restored(subject, one);
    },
  },
  {
    title: "tables that another program flushes are restored, and then their owner is called",
    async run(subject) {
      const calls: string[] = [];
      const owner = async (): Promise<void> => {
        await sees(subject, [one]);
        calls.push("restored");
      };
      await subject.firewall.apply(dropping("a", [one], { restored: owner }));
      await subject.firewall.apply(dropping("b", [two]));
      await subject.flush();
      await restored(subject, two);
      await until("the owner is called", () => calls.length > 0);
    },
  },
  {
    title: "a removed table is not restored",
    async run(subject) {
      await subject.firewall.apply(dropping("a", [one]));
      await subject.firewall.apply(dropping("b", [two]));
      await subject.firewall.remove("a");
      await subject.flush();
      await restored(subject, two);
      await sees(subject, [two], [one]);
    },
  },
  {
    title: "a closed firewall leaves its tables in place, and closes again",
    async run(subject) {
      await subject.firewall.apply(dropping("a", [one]));
      await subject.firewall.close();
      await subject.firewall.close();
      await sees(subject, [one]);
    },
  },
];
