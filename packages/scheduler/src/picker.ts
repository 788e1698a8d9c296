/**
 * Chooses nodes for the tasks of one group, one task after the other.
 *
 * The candidates are divided into partitions: sets of nodes over which a rule's answer is constant (mostly there is one
 * partition). A cursor walks each partition in the strategy's order. A node on which the service has neither tasks nor
 * failures is *ordinary*: all rules before the order give every ordinary node of a partition the same score, so the first
 * that passes is the best of them. The other nodes are *exceptions*, compared one by one.
 *
 * A worked placement. Three tasks of `web`, each reserving 512 MiB, with `spread=node.labels.zone`; one task of `web`
 * runs already, on `a`:
 *
 *     node  zone   tasks  of web  free memory
 *     a     north  2      1       1 GiB
 *     b     north  3      0       2 GiB
 *     c     south  5      0       4 GiB
 *     d     south  4      0       256 MiB
 *
 * Partitions: north {a, b}, south {d, c}, each by tasks. Exception: a.
 *
 * 1. North: the cursor skips a and stops at b; a against b: 1 task of `web` against 0, so b is best. South: d is first in
 *    the order, but 256 MiB is too little, and by I1 the cursor never comes back to it; c passes. North holds 1 of `web`,
 *    south 0: **c**, by `preferences`, next best b. By I2, c is an exception now.
 * 2. North and south hold 1 each, so the scorers decide among a, b and c: 0 of `web` on b, 1 on a and on c: **b**, by
 *    `service-tasks`; next best is a, with 2 tasks against 6.
 * 3. North holds 2, south 1: **c** again, by `preferences`; next best is a, with 1 of `web` as b, but 2 tasks against 4.
 *
 * I1: while a group is placed nothing else changes and a node only fills up. So a node that was refused stays refused,
 *     and a cursor goes on behind the last node that it read.
 * I2: an ordinary node that takes a task becomes an exception.
 */
import type { Requirements, Rules, Score } from "./requirements.ts";
import { Heap } from "./heap.ts";
import { type Node, tieBreak } from "./state/node.ts";
import { compareEntries, type Entry, type OrderedNodes } from "./state/ordered-nodes.ts";
import type { FoundIndex, CandidateIndex, CandidateIndexes } from "./state/candidate-indexes.ts";
import { pathOf, type Topology } from "./state/topology.ts";
import type { World } from "./state/world.ts";
import type { Decided } from "./types.ts";

/** Up to this many nodes of a lookup are compared one by one, without an index. */
const shortList = 32;
/** The same, where the lookup is of the nodes of another service. */
const lookedUp = 256;
/** Groups up to this size compare exceptions one by one for each task; larger ones heap them once. */
const smallGroup = 4;
/** Nodes, equal by all rules before, among which the tail scorers choose. */
const runLength = 64;

interface Among {
  readonly nodes: ReadonlySet<Node>;
  /** Repeats the lookup, for an index that is kept; undefined if the result depends on where other tasks are. */
  readonly lasting: (() => ReadonlySet<Node> | undefined) | undefined;
}

/** A partition of the candidates, and the position up to which it was read. */
interface Cursor {
  /** The value of its nodes in each partitioning. */
  readonly values: readonly string[];
  /** Its path of preferences, by level. */
  readonly paths: readonly string[];
  /** One of its nodes. */
  readonly any: Node | undefined;
  readonly nodes: OrderedNodes | undefined;
  /** The last ordinary node that was read. */
  after: Entry | undefined;
  ended: boolean;
  /** No node of it passes any more. */
  closed: boolean;
  /** Ordinary nodes that are in the run already, though behind `after`. */
  readonly ahead: Set<Node>;
  /** Ordinary nodes that pass, best first. */
  readonly run: Node[];
  exceptions: Node[];
  heap: Heap<Node> | undefined;
}

type Pair = readonly [Node | undefined, Node | undefined];

export interface Choice {
  readonly node: Node;
  readonly decided: Decided;
  readonly text: string;
}

export class Picker {
  readonly #world: World;
  readonly #rules: Rules;
  readonly #requirements: Requirements;
  readonly #found: FoundIndex | undefined;
  #cursors: Cursor[] = [];
  readonly #exceptional = new Set<Node>();
  /** For each level of preferences: tasks by path. */
  readonly #paths: readonly Topology[];
  readonly #heaped: boolean;
  readonly #tasks: number;
  #cursor: Cursor | undefined;
  #wasted = 0;

