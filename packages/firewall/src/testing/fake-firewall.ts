import { FirewallError } from "../errors.ts";
import { nftTable } from "../nft-change.ts";
import type { Backend, Firewall, RuleTable } from "../types.ts";

export interface FakeFirewallOptions {
  /** Whether a kernel would refuse this text of a table. @default never */
  readonly refuses?: (text: string) => boolean;
}

/** A `Firewall` in memory: tables are kept as nft's text, and `flush` stands for another program's. */
export class FakeFirewall implements Firewall {
  readonly backend: Backend = "nft";
  readonly #refuses: (text: string) => boolean;
  readonly #tables = new Map<string, RuleTable>();
  readonly #texts = new Map<string, string>();
  #closed = false;

  constructor({ refuses = () => false }: FakeFirewallOptions = {}) {
    this.#refuses = refuses;
  }

  /** The text of each table that is in place, by name. */
  get texts(): ReadonlyMap<string, string> {
    return this.#texts;
  }

  async apply(table: RuleTable): Promise<void> {
    const text = nftTable(table.nft());
    if (this.#refuses(text))
      throw new FirewallError(
        { code: "FIREWALL_RULES_FAILED", program: "fake", output: "refused" },
        `the fake refuses table ${table.name}`,
      );
    this.#tables.set(table.name, table);
    this.#texts.set(table.name, text);
  }

  async remove(name: string): Promise<void> {
    this.#tables.delete(name);
    this.#texts.delete(name);
  }

  /** As if another program removed all rules: an open firewall restores its tables and notifies their owners. */
  async flush(): Promise<void> {
    this.#texts.clear();
    if (this.#closed) return;
    for (const table of this.#tables.values()) {
      this.#texts.set(table.name, nftTable(table.nft()));
      await table.restored?.();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
