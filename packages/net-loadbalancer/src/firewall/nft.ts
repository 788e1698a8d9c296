import { newId, type Random } from "@warren/std";
import { mustRun } from "./run.ts";
import { nftChange, nftTable } from "./nft-change.ts";
import type { NftObject, RulesApplier, RuleTable, Run } from "./types.ts";

/** What was applied last: the base of the next change. */
interface Applied {
  readonly objects: readonly NftObject[];
  /**
   * Name of an empty chain that makes our own transactions known to us when the kernel tells of them: it is new each
   * time and in none of anybody else's.
   */
  readonly mark: string;
}

/** A transaction that replaces the whole table. */
function wholeTable(name: string, { objects, mark }: Applied): string {
  return `table ${name}\ndelete table ${name}\ntable ${name} {\n\tchain ${mark} {\n\t}\n${nftTable(objects)}}\n`;
}

/**
 * A transaction that leads from one table to the next. It takes the old mark away, so the kernel refuses it where the
 * table is not the one that we applied: flushed, or put back from a copy.
 */
function tableChange(name: string, before: Applied, { objects, mark }: Applied): string | undefined {
  const change = nftChange(name, before.objects, objects);
  if (change === undefined) return undefined;
  return `${[`delete chain ${name} ${before.mark}`, `add chain ${name} ${mark}`, ...change].join("\n")}\n`;
}

/**
 * Rules by `nft -f -`. With a thousand services the kernel takes 0.4 s for a whole table, so a table that is known to
 * be there is changed where it differs; the result is the same as that of the whole table, which is also what is
 * applied when a change is refused, and whenever others may have changed ours.
 */
export class NftApplier implements RulesApplier {
  readonly resyncMs = undefined;
  readonly #run: Run;
  readonly #random: Random;
  /** Marks of our transactions that the kernel has not told of yet. */
  readonly #awaited = new Set<string>();
  /** The mark of what was applied last, by table. */
  readonly #marks = new Map<string, string>();
  /** By table; none where what is in the kernel is not surely what we applied. */
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
   * are awaited may have been among them. Others' edits may have been among them too: the next table is applied whole.
   */
  async intact(name: string): Promise<boolean> {
    this.#applied.delete(name);
    const mark = this.#marks.get(name);
    if (mark === undefined) return false;
    const { code } = await this.#run("nft", ["list", "chain", "ip", `warren_${name}`, mark]);
    return code === 0;
  }
}
