import type { Cluster, Reign, StoreSnapshotHeader } from "@warren/api";

import type { Schema } from "./schema.ts";
import { InternPool } from "./intern.ts";
import { Table } from "./table.ts";
import type { StoredObject, TableDefinition, TableName, Tables } from "./tables.ts";

/** Reigns that are kept: enough for years of elections. */
export const maxReigns = 10_000;

/** Fields that this program does not know, by their tags. */
export type UnknownFields = StoreSnapshotHeader["_unknownFields"];

/**
 * All tables at one version. A published state is never changed: a writer takes a `copy`, which shares all that is not
 * written.
 */
export class State {
  readonly schema: Schema;
  /** Strings and times that its objects share. */
  readonly pool: InternPool;
  readonly version: number;
  /** The reigns of this history, the oldest first; at most `maxReigns`. */
  readonly reigns: readonly Reign[];
  /** Of the header of the snapshot that it began with: they go into the next snapshot. */
  readonly unknownFields: UnknownFields;
  /** Tables by name: those that the schema knows, then others. */
  #tables: Map<TableName, Table>;
  /** Names of the tables that are not shared with another copy; undefined while the map of tables itself is shared. */
  #own: Set<TableName> | undefined;

  private constructor(
    { schema, pool, unknownFields }: Pick<State, "schema" | "pool" | "unknownFields">,
    version: number,
    reigns: readonly Reign[],
    tables: Map<TableName, Table>,
  ) {
    this.schema = schema;
    this.pool = pool;
    this.unknownFields = unknownFields;
    this.version = version;
    this.reigns = reigns;
    this.#tables = tables;
  }

  static empty(schema: Schema, version = 0, reigns: readonly Reign[] = [], unknownFields?: UnknownFields): State {
    const tables = new Map(schema.tables.map((definition) => [definition.name, new Table(definition)]));
    return new State({ schema, pool: new InternPool(), unknownFields }, version, reigns, tables);
  }

  /** The reign that this state is of; 0 before the first. */
  get reign(): number {
    return this.reigns.at(-1)?.reign ?? 0;
  }

  /** The level that may be written. */
  get level(): number {
    const cluster = this.table("clusters").first() as Cluster | undefined;
    return cluster?.level || this.schema.minLevel;
  }

  table(name: TableName): Table {
    return this.#tables.get(name) as Table;
  }

  /** A stored object that an object new to its table may share parts with. */
  like({ like }: TableDefinition, object: StoredObject): unknown {
    return like?.(object, (table, id) => this.table(table).get(id) as Tables[typeof table] | undefined);
  }

  tables(): Iterable<Table> {
    return this.#tables.values();
  }

  copy(version: number = this.version, reigns: readonly Reign[] = this.reigns): State {
    // From now on both copies share their tables, so each has to copy a table before it writes.
    this.#own = undefined;
    return new State(this, version, reigns, this.#tables);
  }

  /** The same tables at a version in which another reign begins. */
  withReign(reign: Reign): State {
    return this.copy(reign.firstIndex, Object.freeze([...this.reigns.slice(1 - maxReigns), Object.freeze(reign)]));
  }

  /** The table, ready to be changed; created if it is missing, which is so for tables that the schema does not know. */
  own(definition: TableDefinition): Table {
    const { name } = definition;
    if (this.#own === undefined) {
      this.#own = new Set();
      this.#tables = new Map(this.#tables);
    }
    if (!this.#own.has(name)) {
      this.#own.add(name);
      this.#tables.set(name, this.#tables.get(name)?.copy() ?? new Table(definition));
    }
    return this.table(name);
  }
}
