import { newId, type Random } from "@warren/std";
import { mustRun } from "./run.ts";
import type { RulesApplier, RuleTable, Run } from "./types.ts";

/**
 * A transaction that replaces the whole table. The empty chain `mark` makes our own transactions known to us when
 * the kernel tells of them: it is new each time and in none of anybody else's.
 */
function nftTransaction(table: RuleTable, mark: string): string {
  const name = `ip warren_${table.name}`;
  return `table ${name}\ndelete table ${name}\ntable ${name} {\n\tchain ${mark} {\n\t}\n${table.nft()}}\n`;
}

/** Rules by `nft -f -`. */
export class NftApplier implements RulesApplier {
  readonly resyncMs = undefined;
  readonly #run: Run;
  readonly #random: Random;
  /** Marks of our transactions that the kernel has not told of yet. */
  readonly #awaited = new Set<string>();
  /** The mark of what was applied last, by table. */
  readonly #marks = new Map<string, string>();

  constructor(run: Run, random: Random) {
    this.#run = run;
    this.#random = random;
  }

  async apply(table: RuleTable): Promise<void> {
    const mark = `mark_${newId(this.#random).slice(0, 12)}`;
    this.#awaited.add(mark);
    try {
      await mustRun(this.#run, "nft", ["-f", "-"], nftTransaction(table, mark));
      this.#marks.set(table.name, mark);
    } catch (error) {
      this.#awaited.delete(mark);
      throw error;
    }
  }

  async remove(name: string): Promise<void> {
    this.#marks.delete(name);
    await mustRun(this.#run, "nft", ["-f", "-"], `table ip warren_${name}\ndelete table ip warren_${name}\n`);
  }

  touched(
    tables: readonly { readonly name: string; readonly newChains: readonly string[] }[],
    names: readonly string[],
  ): string[] {
    return tables
      .filter(({ newChains }) => !newChains.some((chain) => this.#awaited.delete(chain)))
      .map(({ name }) => name.replace(/^warren_/, ""))
      .filter((name) => names.includes(name));
  }

  /**
   * Only whether the table that was applied last is still there: asked after notices were lost, when the marks that
   * are awaited may have been among them.
   */
  async intact(name: string): Promise<boolean> {
    const mark = this.#marks.get(name);
    if (mark === undefined) return false;
    const { code } = await this.#run("nft", ["list", "chain", "ip", `warren_${name}`, mark]);
    return code === 0;
  }
}
