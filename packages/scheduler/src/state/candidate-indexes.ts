/**
 * Candidate indexes: nodes that pass the requirements that many tasks share, in the strategy's order.
 *
 * An index is for one set of shared requirements and one list of partitionings. It reads the world's journal only when it
 * is used, so a change costs an index that is in use one step, and one that is not in use nothing.
 *
 * I1: after `sync`, an index holds exactly the known nodes that pass its tests, each in its partition, by the keys that
 *     the node has now.
 */
import type { NodeOrder, Partitioning } from "../rules.ts";
import type { Node } from "./node.ts";
import { type Entry, type Needs, OrderedNodes, shortage } from "./ordered-nodes.ts";
import type { World } from "./world.ts";

/** The nodes of an index with the same value in every partitioning. */
export interface Partition {
  /** The value of its nodes in each partitioning. */
  readonly values: readonly string[];
  readonly nodes: OrderedNodes;
}

type Test = (node: Node) => boolean;

type Source = () => Iterable<Node> & { readonly size: number };

interface IndexOptions {
  readonly order: NodeOrder["keys"];
  readonly tests: readonly Test[];
  readonly partitions: readonly Partitioning[];
  readonly source: Source;
}

export class CandidateIndex {
  readonly #world: World;
  readonly #order: NodeOrder["keys"];
  readonly #tests: readonly Test[];
  readonly #partitionings: readonly Partitioning[];
  /** All nodes that can pass. */
  readonly #source: Source;
  readonly #partitions = new Map<string, Partition>();
  readonly #places = new Map<Node, { readonly entry: Entry; readonly partition: string }>();
  #position = 0;

  constructor(world: World, { order, tests, partitions, source }: IndexOptions) {
    this.#world = world;
    this.#order = order;
    this.#tests = tests;
    this.#partitionings = partitions;
    this.#source = source;
    this.#fill();
  }

  get size(): number {
    return this.#places.size;
  }

  partitions(): IterableIterator<Partition> {
    return this.#partitions.values();
  }

  partitionOf(node: Node): Partition | undefined {
    const place = this.#places.get(node);
    return place === undefined ? undefined : this.#partitions.get(place.partition);
  }

  entryOf(node: Node): Entry | undefined {
    return this.#places.get(node)?.entry;
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const partition of this.#partitions.values()) yield* partition.nodes;
  }

  /** The node with the smallest shortage of `needs`; the first by id among equals of different partitions. */
  nearest(needs: Needs): Node | undefined {
    let best: Node | undefined;
    for (const partition of this.#partitions.values()) {
      const node = partition.nodes.nearest(needs);
      if (node === undefined) continue;
      const by = best === undefined ? -1 : shortage(node.freeOf, needs) - shortage(best.freeOf, needs);
      if (best === undefined || by < 0 || (by === 0 && node.state.id < best.state.id)) best = node;
    }
    return best;
  }

  /** Reads the journal from where the index stopped. */
  sync(): void {
    const { journal, journalStart } = this.#world;
    const end = journalStart + journal.length;
    if (this.#position === end) return;
    if (this.#position < journalStart || end - this.#position > 2 * this.#source().size + 64) return this.#fill();
    const unread = journal.slice(this.#position - journalStart);
    this.#position = end;
    for (const node of unread.length > 8 ? new Set(unread) : unread) this.#move(node);
  }

  #fill(): void {
    this.#partitions.clear();
    this.#places.clear();
    const entries = new Map<string, Entry[]>();
    for (const node of this.#source()) {
      if (!this.#tests.every((passes) => passes(node))) continue;
      const [partition, entry] = this.#place(node);
      const list = entries.get(partition);
      if (list === undefined) entries.set(partition, [entry]);
      else list.push(entry);
    }
    for (const [partition, list] of entries) {
      const values = this.#valuesOf((list[0] as Entry).node);
      this.#partitions.set(partition, { values, nodes: new OrderedNodes(list) });
    }
    this.#position = this.#world.journalStart + this.#world.journal.length;
  }

  #move(node: Node): void {
    const place = this.#places.get(node);
    const before = place === undefined ? undefined : this.#partitions.get(place.partition);
    before?.nodes.remove((place as { readonly entry: Entry }).entry);
    if (node.known && this.#tests.every((passes) => passes(node))) {
      const [key, entry] = this.#place(node);
      let partition = this.#partitions.get(key);
      if (partition === undefined)
        this.#partitions.set(key, (partition = { values: this.#valuesOf(node), nodes: new OrderedNodes() }));
      partition.nodes.insert(entry);
    } else {
      this.#places.delete(node);
    }
    if (place !== undefined && before?.nodes.size === 0) this.#partitions.delete(place.partition);
  }

  #place(node: Node): [string, Entry] {
    const [first, second] = this.#order(node);
    const entry = { node, first, second };
    const partition = this.#partitionings.length === 0 ? "" : JSON.stringify(this.#valuesOf(node));
    this.#places.set(node, { entry, partition });
    return [partition, entry];
  }

  #valuesOf(node: Node): string[] {
    return this.#partitionings.map((each) => each.of(node.state));
  }
}

/** The requirements that an index covers: the tests that tasks share, with their keys. */
export interface IndexRequirements {
  /** Keys and tests by filter, most general first. */
  readonly shared: readonly { readonly key: string; readonly test: Test; readonly general: boolean }[];
  readonly partitions: readonly Partitioning[];
  /** A score that comes before the order. */
  readonly kept: { readonly key: string; readonly of: (node: Node) => number } | undefined;
}

