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
  readonly filter: readonly Chain[];
  readonly nat: readonly Chain[];
}

/**
 * A named object of an nftables table. Each rule and each element is a text of its own, so that what differs between
 * two tables can be told.
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
}

/** Owner of whole tables of rules. */
export interface Firewall extends AsyncDisposable {
  readonly backend: Backend;
  /**
   * Puts the table in place of the one of that name, in one transaction (with iptables: one each for filter and
   * nat), and keeps it there: whoever flushes or edits it finds it put back.
   *
   * @throws LoadBalancerError `LB_RULES_FAILED`
   */
  apply(table: RuleTable): Promise<void>;
  /** Removes the table of that name, with what an earlier process left of it. */
  remove(name: string): Promise<void>;
  /** Stops watching; the rules stay. Idempotent. */
  close(): Promise<void>;
}

/** Told of changes to nftables, whoever made them; `Netlink` of `@warren/netlink-napi` is one. */
export interface RulesEvents {
  watchRules(
    listener: (
      change:
        | {
            readonly what: "new";
            readonly tables: readonly { readonly name: string; readonly newChains: readonly string[] }[];
          }
        | { readonly what: "lost" },
    ) => void,
  ): { close(): void };
}

/** Runs a program to its end. Rejects with an error that has `code: "ENOENT"` if there is none of that name. */
export type Run = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;

/** One way to put rules into the kernel. */
export interface RulesApplier {
  /** `anew`: others may have changed the table, so that what was applied last says nothing. */
  apply(table: RuleTable, anew: boolean): Promise<void>;
  remove(name: string): Promise<void>;
  /** The tables among `names` that a change may have touched; `intact` says whether it did. */
  touched(
    tables: readonly { readonly name: string; readonly newChains: readonly string[] }[],
    names: readonly string[],
  ): string[];
  /** Whether the table is as it was applied. */
  intact(name: string): Promise<boolean>;
  /** How often to look without being told, ms; undefined where the kernel tells. */
  readonly resyncMs: number | undefined;
}
