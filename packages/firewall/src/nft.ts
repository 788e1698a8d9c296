import type { TouchedTable } from "@warren/netlink-napi";
import { newId, type Random } from "@warren/std";
import { mustRun } from "./run.ts";
import { nftChange, nftTable } from "./nft-change.ts";
import type { NftObject, RulesApplier, RuleTable, Run } from "./types.ts";

/** The table that was applied last: the base of the next change. */
interface Applied {
  readonly objects: readonly NftObject[];
  /**
   * Name of an empty chain, new in each of our transactions and in no other program's: by it the kernel's notification
   * of our own transaction is recognised.
   */
  readonly mark: string;
}

/** A transaction that replaces the whole table. */
function wholeTable(name: string, { objects, mark }: Applied): string {
  return `table ${name}\ndelete table ${name}\ntable ${name} {\n\tchain ${mark} {\n\t}\n${nftTable(objects)}}\n`;
}

/**
 * A transaction that turns one table into the next; undefined where the whole table is as quick. It deletes the old
 * mark, so the kernel refuses it unless the table is the one that we applied.
 */
function tableChange(name: string, before: Applied, { objects, mark }: Applied): string | undefined {
  const change = nftChange(name, before.objects, objects);
  if (change === undefined) return undefined;
  return `${[`delete chain ${name} ${before.mark}`, `add chain ${name} ${mark}`, ...change].join("\n")}\n`;
}

/**
 * Rules by `nft -f -`. With a thousand services the kernel takes 0.4 s for a whole table, so a table that is known to
 * be in place is changed where it differs. The whole table is applied when the change is refused, and when others may
 * have changed ours; the result is the same.
 */
export class NftApplier implements RulesApplier {
  readonly resyncMs = undefined;
  readonly #run: Run;
  readonly #random: Random;
  /** Marks of our transactions that the kernel has not notified of yet. */
  readonly #awaited = new Set<string>();
  /** The mark of what was applied last, by table. */
  readonly #marks = new Map<string, string>();
  /** By table; none where the kernel's table may differ from what we applied. */
  readonly #applied = new Map<string, Applied>();

  constructor(run: Run, random: Random) {
    this.#run = run;
    this.#random = random;
  }

  async apply(table: RuleTable, anew: boolean): Promise<void> {
    const name = `ip warren_${table.name}`;
    const next: Applied = { objects: table.nft(), mark: `mark_${newId(this.#random).slice(0, 12)}` };
    const before = anew ? undefined : this.#applied.get(table.name);
    this.#applied.delete(table.name);
    const change = before && tableChange(name, before, next);
    this.#awaited.add(next.mark);
    try {
      const changed = change !== undefined && (await this.#run("nft", ["-f", "-"], change)).code === 0;
      if (!changed) await mustRun(this.#run, "nft", ["-f", "-"], wholeTable(name, next));
    } catch (error) {
      this.#awaited.delete(next.mark);
      throw error;
    }
    this.#marks.set(table.name, next.mark);
    this.#applied.set(table.name, next);
  }

  async remove(name: string): Promise<void> {
    this.#marks.delete(name);
    this.#applied.delete(name);
    await mustRun(this.#run, "nft", ["-f", "-"], `table ip warren_${name}\ndelete table ip warren_${name}\n`);
  }

  touched(tables: readonly TouchedTable[], names: readonly string[]): string[] {
    return tables
      .filter(({ newChains }) => !newChains.some((chain) => this.#awaited.delete(chain)))
      .map(({ name }) => name.replace(/^warren_/, ""))
      .filter((name) => names.includes(name));
  }

  /**
   * Whether the table that was applied last exists; edits within it are not found. Called after notifications were
   * lost, which may have been of others' edits: so the next table is applied whole.
   */
  async intact(name: string): Promise<boolean> {
    this.#applied.delete(name);
    const mark = this.#marks.get(name);
    if (mark === undefined) return false;
    const { code } = await this.#run("nft", ["list", "chain", "ip", `warren_${name}`, mark]);
    return code === 0;
  }
}
