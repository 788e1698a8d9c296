import {
  Backoff,
  serially,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Random,
  type Timer,
} from "@warren/std";
import { FirewallError } from "./errors.ts";
import { IptablesApplier } from "./iptables.ts";
import { NftApplier } from "./nft.ts";
import { runProgram, withoutNft } from "./run.ts";
import type { Backend, Firewall, RulesApplier, RulesEvents, RuleTable, Run } from "./types.ts";

export interface FirewallDependencies {
  readonly events: RulesEvents;
  /** How programs are run. @default in this process's network namespace; transactions of nft by `events`, where it can */
  readonly run?: Run;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface FirewallOptions {
  /** @default "auto": nft where it is installed, else iptables */
  readonly backend?: Backend | "auto";
}

/** The version text of a program; undefined if it is not installed. */
async function versionOf(run: Run, program: string): Promise<string | undefined> {
  try {
    const { code, stdout } = await run(program, ["--version"]);
    return code === 0 ? stdout : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function chooseBackend(run: Run): Promise<Backend> {
  if ((await versionOf(run, "nft")) !== undefined) return "nft";
  if ((await versionOf(run, "iptables-restore")) !== undefined) return "iptables";
  throw new FirewallError({ code: "FIREWALL_NO_BACKEND" }, "neither nft nor iptables is installed: install nftables");
}

/**
 * Appliers of every backend that is installed and not in use: they remove the rules that stayed after a change of
 * backend. `iptables` is one of two programs, which keep separate rules: iptables-nft and iptables-legacy.
 */
async function otherAppliers(run: Run, random: Random, backend: Backend): Promise<RulesApplier[]> {
  const inUse = backend === "nft" ? undefined : await versionOf(run, "iptables-restore");
  const others: RulesApplier[] = [];
  if (backend !== "nft" && (await versionOf(run, "nft")) !== undefined) others.push(new NftApplier(run, random));
  for (const [program, variant] of [
    ["iptables-nft", "(nf_tables)"],
    ["iptables-legacy", "(legacy)"],
  ] as const) {
    if (inUse?.includes(variant) === true) continue;
    if ((await versionOf(run, `${program}-restore`)) !== undefined) others.push(new IptablesApplier(run, program));
  }
  return others;
}

/** @throws FirewallError `FIREWALL_NO_BACKEND` */
export async function startFirewall(
  dependencies: FirewallDependencies,
  options: FirewallOptions = {},
): Promise<Firewall> {
  const { random = systemRandom } = dependencies;
  const run = dependencies.run ?? withoutNft(dependencies.events, runProgram);
  const backend =
    options.backend === undefined || options.backend === "auto" ? await chooseBackend(run) : options.backend;
  const applier = backend === "nft" ? new NftApplier(run, random) : new IptablesApplier(run);
  return new KeptFirewall(backend, applier, await otherAppliers(run, random, backend), dependencies);
}

/** Keeps tables in place: one change at a time; tables that others change are restored. */
class KeptFirewall implements Firewall {
  readonly backend: Backend;
  readonly #applier: RulesApplier;
  readonly #others: readonly RulesApplier[];
  /** Names of tables that no other backend has rules of. */
  readonly #cleaned = new Set<string>();
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  /** What was applied last, by name. */
  readonly #tables = new Map<string, RuleTable>();
  readonly #one = serially();
  readonly #watch: { close(): void };
  /** Tables whose check is queued. */
  readonly #suspect = new Set<string>();
  readonly #retries = new Map<string, Timer>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(
    backend: Backend,
    applier: RulesApplier,
    others: readonly RulesApplier[],
    dependencies: FirewallDependencies,
  ) {
    this.backend = backend;
    this.#applier = applier;
    this.#others = others;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "firewall", backend });
    this.#clock = dependencies.clock ?? systemClock;
    this.#backoff = new Backoff(dependencies.random ?? systemRandom);
    this.#watch = dependencies.events.watchRules((change) => {
      if (change.what === "lost") this.#check([...this.#tables.keys()], true);
      else this.#check(this.#applier.touched(change.tables, [...this.#tables.keys()]), backend === "iptables");
    });
    this.#armResync();
  }

  apply(table: RuleTable): Promise<void> {
    return this.#one(async () => {
      try {
        await this.#applier.apply(table, false);
      } catch (error) {
        // iptables may have taken a part of it.
        if (this.#tables.has(table.name)) this.#check([table.name], true);
        throw error;
      }
      this.#tables.set(table.name, table);
      // After the new rules are in place, so that the node is never without.
      await this.#removeFromOthers(table.name);
    });
  }

  remove(name: string): Promise<void> {
    return this.#one(async () => {
      this.#tables.delete(name);
      await this.#applier.remove(name);
      await this.#removeFromOthers(name);
    });
  }

  async #removeFromOthers(name: string): Promise<void> {
    if (this.#cleaned.has(name)) return;
    for (const other of this.#others) await other.remove(name);
    this.#cleaned.add(name);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watch.close();
    this.#timer?.cancel();
    for (const retry of this.#retries.values()) retry.cancel();
    await this.#one(async () => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #armResync(): void {
    const period = this.#applier.resyncMs;
    if (period === undefined || this.#closed) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#check([...this.#tables.keys()], true);
      this.#armResync();
    }, period);
  }

  /** @param unsure the tables may be unchanged: they are compared first */
  #check(names: readonly string[], unsure: boolean): void {
    for (const name of names) {
      if (this.#closed || this.#suspect.has(name)) continue;
      this.#suspect.add(name);
      const restored = this.#one(() => {
        this.#suspect.delete(name);
        return this.#restore(name, unsure);
      });
      void restored.then((table) => this.#notify(table));
    }
  }

  /** Restores a table, and resolves with it if that was needed. It does not reject: a failure is logged and retried. */
  async #restore(name: string, unsure: boolean): Promise<RuleTable | undefined> {
    const table = this.#tables.get(name);
    if (table === undefined || this.#closed) return undefined;
    try {
      if (unsure && (await this.#applier.intact(name))) return undefined;
      await this.#applier.apply(table, true);
      this.#backoff.reset();
      this.#log.warn("restored rules that others had changed", { table: name });
      return table;
    } catch (error) {
      const retryMs = this.#backoff.next();
      this.#log.error("cannot restore rules", { table: name, error, retryMs });
      this.#retries.get(name)?.cancel();
      if (!this.#closed)
        this.#retries.set(
          name,
          this.#clock.setTimeout(() => this.#check([name], true), retryMs),
        );
      return undefined;
    }
  }

  async #notify(table: RuleTable | undefined): Promise<void> {
    try {
      await table?.restored?.();
    } catch (error) {
      this.#log.error("flows that crossed without rules may go on", { table: table?.name, error });
    }
  }
}
