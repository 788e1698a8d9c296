/** Maps sorted by key, with copies in constant time: copies share their nodes, which are copied when they are changed. */
import sortedBTree, { simpleComparator } from "sorted-btree";

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

export function sortedMap<V>(): SortedMap<V> {
  return new BTree<V>(undefined, simpleComparator);
}
