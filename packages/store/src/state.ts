import { Table } from "./table.ts";
import { definitions, tableNames, type TableName } from "./tables.ts";

/**
 * All tables at one version. What has been published is never changed: a writer takes a `copy`, which shares
 * everything that it does not touch.
 */
export class State {
  readonly version: number;
  readonly #tables: Map<TableName, Table>;
  /** Tables that this copy made its own. */
  readonly #own = new Set<TableName>();

  private constructor(version: number, tables: Map<TableName, Table>) {
    this.version = version;
    this.#tables = tables;
  }

  static empty(version = 0): State {
    return new State(version, new Map(tableNames.map((name) => [name, new Table(definitions[name])])));
  }

  table(name: TableName): Table {
    return this.#tables.get(name) as Table;
  }

  copy(version: number = this.version): State {
    // Both share from now on, so neither may go on writing to what it called its own.
    this.#own.clear();
    return new State(version, new Map(this.#tables));
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
