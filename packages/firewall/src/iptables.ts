import { FirewallError } from "./errors.ts";
import { mustRun } from "./run.ts";
import type { TouchedTable } from "@warren/netlink-napi";
import type { Chain, IptablesRules, RulesApplier, RuleTable, Run } from "./types.ts";

const kinds = ["raw", "filter", "nat"] as const;
type Kind = (typeof kinds)[number];

/** Longest chain name that iptables takes. */
const nameLimit = 28;

function chainName(table: string, chain: string): string {
  return `WARREN-${table.toUpperCase()}-${chain}`;
}

/** One owner's part of the output of `iptables-save`: its chains, their rules, and the jumps to them. */
export interface Saved {
  readonly chains: readonly string[];
  readonly rules: readonly string[];
  /** The built-in chains' rules that jump to one of the chains, as `-A …` lines. */
  readonly jumps: readonly string[];
}

const nothing: Saved = { chains: [], rules: [], jumps: [] };

function isKind(name: string): name is Kind {
  return (kinds as readonly string[]).includes(name);
}

/** Reads the owner's part of `iptables-save`. Others' lines are skipped. */
export function parseSave(save: string, table: string): Record<Kind, Saved> {
  const found: Record<Kind, Saved> = { raw: nothing, filter: nothing, nat: nothing };
  const prefix = chainName(table, "");
  for (const section of save.split(/^\*/m).slice(1)) {
    const [kind = "", ...lines] = section.split("\n");
    if (!isKind(kind)) continue;
    const own = (line: string): boolean => line.startsWith(`-A ${prefix}`);
    found[kind] = {
      chains: lines
        .filter((line) => line.startsWith(`:${prefix}`))
        .map((line) => line.slice(1).split(" ")[0] as string),
      rules: lines.filter(own),
      jumps: lines.filter((line) => line.startsWith("-A ") && !own(line) && line.includes(` -j ${prefix}`)),
    };
  }
  return found;
}

/** Empty where there is nothing to add or remove, so that the kernel does not create a table for it. */
function renderKind(kind: Kind, table: string, chains: readonly Chain[], saved: Saved): string {
  if (chains.length === 0 && saved.chains.length === 0 && saved.jumps.length === 0) return "";
  const full = (name: string): string => chainName(table, name);
  for (const { name } of chains) {
    if (full(name).length > nameLimit)
      throw new Error(`assertion failed: chain ${full(name)} fits ${nameLimit} characters`);
  }
  const wanted = new Set(chains.map(({ name }) => full(name)));
  const stale = saved.chains.filter((name) => !wanted.has(name));
  const jumps = chains.flatMap(({ name, hooks = [] }) => hooks.map((hook) => `${hook} -j ${full(name)}`));
  const lines = [`*${kind}`, ...[...wanted, ...stale].map((name) => `:${name} - [0:0]`)];
  // A jump that is in place, once, stays where the administrator has it.
  const kept = new Set(jumps.filter((jump) => saved.jumps.filter((line) => line === `-A ${jump}`).length === 1));
  lines.push(...saved.jumps.filter((line) => !kept.has(line.slice(3))).map((line) => line.replace(/^-A/, "-D")));
  lines.push(...jumps.filter((jump) => !kept.has(jump)).map((jump) => `-I ${jump}`));
  for (const chain of chains) {
    const name = full(chain.name);
    lines.push(
      ...chain.rules.map((rule) => `-A ${name} ${rule.replaceAll(/@([\w-]+)/g, (_, other: string) => full(other))}`),
    );
  }
  lines.push(...stale.map((name) => `-X ${name}`), "COMMIT");
  return `${lines.join("\n")}\n`;
}

/**
 * Input for `iptables-restore --noflush` that replaces the owner's chains, given the output of `iptables-save`. Empty
 * if there is nothing to do.
 */
export function iptablesRestore(name: string, rules: IptablesRules, save: string): string {
  const saved = parseSave(save, name);
  return kinds.map((kind) => renderKind(kind, name, rules[kind] ?? [], saved[kind])).join("");
}

/** How often a table is applied when others change iptables at the same time. */
const attempts = 3;

/**
 * Rules by `iptables-restore`, for machines without nft. The kernel notifies of changes by iptables-nft, and not of
 * those by iptables-legacy: so the rules are also compared every `resyncMs`.
 */
export class IptablesApplier implements RulesApplier {
  readonly resyncMs = 10_000;
  readonly #run: Run;
  readonly #program: string;
  /** Output of iptables-save after each table was applied: iptables rewrites its input. */
  readonly #applied = new Map<string, string>();

  /** @param program `iptables`, or one of its variants, `iptables-nft` and `iptables-legacy` */
  constructor(run: Run, program = "iptables") {
    this.#run = run;
    this.#program = program;
  }

  async apply(table: RuleTable): Promise<void> {
    const rules = table.iptables();
    let output = "";
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await this.#restore(table.name, rules);
      const saved = parseSave(await this.#save(), table.name);
      output = kinds
        .map((kind) => ({
          kind,
          expected: (rules[kind] ?? []).reduce((sum, chain) => sum + chain.rules.length, 0),
          found: saved[kind].rules.length,
        }))
        .filter(({ expected, found }) => found !== expected)
        .map(({ kind, expected, found }) => `${found} of ${expected} rules in ${kind}`)
        .join(", ");
      if (output !== "") continue;
      this.#applied.set(table.name, JSON.stringify(saved));
      return;
    }
    throw new FirewallError(
      { code: "FIREWALL_RULES_FAILED", program: `${this.#program}-restore`, output },
      `another program changed iptables each time that table ${table.name} was applied (${output}): ` +
        "find the program that edits chains named WARREN-*, and stop it",
    );
  }

  async remove(name: string): Promise<void> {
    this.#applied.delete(name);
    await this.#restore(name, { filter: [], nat: [] });
  }

  touched(tables: readonly Pick<TouchedTable, "name">[], names: readonly string[]): string[] {
    return tables.some(({ name }) => isKind(name)) ? [...names] : [];
  }

  async intact(name: string): Promise<boolean> {
    return this.#applied.get(name) === JSON.stringify(parseSave(await this.#save(), name));
  }

  async #restore(name: string, rules: IptablesRules): Promise<void> {
    const input = iptablesRestore(name, rules, await this.#save());
    if (input !== "") await mustRun(this.#run, `${this.#program}-restore`, ["--noflush", "--wait", "5"], input);
  }

  #save(): Promise<string> {
    return mustRun(this.#run, `${this.#program}-save`, []);
  }
}
