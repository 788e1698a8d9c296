import type { Reign } from "@warren/api";

import { Table } from "./table.ts";
import { definitions, tableNames, type TableName } from "./tables.ts";

/** Reigns that are kept: years of elections. */
export const maxReigns = 10_000;

/**
 * All tables at one version. What has been published is never changed: a writer takes a `copy`, which shares
 * everything that it does not touch.
 */
export class State {
  readonly version: number;
  /** The reigns of this history, the oldest first; at most `maxReigns`. */
  readonly reigns: readonly Reign[];
  readonly #tables: Map<TableName, Table>;
  /** Tables that this copy made its own. */
  readonly #own = new Set<TableName>();

  private constructor(version: number, reigns: readonly Reign[], tables: Map<TableName, Table>) {
    this.version = version;
    this.reigns = reigns;
    this.#tables = tables;
  }

  static empty(version = 0, reigns: readonly Reign[] = []): State {
    return new State(version, reigns, new Map(tableNames.map((name) => [name, new Table(definitions[name])])));
  }

  /** The reign that this state is of: 0 before the first. */
  get reign(): number {
    return this.reigns.at(-1)?.reign ?? 0;
  }

  table(name: TableName): Table {
    return this.#tables.get(name) as Table;
  }

  copy(version: number = this.version, reigns: readonly Reign[] = this.reigns): State {
    // Both share from now on, so neither may go on writing to what it called its own.
    this.#own.clear();
    return new State(version, reigns, new Map(this.#tables));
  }

  /** The same tables at a version in which another reign begins. */
  reigning(reign: Reign): State {
    return this.copy(reign.firstIndex, Object.freeze([...this.reigns.slice(1 - maxReigns), Object.freeze(reign)]));
  }

  /** The table, to be changed. */
  own(name: TableName): Table {
    if (!this.#own.has(name)) {
      this.#own.add(name);
      this.#tables.set(name, this.table(name).copy());
    }
    return this.table(name);
  }
}
