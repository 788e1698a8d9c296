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
import { LoadBalancerError } from "../errors.ts";
import { IptablesApplier } from "./iptables.ts";
import { NftApplier } from "./nft.ts";
import { runProgram } from "./run.ts";
import type { Backend, Firewall, RulesApplier, RulesEvents, RuleTable, Run } from "./types.ts";

export interface FirewallDependencies {
  readonly events: RulesEvents;
  /** How programs are run. @default in this process's network namespace */
  readonly run?: Run;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface FirewallOptions {
  /** @default "auto": nft where it is installed, else iptables */
  readonly backend?: Backend | "auto";
}

async function installed(run: Run, program: string): Promise<boolean> {
  try {
    return (await run(program, ["--version"])).code === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function chooseBackend(run: Run): Promise<Backend> {
  if (await installed(run, "nft")) return "nft";
  if (await installed(run, "iptables-restore")) return "iptables";
  throw new LoadBalancerError({ code: "LB_NO_BACKEND" }, "neither nft nor iptables is installed: install nftables");
}

/** @throws LoadBalancerError `LB_NO_BACKEND` */
export async function startFirewall(
  dependencies: FirewallDependencies,
  options: FirewallOptions = {},
): Promise<Firewall> {
  const { run = runProgram, random = systemRandom } = dependencies;
  const backend =
    options.backend === undefined || options.backend === "auto" ? await chooseBackend(run) : options.backend;
  const applier = backend === "nft" ? new NftApplier(run, random) : new IptablesApplier(run);
  return new KeptFirewall(backend, applier, dependencies);
}

/** Keeps tables in place: one change at a time; on a change by others, what they touched is put back. */
class KeptFirewall implements Firewall {
  readonly backend: Backend;
  readonly #applier: RulesApplier;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #tables = new Map<string, RuleTable>();
  readonly #one = serially();
  readonly #watch: { close(): void };
  /** Tables that wait to be looked at. */
  readonly #suspect = new Set<string>();
  readonly #retries = new Map<string, Timer>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(backend: Backend, applier: RulesApplier, dependencies: FirewallDependencies) {
    this.backend = backend;
    this.#applier = applier;
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
    this.#tables.set(table.name, table);
    return this.#one(() => this.#applier.apply(table, false));
  }

  remove(name: string): Promise<void> {
    this.#tables.delete(name);
    return this.#one(() => this.#applier.remove(name));
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

  /** `unsure`: the tables may be as they should be, so that a look comes first. */
  #check(names: readonly string[], unsure: boolean): void {
    for (const name of names) {
      if (this.#closed || this.#suspect.has(name)) continue;
      this.#suspect.add(name);
      void this.#one(async () => {
        this.#suspect.delete(name);
        await this.#restore(name, unsure);
      });
    }
  }

  /** Puts a table back. It does not throw: a failure is logged and tried again. */
  async #restore(name: string, unsure: boolean): Promise<void> {
    const table = this.#tables.get(name);
    if (table === undefined || this.#closed) return;
    try {
      if (unsure && (await this.#applier.intact(name))) return;
      await this.#applier.apply(table, true);
      this.#backoff.reset();
      this.#log.warn("put rules back that others had changed", { table: name });
    } catch (error) {
      const retryMs = this.#backoff.next();
      this.#log.error("cannot put rules back", { table: name, error, retryMs });
      this.#retries.get(name)?.cancel();
      if (!this.#closed)
        this.#retries.set(
          name,
          this.#clock.setTimeout(() => this.#check([name], true), retryMs),
        );
    }
  }
}
