/** Maps in the order of their keys that are copied in constant time: what is shared is copied only where it is changed. */
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

// The package is CommonJS with a `default`: Node gives its exports, a bundler or test runner may give the class itself.
const BTree: Constructor = "default" in sortedBTree ? sortedBTree.default : sortedBTree;

const compare = (a: string, b: string): number => (a < b ? -1 : a === b ? 0 : 1);

/** Entries of a node of the tree, at most: the package's default. */
const nodeSize = 32;

export function sortedMap<V>(): SortedMap<V> {
  return new BTree<V>(undefined, compare);
}

/** A map of these keys, which ascend strictly, and their values: without a search for each key's place. */
export function sortedMapOf<V>(keys: readonly string[], values: readonly V[]): SortedMap<V> {
  return bulkLoad([...keys], [...values], nodeSize, compare);
}
