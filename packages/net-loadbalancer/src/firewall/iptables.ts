import { LoadBalancerError } from "../errors.ts";
import { mustRun } from "./run.ts";
import type { Chain, RulesApplier, RuleTable, Run } from "./types.ts";

const kinds = ["filter", "nat"] as const;
type Kind = (typeof kinds)[number];

/** Longest chain name that iptables takes. */
const nameLimit = 28;

function chainName(table: string, chain: string): string {
  return `WARREN-${table.toUpperCase()}-${chain}`;
}

/** What `iptables-save` has of one owner: its chains, their rules, and the jumps to them. */
export interface Saved {
  readonly chains: readonly string[];
  readonly rules: readonly string[];
  /** The built-in chains' rules that jump to one of the chains, as `-A …` lines. */
  readonly jumps: readonly string[];
}

const nothing: Saved = { chains: [], rules: [], jumps: [] };

/** Reads the owner's part of `iptables-save`. Lines of others are passed over. */
export function parseSave(save: string, table: string): Record<Kind, Saved> {
  const found: Record<Kind, Saved> = { filter: nothing, nat: nothing };
  const prefix = chainName(table, "");
  for (const section of save.split(/^\*/m).slice(1)) {
    const [kind = "", ...lines] = section.split("\n");
    if (kind !== "filter" && kind !== "nat") continue;
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

function renderKind(kind: Kind, table: string, chains: readonly Chain[], saved: Saved): string {
  const full = (name: string): string => chainName(table, name);
  for (const { name } of chains) {
    if (full(name).length > nameLimit)
      throw new Error(`assertion failed: chain ${full(name)} fits ${nameLimit} characters`);
  }
  const wanted = new Set(chains.map(({ name }) => full(name)));
  const stale = saved.chains.filter((name) => !wanted.has(name));
  const jumps = chains.flatMap(({ name, hooks = [] }) => hooks.map((hook) => `${hook} -j ${full(name)}`));
  const lines = [`*${kind}`, ...[...wanted, ...stale].map((name) => `:${name} - [0:0]`)];
  // A jump that is there, once, stays where its owner put it.
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
  return lines.join("\n");
}

/** Input for `iptables-restore --noflush` that replaces the owner's chains, given what `iptables-save` said. */
export function iptablesRestore(name: string, rules: Readonly<Record<Kind, readonly Chain[]>>, save: string): string {
  const saved = parseSave(save, name);
  return `${kinds.map((kind) => renderKind(kind, name, rules[kind], saved[kind])).join("\n")}\n`;
}

/**
 * Rules by `iptables-restore`, where nft is missing. iptables-nft's changes are told by the kernel like nft's own;
 * iptables-legacy's are not, so there the rules are also looked at every `resyncMs`.
 */
export class IptablesApplier implements RulesApplier {
  readonly resyncMs = 10_000;
  readonly #run: Run;
  /** What iptables-save said right after each table was applied: iptables rewrites what it is given. */
  readonly #applied = new Map<string, string>();

  constructor(run: Run) {
    this.#run = run;
  }

  async apply(table: RuleTable): Promise<void> {
    const rules = table.iptables();
    await this.#restore(table.name, rules);
    const saved = parseSave(await this.#save(), table.name);
    for (const kind of kinds) {
      const expected = rules[kind].reduce((sum, chain) => sum + chain.rules.length, 0);
      if (saved[kind].rules.length === expected) continue;
      const output = `${saved[kind].rules.length} of ${expected} rules in ${kind}`;
      throw new LoadBalancerError(
        { code: "LB_RULES_FAILED", program: "iptables-restore", output },
        `somebody else changed iptables while table ${table.name} was applied (${output}); it is applied again`,
      );
    }
    this.#applied.set(table.name, JSON.stringify(saved));
  }

  async remove(name: string): Promise<void> {
    this.#applied.delete(name);
    await this.#restore(name, { filter: [], nat: [] });
  }

  touched(tables: readonly { readonly name: string }[], names: readonly string[]): string[] {
    return tables.some(({ name }) => name === "filter" || name === "nat") ? [...names] : [];
  }

  async intact(name: string): Promise<boolean> {
    return this.#applied.get(name) === JSON.stringify(parseSave(await this.#save(), name));
  }

  async #restore(name: string, rules: Readonly<Record<Kind, readonly Chain[]>>): Promise<void> {
    const input = iptablesRestore(name, rules, await this.#save());
    await mustRun(this.#run, "iptables-restore", ["--noflush", "--wait", "5"], input);
  }

  #save(): Promise<string> {
    return mustRun(this.#run, "iptables-save", []);
  }
}
