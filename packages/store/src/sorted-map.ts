/** Maps sorted by key, with copies in constant time: copies share their nodes, which are copied when they are changed. */
import sortedBTree from "sorted-btree";
import { bulkLoad } from "sorted-btree/extended/bulkLoad.js";

export interface SortedMap<V> {
  readonly size: number;
  get(key: string): V | undefined;
  has(key: string): boolean;
  set(key: string, value: V): boolean;
  delete(key: string): boolean;
  minKey(): string | undefined;
  values(firstKey?: string): IterableIterator<V>;
  valuesArray(): V[];
  /** Pairs with `low <= key < high`, at most `limit`. */
  getRange(low: string, high: string, includeHigh?: boolean, limit?: number): [string, V][];
  clone(): SortedMap<V>;
}

type Constructor = new <V>(entries: undefined, compare: (a: string, b: string) => number) => SortedMap<V>;

// The package is CommonJS with a `default`: Node imports its exports, a bundler or test runner perhaps the class itself.
const BTree: Constructor = "default" in sortedBTree ? sortedBTree.default : sortedBTree;

const compare = (a: string, b: string): number => (a < b ? -1 : a === b ? 0 : 1);

/** Entries of a node of the tree, at most: the package's default. */
const nodeSize = 32;

export function sortedMap<V>(): SortedMap<V> {
  return new BTree<V>(undefined, compare);
}

/** A map of `keys`, strictly ascending, and their values, built without a search for each key. */
export function sortedMapOf<V>(keys: readonly string[], values: readonly V[]): SortedMap<V> {
  return bulkLoad([...keys], [...values], nodeSize, compare);
}
