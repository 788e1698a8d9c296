/**
 * Nodes in an order, in blocks: a B-tree of two levels.
 *
 * Finding, inserting and removing cost log n and the shift of one block; skipping nodes that are too full costs one
 * comparison per block.
 *
 * I1: entries are sorted by (first, second, hash, id) over all blocks, and no block is empty.
 * I2: a block's `most[k]` is at least the free amount of kind `k` on each of its nodes, so a block with less than a
 *     task needs holds no node for it.
 */
import { type Node, tieBreak } from "./node.ts";

/** A node's entry. Its keys are those that it was inserted with, even if the node's have changed since. */
export interface Entry {
  readonly node: Node;
  readonly first: number;
  readonly second: number;
}

/** Amounts of kinds, by the kinds' numbers. */
export type Needs = readonly (readonly [kind: number, amount: number])[];

interface Block {
  entries: Entry[];
  most: number[];
}

const blockSize = 128;

export class OrderedNodes {
  #blocks: Block[] = [];
  size = 0;

  constructor(entries: Entry[] = []) {
    const sorted = entries.toSorted(compareEntries);
    for (let at = 0; at < sorted.length; at += blockSize) {
      this.#blocks.push(blockOf(sorted.slice(at, at + blockSize)));
    }
    this.size = sorted.length;
  }

  insert(entry: Entry): void {
    this.size += 1;
    if (this.#blocks.length === 0) {
      this.#blocks.push(blockOf([entry]));
      return;
    }
    const at = Math.min(this.#blockFor(entry), this.#blocks.length - 1);
    const block = this.#blocks[at] as Block;
    block.entries.splice(position(block.entries, entry), 0, entry);
    raise(block.most, entry.node);
    if (block.entries.length <= 2 * blockSize) return;
    const tail = block.entries.splice(blockSize);
    this.#blocks.splice(at, 1, blockOf(block.entries), blockOf(tail));
  }

  remove(entry: Entry): void {
    const at = this.#blockFor(entry);
    const block = this.#blocks[at] as Block;
    block.entries.splice(position(block.entries, entry), 1);
    this.size -= 1;
    if (block.entries.length === 0) this.#blocks.splice(at, 1);
  }

  /**
   * Visits entries after `after` (all, if undefined), in order, until `visit` returns that it stops. Blocks whose nodes
   * all have less than `needs` free are skipped. True if the end was reached.
   */
  scan(after: Entry | undefined, needs: Needs, visit: (entry: Entry) => boolean): boolean {
    let start = after === undefined ? 0 : this.#blockFor(after);
    for (; start < this.#blocks.length; start += 1) {
      const block = this.#blocks[start] as Block;
      if (!mayFit(block, needs)) continue;
      const from = after === undefined ? 0 : positionAfter(block.entries, after);
      for (let at = from; at < block.entries.length; at += 1) {
        if (visit(block.entries[at] as Entry)) return false;
      }
      // No node here was accepted: the block's bound may be out of date, so it is computed anew.
      if (needs.length > 0 && from === 0) block.most = mostOf(block.entries);
    }
    return true;
  }

  /** The node with the smallest shortage of `needs`, as a share of the need; the first in order among equals. */
  nearest(needs: Needs): Node | undefined {
    let best: Node | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const block of this.#blocks) {
      if (shortage(block.most, needs) >= least) continue;
      block.most = mostOf(block.entries);
      if (shortage(block.most, needs) >= least) continue;
      for (const { node } of block.entries) {
        const lacks = shortage(node.freeOf, needs);
        if (lacks >= least) continue;
        least = lacks;
        best = node;
      }
    }
    return best;
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const block of this.#blocks) for (const { node } of block.entries) yield node;
  }

  /** The first block whose last entry is not before `entry`. */
  #blockFor(entry: Entry): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const last = (this.#blocks[middle] as Block).entries.at(-1) as Entry;
      if (compareEntries(last, entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function compareEntries(a: Entry, b: Entry): number {
  return a.first - b.first || a.second - b.second || tieBreak(a.node, b.node);
}

function position(entries: readonly Entry[], entry: Entry): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareEntries(entries[middle] as Entry, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function positionAfter(entries: readonly Entry[], entry: Entry): number {
  const at = position(entries, entry);
  const there = entries[at];
  return there !== undefined && compareEntries(there, entry) === 0 ? at + 1 : at;
}

function blockOf(entries: Entry[]): Block {
  return { entries, most: mostOf(entries) };
}

function mostOf(entries: readonly Entry[]): number[] {
  const most: number[] = [];
  for (const { node } of entries) raise(most, node);
  return most;
}

function raise(most: number[], { freeOf }: Node): void {
  for (let kind = 0; kind < freeOf.length; kind += 1) {
    const free = freeOf[kind] as number;
    if (!((most[kind] as number) >= free)) most[kind] = free;
  }
}

function mayFit({ most }: Block, needs: Needs): boolean {
  for (let at = 0; at < needs.length; at += 1) {
    const [kind, amount] = needs[at] as Needs[number];
    if ((most[kind] ?? 0) < amount) return false;
  }
  return true;
}

/** The missing amount of the scarcest kind, as a share of the need. */
export function shortage(free: readonly number[], needs: Needs): number {
  let worst = 0;
  for (const [kind, amount] of needs) worst = Math.max(worst, (amount - (free[kind] ?? 0)) / amount);
  return worst;
}