  constructor(world: World, indexes: CandidateIndexes, rules: Rules, requirements: Requirements, tasks: number) {
    this.#world = world;
    this.#rules = rules;
    this.#requirements = requirements;
    this.#tasks = tasks;
    this.#paths = requirements.partitions
      .slice(0, requirements.levels)
      .map((_, level) => world.paths(requirements.partitions.slice(0, level + 1)));
    this.#heaped = tasks > smallGroup && requirements.exceptions !== undefined;
    const among = this.#among();
    const short = among !== undefined && (among.lasting === undefined || among.nodes.size <= shortList);
    this.#found = short ? undefined : indexes.find(requirements, among?.lasting);
    const index = this.#found?.index;
    if (index === undefined) {
      const nodes = among?.nodes ?? new Set();
      this.#divide(nodes);
      this.#wasted = nodes.size;
    } else {
      for (const partition of index.partitions()) {
        const [any] = requirements.ofParts.length === 0 ? [] : partition.nodes;
        this.#cursors.push(cursorOf(partition.values, requirements.levels, any, partition.nodes));
      }
      this.#except(index);
    }
  }

  /** The best node for one more task, or undefined if none passes. */
  next(): Choice | undefined {
    this.#found?.index?.sync();
    let best: Node | undefined;
    let bestCursor: Cursor | undefined;
    let second: Node | undefined;
    let secondCursor: Cursor | undefined;
    let closed = 0;
    for (const cursor of this.#cursors) {
      const [node] = this.#isOpen(cursor) ? this.#top(cursor, 1) : none;
      if (node === undefined) {
        cursor.closed = true;
        closed += 1;
      } else if (
        best === undefined ||
        bestCursor === undefined ||
        this.#compareIn(cursor, node, bestCursor, best) < 0
      ) {
        [second, secondCursor, best, bestCursor] = [best, bestCursor, node, cursor];
      } else if (
        second === undefined ||
        secondCursor === undefined ||
        this.#compareIn(cursor, node, secondCursor, second) < 0
      ) {
        [second, secondCursor] = [node, cursor];
      }
    }
    if (closed > 0) this.#cursors = this.#cursors.filter((cursor) => !cursor.closed);
    if (best === undefined || bestCursor === undefined) return undefined;
    const [, next] = this.#top(bestCursor, 2);
    if (
      next !== undefined &&
      (second === undefined ||
        secondCursor === undefined ||
        this.#compareIn(bestCursor, next, secondCursor, second) < 0)
    ) {
      [second, secondCursor] = [next, bestCursor];
    }
    const choice = this.#explain(best, bestCursor, second, secondCursor);
    this.#take(bestCursor, best);
    return choice;
  }

  /** Records that the last choice was placed. */
  took(node: Node): void {
    const cursor = this.#cursor as Cursor;
    if (this.#heaped) {
      cursor.heap ??= new Heap([], this.#compare);
      cursor.heap.push(node);
    } else if (!cursor.exceptions.includes(node)) {
      cursor.exceptions.push(node);
    }
    this.#exceptional.add(node);
  }

  /** Ends the picker: nodes that were read and refused count towards an index for these requirements. */
  done(): void {
    this.#found?.wasted(this.#wasted);
  }

  /** The shortest list of the only nodes that can pass, where a filter has one. */
  #among(): Among | undefined {
    let found: Among | undefined;
    const { task, checks } = this.#requirements;
    for (const { filter } of checks) {
      const nodes = filter.among?.(task, this.#world) as ReadonlySet<Node> | undefined;
      if (nodes === undefined || (found !== undefined && nodes.size >= found.nodes.size)) continue;
      const lasts = filter.reads === "state";
      if (!lasts && nodes.size > lookedUp) continue;
      found = {
        nodes,
        lasting: lasts ? () => filter.among?.(task, this.#world) as ReadonlySet<Node> | undefined : undefined,
      };
    }
    return found;
  }

  /** Partitions of a short list, in which every node is an exception. */
  #divide(nodes: ReadonlySet<Node>): void {
    const cursors = new Map<string, Cursor>();
    for (const node of nodes) {
      if (!node.known) continue;
      const values = this.#requirements.partitions.map((each) => each.of(node.state));
      const key = values.length === 0 ? "" : JSON.stringify(values);
      const cursor = cursors.get(key) ?? cursorOf(values, this.#requirements.levels, node, undefined);
      cursors.set(key, cursor);
      cursor.exceptions.push(node);
    }
    this.#cursors.push(...cursors.values());
    this.#heapAll();
  }

  #except(index: CandidateIndex): void {
    if (this.#requirements.exceptions === undefined) {
      for (const cursor of this.#cursors) {
        for (const node of cursor.nodes ?? []) cursor.exceptions.push(node);
        cursor.ended = true;
      }
      return;
    }
    const { exceptions, kept } = this.#requirements;
    let byPartition: Map<OrderedNodes, Cursor> | undefined;
    for (const nodes of kept === undefined || this.#found?.kept === true ? exceptions : [...exceptions, kept.nodes]) {
      for (const node of nodes) {
        const partition = index.partitionOf(node);
        if (partition === undefined || this.#exceptional.has(node)) continue;
        this.#exceptional.add(node);
        byPartition ??= new Map(this.#cursors.map((cursor) => [cursor.nodes as OrderedNodes, cursor]));
        byPartition.get(partition.nodes)?.exceptions.push(node);
      }
    }
    this.#heapAll();
  }

  #heapAll(): void {
    if (!this.#heaped) return;
    for (const cursor of this.#cursors) {
      if (cursor.exceptions.length > 0) cursor.heap = new Heap(cursor.exceptions, this.#compare);
      cursor.exceptions = [];
    }
  }

  /** Whether the partition passes the filters that answer for whole partitions. */
  #isOpen(cursor: Cursor): boolean {
    const { any } = cursor;
    return any === undefined || this.#requirements.ofParts.every(({ test }) => test(any));
  }

  /** The best nodes of a partition that pass; the second one only where it is wanted, or known already. */
  #top(cursor: Cursor, wanted: 1 | 2): Pair {
    if (this.#requirements.readsOtherNodes) {
      while (cursor.run[0] !== undefined && !this.#passes(cursor.run[0])) cursor.run.shift();
      while (cursor.run[1] !== undefined && !this.#passes(cursor.run[1])) cursor.run.splice(1, 1);
    }
    while (cursor.run.length < wanted && !cursor.ended) this.#fill(cursor, wanted - cursor.run.length);
    const [first, second] = cursor.run;
    return cursor.heap === undefined ? this.#topOfList(cursor, first, second) : this.#topOfHeap(cursor, first, second);
  }

  #topOfList(cursor: Cursor, first?: Node, second?: Node): Pair {
    for (const node of cursor.exceptions) {
      if (second !== undefined && this.#compare(node, second) >= 0) continue;
      if (!this.#passes(node)) continue;
      if (first === undefined || this.#compare(node, first) < 0) [first, second] = [node, first];
      else second = node;
    }
    return [first, second];
  }

  #topOfHeap(cursor: Cursor, first?: Node, second?: Node): Pair {
    const heap = cursor.heap as Heap<Node>;
    const top = this.#pop(heap);
    if (top === undefined) return [first, second];
    const next = this.#pop(heap);
    if (next !== undefined) heap.push(next);
    heap.push(top);
    const best = [first, second, top, next].filter((node) => node !== undefined).toSorted(this.#compare);
    return [best[0], best[1]];
  }

  #pop(heap: Heap<Node>): Node | undefined {
    for (;;) {
      const node = heap.pop();
      if (node === undefined || this.#passes(node)) return node;
    }
  }

  #take(cursor: Cursor, node: Node): void {
    this.#cursor = cursor;
    const at = cursor.run.indexOf(node);
    if (at >= 0) cursor.run.splice(at, 1);
    // It is the best of the partition, so if it is in the heap, it is at the top.
    else cursor.heap?.pop();
  }

  /** Reads ordinary nodes until enough pass or, where there are tail scorers, until a run of equal ones is read. */
  #fill(cursor: Cursor, wanted: number): void {
    const { unshared, checks, needs, tail } = this.#requirements;
    const tests = this.#found?.whole === true ? unshared : checks;
    const counts = this.#found?.whole === false;
    const run: Node[] = [];
    let first: number | undefined;
    const ended = (cursor.nodes as OrderedNodes).scan(cursor.after, needs, (entry) => {
      if (run.length > 0 && tail.length > 0 && entry.first !== first) return true;
      cursor.after = entry;
      const { node } = entry;
      if (this.#exceptional.has(node) || cursor.ahead.has(node)) return false;
      for (const { test } of tests) {
        if (test(node)) continue;
        if (counts) this.#wasted += 1;
        return false;
      }
      first = entry.first;
      run.push(node);
      return run.length >= (tail.length > 0 ? runLength : wanted);
    });
    cursor.ended = ended;
    if (run.length >= runLength && first !== undefined) this.#lookAhead(cursor, first, run);
    cursor.run.push(...(tail.length > 0 ? run.toSorted(this.#compare) : run));
  }

  /** Adds to a run the best nodes of a tail scorer that are equal to it by all rules before, but come later in the order. */
  #lookAhead(cursor: Cursor, first: number, run: Node[]): void {
    for (const best of this.#requirements.preferred) {
      let enough = Math.min(this.#tasks + 1, runLength);
      for (const node of run) if (best.has(node)) enough -= 1;
      if (enough <= 0) continue;
      for (const node of best) {
        const entry = this.#found?.index?.entryOf(node);
        if (entry?.first !== first || this.#found?.index?.partitionOf(node)?.nodes !== cursor.nodes) continue;
        if (cursor.after === undefined || compareEntries(entry, cursor.after) <= 0) continue;
        if (this.#exceptional.has(node) || cursor.ahead.has(node) || !this.#passes(node)) continue;
        cursor.ahead.add(node);
        run.push(node);
      }
    }
  }

  #passes(node: Node): boolean {
    for (const { test } of this.#requirements.checks) if (!test(node)) return false;
    return true;
  }

  #compareIn(cursorA: Cursor, a: Node, cursorB: Cursor, b: Node): number {
    const levels = cursorA === cursorB ? 0 : this.#requirements.levels;
    for (let level = 1; level <= levels; level += 1) {
      const by = this.#branch(cursorA, level) - this.#branch(cursorB, level);
      if (by !== 0) return by;
    }
    return this.#compare(a, b);
  }

  readonly #compare = (a: Node, b: Node): number => {
    const { lead, tail } = this.#requirements;
    for (let at = 0; at < lead.length; at += 1) {
      const { of } = lead[at] as Score;
      const by = of(a) - of(b);
      if (by !== 0) return by;
    }
    const [firstA, secondA] = this.#rules.order.keys(a);
    const [firstB, secondB] = this.#rules.order.keys(b);
    if (firstA !== firstB) return firstA - firstB;
    for (let at = 0; at < tail.length; at += 1) {
      const { of } = tail[at] as Score;
      const by = of(a) - of(b);
      if (by !== 0) return by;
    }
    return secondA - secondB || tieBreak(a, b);
  };

  /** Tasks of the service under the path of a cursor's partition. */
  #branch(cursor: Cursor, level: number): number {
    return this.#paths[level - 1]?.tasks(cursor.paths[level - 1] ?? "", this.#requirements.task.serviceId) ?? 0;
  }

  /** The first rule by which the best and the next best differ. */
  #explain(node: Node, cursor: Cursor, next: Node | undefined, nextCursor: Cursor | undefined): Choice {
    if (next === undefined || nextCursor === undefined) {
      return { node, decided: { by: "only" }, text: "the only node that passes" };
    }
    const nextNodeId = next.state.id;
    const against = next.state.hostname ?? nextNodeId;
    for (let level = 1; level <= this.#requirements.levels; level += 1) {
      const [value, nextValue] = [this.#branch(cursor, level), this.#branch(nextCursor, level)];
      if (value === nextValue) continue;
      const part = cursor.values[level - 1]?.slice(1) ?? "";
      const text = `preferences: ${value} of its service in ${this.#requirements.partitions[level - 1]?.key} "${part}", ${nextValue} where ${against} is`;
      return { node, decided: { by: "preferences", value, nextNodeId, nextValue }, text };
    }
    const decided = (by: string, value: number, nextValue: number, explain: (value: number) => string): Choice => ({
      node,
      decided: { by, value, nextNodeId, nextValue },
      text: `${by}: ${explain(value)}; on ${against}, next best, ${explain(nextValue)}`,
    });
    const keys = this.#rules.order.keys(node);
    const nextKeys = this.#rules.order.keys(next);
    const { orderScorer, order } = this.#rules;
    for (const { scorer, of } of this.#requirements.lead) {
      if (of(node) !== of(next)) return decided(scorer.name, of(node), of(next), (value) => scorer.explain(value));
    }
    if (keys[0] !== nextKeys[0])
      return decided(orderScorer.name, keys[0], nextKeys[0], (value) => orderScorer.explain(value));
    for (const { scorer, of } of this.#requirements.tail) {
      if (of(node) !== of(next)) return decided(scorer.name, of(node), of(next), (value) => scorer.explain(value));
    }
    if (keys[1] !== nextKeys[1]) return decided(order.tie, keys[1], nextKeys[1], (value) => order.explainTie(value));
    return {
      node,
      decided: { by: "seed", nextNodeId },
      text: `as good as ${against}, by every rule; the seed decided`,
    };
  }
}

const none: Pair = [undefined, undefined];

function cursorOf(
  values: readonly string[],
  levels: number,
  any: Node | undefined,
  nodes: OrderedNodes | undefined,
): Cursor {
  const paths = values.slice(0, levels).map((_, level) => pathOf(values.slice(0, level + 1)));
  const ended = nodes === undefined;
  return {
    values,
    paths,
    any,
    nodes,
    after: undefined,
    ended,
    closed: false,
    ahead: new Set(),
    run: [],
    exceptions: [],
    heap: undefined,
  };
}
