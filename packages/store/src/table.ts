import { assert } from "@warren/std";

import { sortedMap, sortedMapOf, type SortedMap } from "./sorted-map.ts";
import { idOf, type StoredObject, type TableDefinition } from "./tables.ts";

const noKeys: readonly string[] = [];

/** Sorts after any character of an id. */
const afterAny = "\uffff";

/** Sorted ids; a single one without an array. Never changed, since copies of the table share it. */
type Posting = string | readonly string[];

/** One table at one version: rows by id, and indexes, each from a value to the ids of the rows that have it. */
export class Table {
  readonly definition: TableDefinition;
  #rows: SortedMap<StoredObject>;
  readonly #indexes: Map<string, SortedMap<Posting>>;
  #list: readonly StoredObject[] | undefined;

  constructor(definition: TableDefinition, copied?: Table) {
    this.definition = definition;
    this.#rows = copied === undefined ? sortedMap() : copied.#rows.clone();
    this.#indexes = new Map(
      [...definition.indexes.keys()].map((name) => [
        name,
        copied === undefined ? sortedMap<Posting>() : copied.#index(name).clone(),
      ]),
    );
  }

  #index(name: string): SortedMap<Posting> {
    const index = this.#indexes.get(name);
    // Its message is made only if it is needed.
    if (index === undefined) assert(false, `${this.definition.name} has no index "${name}"`);
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
    const posting = this.#index(index).get(value);
    if (posting === undefined) return [];
    return typeof posting === "string" ? [this.#row(posting, index)] : posting.map((id) => this.#row(id, index));
  }

  /** A row that an index names. */
  #row(id: string, index: string): StoredObject {
    const object = this.#rows.get(id);
    // As above: thousands of rows are read in a turn.
    if (object === undefined) assert(false, `${id} is in index ${index} and not in ${this.definition.name}`);
    return object;
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
    for (const [name, keysOf] of this.definition.indexes) {
      const old = before === undefined ? noKeys : keysOf(before);
      const now = keysOf(object);
      const index = this.#index(name);
      for (const key of old) if (!now.includes(key)) withdraw(index, key, id);
      for (const key of now) if (!old.includes(key)) enter(index, key, id);
    }
    this.#rows.set(id, object);
    this.#list = undefined;
  }

  /** Puts several objects. An empty table and objects sorted by id take a fraction of the time: nothing is searched for. */
  putAll(objects: readonly StoredObject[]): void {
    const ids = objects.map(idOf);
    if (this.size > 0 || ids.some((id, at) => at > 0 && id <= (ids[at - 1] as string))) {
      for (const object of objects) this.put(object);
      return;
    }
    this.#rows = sortedMapOf(ids, objects);
    for (const [name, keysOf] of this.definition.indexes) this.#indexes.set(name, indexOf(objects, keysOf));
    this.#list = undefined;
  }

  remove(id: string): void {
    const before = this.#rows.get(id);
    if (before === undefined) return;
    for (const [name, keysOf] of this.definition.indexes)
      for (const key of keysOf(before)) withdraw(this.#index(name), key, id);
    this.#rows.delete(id);
    this.#list = undefined;
  }
}

/** The index of objects that are in the order of their ids. */
function indexOf(
  objects: readonly StoredObject[],
  keysOf: (object: StoredObject) => readonly string[],
): SortedMap<Posting> {
  const postings = new Map<string, string | string[]>();
  for (const object of objects) {
    const id = idOf(object);
    for (const key of keysOf(object)) {
      const posting = postings.get(key);
      if (posting === undefined) postings.set(key, id);
      else if (typeof posting === "string") postings.set(key, [posting, id]);
      else posting.push(id);
    }
  }
  const keys = [...postings.keys()].sort();
  // Copies, since what `push` made has room for more.
  const values = keys.map((key) => {
    const posting = postings.get(key) as Posting;
    return typeof posting === "string" ? posting : posting.slice();
  });
  return sortedMapOf<Posting>(keys, values);
}

function enter(index: SortedMap<Posting>, value: string, id: string): void {
  const posting = index.get(value);
  if (posting === undefined) {
    index.set(value, id);
  } else if (typeof posting === "string") {
    index.set(value, posting < id ? [posting, id] : [id, posting]);
  } else {
    index.set(value, posting.toSpliced(placeOf(posting, id), 0, id));
  }
}

function withdraw(index: SortedMap<Posting>, value: string, id: string): void {
  const posting = index.get(value);
  if (typeof posting !== "object") index.delete(value);
  else if (posting.length === 2) index.set(value, posting[posting[0] === id ? 1 : 0] as string);
  else index.set(value, posting.toSpliced(placeOf(posting, id), 1));
}

/** The position of an id among sorted ones, or where it would be inserted. */
function placeOf(ids: readonly string[], id: string): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ids[middle] as string) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
