import { assert } from "@warren/std";

import { sortedMap, type SortedMap } from "./sorted-map.ts";
import { idOf, type StoredObject, type TableDefinition } from "./tables.ts";

/** Parts an index's value from the id; below any character of either. */
const separator = "\u0000";
const afterSeparator = "\u0001";
/** Above any character of an id. */
const afterAny = "\uffff";

/** One table as it was at some version: rows by id, and for each index the sorted pairs of value and id. */
export class Table {
  readonly definition: TableDefinition;
  readonly #rows: SortedMap<StoredObject>;
  readonly #indexes: ReadonlyMap<string, SortedMap<string>>;
  #list: readonly StoredObject[] | undefined;

  constructor(definition: TableDefinition, copied?: Table) {
    this.definition = definition;
    this.#rows = copied === undefined ? sortedMap() : copied.#rows.clone();
    this.#indexes = new Map(
      [...definition.indexes.keys()].map((name) => [
        name,
        copied === undefined ? sortedMap<string>() : copied.#pairs(name).clone(),
      ]),
    );
  }

  #pairs(name: string): SortedMap<string> {
    const index = this.#indexes.get(name);
    assert(index !== undefined, `${this.definition.name} has no index "${name}"`);
    return index;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(id: string): StoredObject | undefined {
    return this.#rows.get(id);
  }

  list(): readonly StoredObject[] {
    this.#list ??= Object.freeze(this.#rows.valuesArray());
    return this.#list;
  }

  values(): IterableIterator<StoredObject> {
    return this.#rows.values();
  }

  first(): StoredObject | undefined {
    const id = this.#rows.minKey();
    return id === undefined ? undefined : this.#rows.get(id);
  }

  find(index: string, value: string): readonly StoredObject[] {
    const pairs = this.#pairs(index).getRange(value + separator, value + afterSeparator);
    const keysOf = this.definition.indexes.get(index);
    const found: StoredObject[] = [];
    for (const [, id] of pairs) {
      const object = this.#rows.get(id);
      // A value that itself holds the separator shares this range.
      if (object !== undefined && keysOf?.(object).includes(value)) found.push(object);
    }
    return found;
  }

  /** Objects whose id begins with `prefix`, at most `limit`. */
  withPrefix(prefix: string, limit: number): readonly StoredObject[] {
    return this.#rows.getRange(prefix, prefix + afterAny, false, limit).map(([, object]) => object);
  }

  /** A copy that can be changed without changing this one. */
  copy(): Table {
    return new Table(this.definition, this);
  }

  put(object: StoredObject): void {
    const id = idOf(object);
    const before = this.#rows.get(id);
    for (const [index, keysOf] of this.definition.indexes) {
      const old = before === undefined ? [] : keysOf(before);
      const now = keysOf(object);
      const pairs = this.#pairs(index);
      for (const key of old) if (!now.includes(key)) pairs.delete(key + separator + id);
      for (const key of now) if (!old.includes(key)) pairs.set(key + separator + id, id);
    }
    this.#rows.set(id, object);
    this.#list = undefined;
  }

  remove(id: string): void {
    const before = this.#rows.get(id);
    if (before === undefined) return;
    for (const [index, keysOf] of this.definition.indexes) {
      for (const key of keysOf(before)) this.#pairs(index).delete(key + separator + id);
    }
    this.#rows.delete(id);
    this.#list = undefined;
  }
}
