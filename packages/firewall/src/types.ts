import type { RulesChange, TouchedTable } from "@warren/netlink-napi";

export type Backend = "nft" | "iptables";

/** Where a packet meets the rules. */
export type Hook = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";

/** A chain for iptables. Its name is completed to `WARREN-<table>-<name>`, 28 characters at most. */
export interface Chain {
  readonly name: string;
  /** Built-in chains that begin with a jump to this one. */
  readonly hooks?: readonly Hook[];
  /** Each what follows `-A CHAIN`. `@name` stands for the full name of the table's chain `name`. */
  readonly rules: readonly string[];
}

export interface IptablesRules {
  /** Before connection tracking. @default none */
  readonly raw?: readonly Chain[];
  readonly filter: readonly Chain[];
  readonly nat: readonly Chain[];
}

/**
 * A named object of an nftables table. Each rule and each element is a text of its own, so that two tables can
 * be compared.
 */
export type NftObject =
  | {
      readonly chain: string;
      /** Of a chain that packets begin at: `type nat hook prerouting priority dstnat - 5`. */
      readonly hook?: string;
      readonly rules: readonly string[];
    }
  | {
      readonly map: string;
      /** `ipv4_addr : verdict`; `ipv4_addr` alone makes it a set. */
      readonly type: string;
      /** `10.0.0.1 : goto web`. No key twice. */
      readonly elements: readonly string[];
    };

/** All the rules of one owner, for either backend. Only the one in use is rendered. */
export interface RuleTable {
  /** `[a-z]{1,6}`: `lb` is nftables' `table ip warren_lb`, and iptables' chains `WARREN-LB-…`. */
  readonly name: string;
  /** What stands inside `table ip warren_NAME { … }`; an object stands before those that name it. */
  nft(): readonly NftObject[];
  iptables(): IptablesRules;
  /**
   * Called after the table was restored because others had changed it: packets crossed without its rules, and what
   * they left behind, as tracked flows, is the owner's to end. A rejection is logged.
   */
  restored?(): Promise<void>;
}

/** Owner of whole tables of rules. */
export interface Firewall extends AsyncDisposable {
  readonly backend: Backend;
  /**
   * Replaces the table of that name in one transaction (with iptables: one each for raw, filter and nat), and restores
   * it whenever others flush or edit it. Rules of that name that another backend holds are removed.
   *
   * @throws FirewallError `FIREWALL_RULES_FAILED`; the table that was applied before stays
   */
  apply(table: RuleTable): Promise<void>;
  /** Removes the table of that name from every backend, whichever process applied it. Idempotent. */
  remove(name: string): Promise<void>;
  /** Stops watching; the rules stay. Idempotent. */
  close(): Promise<void>;
}

/** The kernel's nftables, as a firewall needs it; `Netlink` of `@warren/netlink-napi` is one. */
export interface RulesEvents {
  /** Notifies of changes, by any program. */
  watchRules(listener: (change: RulesChange) => void): { close(): void };
  /**
   * Runs commands of nft as one transaction without a program, with what `nft -f -` would have ended with and written;
   * undefined where that can't be done. @default it can't
   */
  runNft?(commands: string): Promise<Awaited<ReturnType<Run>> | undefined>;
}

/** Runs a program to its end. Rejects with an error that has `code: "ENOENT"` if there is none of that name. */
export type Run = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;

/** One way to put rules into the kernel. */
export interface RulesApplier {
  /** @param anew others may have changed the table: it is applied whole */
  apply(table: RuleTable, anew: boolean): Promise<void>;
  remove(name: string): Promise<void>;
  /** The tables among `names` that a change may have touched; `intact` says whether it did. */
  touched(tables: readonly TouchedTable[], names: readonly string[]): string[];
  /** Whether the table is as it was applied. */
  intact(name: string): Promise<boolean>;
  /** Period of comparing the tables, ms; undefined where the kernel notifies of every change. */
  readonly resyncMs: number | undefined;
}
