/**
 * Lists of the nodes that pass what many tasks ask, kept in the strategy's order.
 *
 * A pool stands for one text of shared asks and one way of dividing the nodes. It reads the world's journal only when
 * it is used, so a change costs a pool one step, and a pool that nobody uses costs nothing.
 *
 * I1: after `sync`, a pool holds exactly the known nodes that pass its tests, each in the cell of its division, by the
 *     keys that it has now.
 */
import type { NodeOrder, Partition } from "../rules.ts";
import type { Node } from "./node.ts";
import { type Entry, type Needs, OrderedNodes, shortage } from "./ordered-nodes.ts";
import type { World } from "./world.ts";

/** A part of a pool. */
export interface Cell {
  /** What each partition says of its nodes. */
  readonly values: readonly string[];
  readonly nodes: OrderedNodes;
}

type Test = (node: Node) => boolean;

type Source = () => Iterable<Node> & { readonly size: number };

interface PoolOptions {
  readonly order: NodeOrder["keys"];
  readonly tests: readonly Test[];
  readonly partitions: readonly Partition[];
  readonly source: Source;
}

export class Pool {
  readonly #world: World;
  readonly #order: NodeOrder["keys"];
  readonly #tests: readonly Test[];
  readonly #partitions: readonly Partition[];
  /** The nodes that may pass at all. */
  readonly #source: Source;
  readonly #cells = new Map<string, Cell>();
  readonly #places = new Map<Node, { readonly entry: Entry; readonly cell: string }>();
  #position = 0;

  constructor(world: World, { order, tests, partitions, source }: PoolOptions) {
    this.#world = world;
    this.#order = order;
    this.#tests = tests;
    this.#partitions = partitions;
    this.#source = source;
    this.#fill();
  }

  get size(): number {
    return this.#places.size;
  }

  cells(): IterableIterator<Cell> {
    return this.#cells.values();
  }

  cellOf(node: Node): Cell | undefined {
    const place = this.#places.get(node);
    return place === undefined ? undefined : this.#cells.get(place.cell);
  }

  entryOf(node: Node): Entry | undefined {
    return this.#places.get(node)?.entry;
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const cell of this.#cells.values()) yield* cell.nodes;
  }

  /** The node that lacks the least of `needs`, the first by id among equals of different cells. */
  nearest(needs: Needs): Node | undefined {
    let best: Node | undefined;
    for (const cell of this.#cells.values()) {
      const node = cell.nodes.nearest(needs);
      if (node === undefined) continue;
      const by = best === undefined ? -1 : shortage(node.freeOf, needs) - shortage(best.freeOf, needs);
      if (best === undefined || by < 0 || (by === 0 && node.state.id < best.state.id)) best = node;
    }
    return best;
  }

  /** Reads on in the journal. */
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
    this.#cells.clear();
    this.#places.clear();
    const entries = new Map<string, Entry[]>();
    for (const node of this.#source()) {
      if (!this.#tests.every((passes) => passes(node))) continue;
      const [cell, entry] = this.#place(node);
      const list = entries.get(cell);
      if (list === undefined) entries.set(cell, [entry]);
      else list.push(entry);
    }
    for (const [cell, list] of entries) {
      const values = this.#valuesOf((list[0] as Entry).node);
      this.#cells.set(cell, { values, nodes: new OrderedNodes(list) });
    }
    this.#position = this.#world.journalStart + this.#world.journal.length;
  }

  #move(node: Node): void {
    const place = this.#places.get(node);
    const before = place === undefined ? undefined : this.#cells.get(place.cell);
    before?.nodes.remove((place as { readonly entry: Entry }).entry);
    if (node.known && this.#tests.every((passes) => passes(node))) {
      const [key, entry] = this.#place(node);
      let cell = this.#cells.get(key);
      if (cell === undefined)
        this.#cells.set(key, (cell = { values: this.#valuesOf(node), nodes: new OrderedNodes() }));
      cell.nodes.insert(entry);
    } else {
      this.#places.delete(node);
    }
    if (place !== undefined && before?.nodes.size === 0) this.#cells.delete(place.cell);
  }

  #place(node: Node): [string, Entry] {
    const [first, second] = this.#order(node);
    const entry = { node, first, second };
    const cell = this.#partitions.length === 0 ? "" : JSON.stringify(this.#valuesOf(node));
    this.#places.set(node, { entry, cell });
    return [cell, entry];
  }

  #valuesOf(node: Node): string[] {
    return this.#partitions.map((each) => each.of(node.state));
  }
}

/** What a pool is asked for: the tests that tasks share, by the texts of their asks. */
export interface PoolAsk {
  /** Texts by filter, most general first. */
  readonly shared: readonly { readonly key: string; readonly test: Test; readonly general: boolean }[];
  readonly partitions: readonly Partition[];
  /** A score that goes before the order. */
  readonly kept: { readonly key: string; readonly of: (node: Node) => number } | undefined;
}