export interface FoundIndex {
  /** Undefined: reading the nodes of the lookup one by one is cheaper. */
  readonly index: CandidateIndex | undefined;
  /** Whether its order begins with the kept score. */
  readonly kept: boolean;
  /** Whether its nodes passed all shared tests, or only the general ones. */
  readonly whole: boolean;
  /** Counts nodes that the missing tests refused; an index for all requirements is made once they are as many as it costs. */
  wasted(nodes: number): void;
}

/** All indexes together have at most this many entries per node of the cluster; the least recently used are dropped first. */
const indexedPerNode = 24;
const smallWorld = 100_000;

/** Indexes that begin with a kept score, at most: they serve one service each. */
const keptIndexes = 16;
/** More than any order's first key. */
const keptStep = 2 ** 24;

/** Share of all nodes that may be read and refused before an index of those that pass is made. */
const patience = 1 / 4;

export class CandidateIndexes {
  readonly #world: World;
  readonly #order: NodeOrder;
  /** In the order of use, the most recently used last. */
  readonly #indexes = new Map<string, CandidateIndex>();
  readonly #waste = new Map<string, number>();

  constructor(world: World, order: NodeOrder) {
    this.#world = world;
    this.#order = order;
  }

  /**
   * The index for these requirements, or a more general one until one of their own would have paid for itself. Where a
   * lookup names the only nodes that can pass: an index of these, or none.
   */
  find(requirements: IndexRequirements, among?: () => ReadonlySet<Node> | undefined): FoundIndex {
    const { shared, partitions } = requirements;
    const division = partitions.length === 0 ? "[]" : JSON.stringify(partitions.map((each) => each.key));
    const key = keyOf(division, shared);
    const waste = this.#waste.get(key) ?? 0;
    const wasted = (nodes: number): void => {
      if (nodes === 0) return;
      if (this.#waste.size > 50_000) this.#waste.clear();
      this.#waste.set(key, waste + nodes);
    };
    const nothing = (): void => undefined;
    const found = among?.();
    if (found !== undefined) {
      if (waste <= 2 * found.size && !this.#indexes.has(key))
        return { index: undefined, kept: false, whole: false, wasted };
      const source = (): ReadonlySet<Node> => among?.() ?? found;
      const kept = this.#keeps(key, requirements.kept);
      const index = this.#use(kept?.key ?? key, shared, partitions, { source, ...kept });
      return { index, kept: kept !== undefined, whole: true, wasted: nothing };
    }
    const general = shared.filter((each) => each.general);
    const isWhole = general.length === shared.length;
    const pays = isWhole || this.#indexes.has(key) || waste > this.#world.size * patience;
    const asks = pays ? shared : general;
    const kept = this.#keeps(keyOf(division, asks), requirements.kept);
    const index = this.#use(kept?.key ?? keyOf(division, asks), asks, partitions, kept);
    return { index, kept: kept !== undefined, whole: pays, wasted: pays ? nothing : wasted };
  }

  /** An order that begins with a kept score, while the limit of such indexes is not reached. */
  #keeps(
    key: string,
    kept: IndexRequirements["kept"],
  ): { readonly key: string; readonly order: NodeOrder["keys"] } | undefined {
    if (kept === undefined) return undefined;
    const own = `${key}\n\n${kept.key}`;
    if (!this.#indexes.has(own)) {
      let others = 0;
      for (const each of this.#indexes.keys()) if (each.includes("\n\n")) others += 1;
      if (others >= keptIndexes) return undefined;
    }
    return {
      key: own,
      order: (node) => {
        const [first, second] = this.#order.keys(node);
        return [kept.of(node as Node) * keptStep + first, second];
      },
    };
  }

  /** The index of all nodes that pass the shared tests, if there is one. */
  known(shared: IndexRequirements["shared"]): CandidateIndex | undefined {
    const key = keyOf("[]", shared);
    return this.#indexes.has(key) ? this.#use(key, shared, []) : undefined;
  }

  /** The index of all nodes that pass the shared tests, created if there is none. */
  whole(shared: IndexRequirements["shared"]): CandidateIndex {
    return this.#use(keyOf("[]", shared), shared, []);
  }

  #use(
    key: string,
    asks: IndexRequirements["shared"],
    partitions: readonly Partitioning[],
    how: { readonly source?: Source; readonly order?: NodeOrder["keys"] } = {},
  ): CandidateIndex {
    let index = this.#indexes.get(key);
    if (index === undefined) {
      const { source = () => this.#world.known, order = (node) => this.#order.keys(node) } = how;
      index = new CandidateIndex(this.#world, { order, tests: asks.map((each) => each.test), partitions, source });
      this.#waste.delete(key);
      this.#indexes.set(key, index);
      this.#evict(key);
      return index;
    }
    this.#indexes.delete(key);
    this.#indexes.set(key, index);
    index.sync();
    return index;
  }

  #evict(kept: string): void {
    let total = 0;
    for (const index of this.#indexes.values()) total += index.size + 16;
    const most = indexedPerNode * this.#world.size + smallWorld;
    for (const [key, index] of this.#indexes) {
      if (total <= most) return;
      if (key === kept) continue;
      this.#indexes.delete(key);
      total -= index.size + 16;
    }
  }
}

function keyOf(division: string, asks: IndexRequirements["shared"]): string {
  let key = division;
  for (const requirements of asks) key += `\n${requirements.key}`;
  return key;
}
