import type { Cluster, Reign } from "@warren/api";

import { StoreError } from "./errors.ts";
import type { State } from "./state.ts";
import { idOf, nameOf, type IndexName, type StoredObject, type TableName, type Tables } from "./tables.ts";

/** The state at one version. It never changes, and its objects are deeply frozen. */
export interface View {
  /** The log index of the last transaction in it. */
  readonly version: number;
  /** The reigns of its history, the oldest first. */
  readonly reigns: readonly Reign[];
  /** The cluster's own object; undefined before `init`. */
  readonly cluster: Cluster | undefined;
  get<T extends TableName>(table: T, id: string): Tables[T] | undefined;
  /** In the order of their ids; events in the order in which they happened. */
  list<T extends TableName>(table: T): readonly Tables[T][];
  /** Objects that have `value` in `index`, in the order of their ids. The cost depends on the result, not on the table's size. */
  find<T extends TableName>(table: T, index: IndexName<T>, value: string): readonly Tables[T][];
  /**
   * The one object with that name, with that id, or whose id alone begins so; tried in this order.
   *
   * @throws StoreError `STORE_NOT_FOUND`, `STORE_AMBIGUOUS`
   */
  resolve<T extends TableName>(table: T, ref: string): Tables[T];
}

/** Candidates that the error of an ambiguous reference lists. */
const maxCandidates = 10;

export class StateView implements View {
  /** Replaced by each write of a transaction; constant in a published view. */
  protected state: State;

  constructor(state: State) {
    this.state = state;
  }

  get version(): number {
    return this.state.version;
  }

  get reigns(): readonly Reign[] {
    return this.state.reigns;
  }

  get cluster(): Cluster | undefined {
    return this.state.table("clusters").first() as Cluster | undefined;
  }

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    return this.state.table(table).get(id) as Tables[T] | undefined;
  }

  list<T extends TableName>(table: T): readonly Tables[T][] {
    return this.state.table(table).list() as readonly Tables[T][];
  }

  find<T extends TableName>(table: T, index: IndexName<T>, value: string): readonly Tables[T][] {
    return this.state.table(table).find(index, value) as readonly Tables[T][];
  }

  resolve<T extends TableName>(table: T, ref: string): Tables[T] {
    const rows = this.state.table(table);
    if (ref === "") throw notFound(table, ref);
    const named = rows.definition.indexes.has("name") ? rows.find("name", ref) : [];
    if (named.length === 1) return named[0] as Tables[T];
    if (named.length > 1) throw this.#ambiguous(table, ref, named.slice(0, maxCandidates));
    const exact = rows.get(ref);
    if (exact !== undefined) return exact as Tables[T];
    const begun = rows.withPrefix(ref, maxCandidates);
    if (begun.length > 1) throw this.#ambiguous(table, ref, begun);
    const [only] = begun;
    if (only === undefined) throw notFound(table, ref);
    return only as Tables[T];
  }

  #ambiguous(table: TableName, ref: string, found: readonly StoredObject[]): StoreError {
    const { definition } = this.state.table(table);
    const candidates = found.map(idOf);
    const listed = found.map((object) => {
      const name = nameOf(definition, object);
      return name === idOf(object) ? name : `${name} (${idOf(object)})`;
    });
    return new StoreError(
      { code: "STORE_AMBIGUOUS", table, ref, candidates },
      `"${ref}" fits several of the ${table}: ${listed.join(", ")}; give more of the id`,
    );
  }
}

function notFound(table: TableName, ref: string): StoreError {
  return new StoreError({ code: "STORE_NOT_FOUND", table, ref }, `there is no "${ref}" among the ${table}`);
}
