import { assert } from "@warren/std";

import { sortedMap, type SortedMap } from "./sorted-map.ts";
import { idOf, type StoredObject, type TableDefinition } from "./tables.ts";

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
    const low = pairKey(value, "");
    const found: StoredObject[] = [];
    for (const [, id] of this.#pairs(index).getRange(low, low + afterAny)) {
      const object = this.#rows.get(id);
      assert(object !== undefined, `${id} is in index ${index} and not in ${this.definition.name}`);
      found.push(object);
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
      for (const key of old) if (!now.includes(key)) pairs.delete(pairKey(key, id));
      for (const key of now) if (!old.includes(key)) pairs.set(pairKey(key, id), id);
    }
    this.#rows.set(id, object);
    this.#list = undefined;
  }

  remove(id: string): void {
    const before = this.#rows.get(id);
    if (before === undefined) return;
    for (const [index, keysOf] of this.definition.indexes) {
      for (const key of keysOf(before)) this.#pairs(index).delete(pairKey(key, id));
    }
    this.#rows.delete(id);
    this.#list = undefined;
  }
}

/** Sorts by value, then by id. The length before it keeps a value apart from one that only begins so. */
function pairKey(value: string, id: string): string {
  return `${value.length}:${value}${id}`;
}