export interface FoundPool {
  /** Undefined: to read the nodes of the lookup one by one is cheaper still. */
  readonly pool: Pool | undefined;
  /** Whether its order has the kept score in front. */
  readonly kept: boolean;
  /** Whether its nodes passed all shared tests, or only the general ones. */
  readonly whole: boolean;
  /** To be told how many nodes the missing tests refused; a pool of its own is made once that has cost as much. */
  wasted(nodes: number): void;
}

/** All pools together hold at most this many nodes for each node there is; the least used go first. */
const poolsPerNode = 24;
const smallWorld = 100_000;

/** Lists with a score in front serve one service each, so there are few. */
const keptPools = 16;
/** More than any order's first key. */
const keptStep = 2 ** 24;

/** Part of the nodes that may be refused in vain before a list of those that pass is made. */
const patience = 1 / 4;

export class Pools {
  readonly #world: World;
  readonly #order: NodeOrder;
  /** In order of use, the last used last. */
  readonly #pools = new Map<string, Pool>();
  readonly #waste = new Map<string, number>();

  constructor(world: World, order: NodeOrder) {
    this.#world = world;
    this.#order = order;
  }

  /**
   * The pool for these asks, or a more general one while there is no proof that one of their own would pay. Where a
   * lookup names the only nodes that can pass, a pool of their own, or none.
   */
  find(ask: PoolAsk, among?: () => ReadonlySet<Node> | undefined): FoundPool {
    const { shared, partitions } = ask;
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
      if (waste <= 2 * found.size && !this.#pools.has(key))
        return { pool: undefined, kept: false, whole: false, wasted };
      const source = (): ReadonlySet<Node> => among?.() ?? found;
      const kept = this.#keeps(key, ask.kept);
      const pool = this.#use(kept?.key ?? key, shared, partitions, { source, ...kept });
      return { pool, kept: kept !== undefined, whole: true, wasted: nothing };
    }
    const general = shared.filter((each) => each.general);
    const isWhole = general.length === shared.length;
    const pays = isWhole || this.#pools.has(key) || waste > this.#world.size * patience;
    const asks = pays ? shared : general;
    const kept = this.#keeps(keyOf(division, asks), ask.kept);
    const pool = this.#use(kept?.key ?? keyOf(division, asks), asks, partitions, kept);
    return { pool, kept: kept !== undefined, whole: pays, wasted: pays ? nothing : wasted };
  }

  /** An order with a score in front, while there is room for lists that serve one service each. */
  #keeps(key: string, kept: PoolAsk["kept"]): { readonly key: string; readonly order: NodeOrder["keys"] } | undefined {
    if (kept === undefined) return undefined;
    const own = `${key}\n\n${kept.key}`;
    if (!this.#pools.has(own)) {
      let others = 0;
      for (const each of this.#pools.keys()) if (each.includes("\n\n")) others += 1;
      if (others >= keptPools) return undefined;
    }
    return {
      key: own,
      order: (node) => {
        const [first, second] = this.#order.keys(node);
        return [kept.of(node as Node) * keptStep + first, second];
      },
    };
  }

  /** The pool of all nodes that pass the shared tests, if there is one. */
  known(shared: PoolAsk["shared"]): Pool | undefined {
    const key = keyOf("[]", shared);
    return this.#pools.has(key) ? this.#use(key, shared, []) : undefined;
  }

  /** The pool of all nodes that pass the shared tests, made if there is none. */
  whole(shared: PoolAsk["shared"]): Pool {
    return this.#use(keyOf("[]", shared), shared, []);
  }

  #use(
    key: string,
    asks: PoolAsk["shared"],
    partitions: readonly Partition[],
    how: { readonly source?: Source; readonly order?: NodeOrder["keys"] } = {},
  ): Pool {
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const { source = () => this.#world.known, order = (node) => this.#order.keys(node) } = how;
      pool = new Pool(this.#world, { order, tests: asks.map((each) => each.test), partitions, source });
      this.#waste.delete(key);
      this.#pools.set(key, pool);
      this.#evict(key);
      return pool;
    }
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    pool.sync();
    return pool;
  }

  #evict(kept: string): void {
    let total = 0;
    for (const pool of this.#pools.values()) total += pool.size + 16;
    const most = poolsPerNode * this.#world.size + smallWorld;
    for (const [key, pool] of this.#pools) {
      if (total <= most) return;
      if (key === kept) continue;
      this.#pools.delete(key);
      total -= pool.size + 16;
    }
  }
}

function keyOf(division: string, asks: PoolAsk["shared"]): string {
  let key = division;
  for (const ask of asks) key += `\n${ask.key}`;
  return key;
}
