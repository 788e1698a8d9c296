/**
 * Picks nodes for the tasks of one group, one after the other.
 *
 * The nodes that may do are divided into lanes: the parts over which some rule's answer is constant (one lane, mostly).
 * In a lane, nodes where the service has no history are *ordinary*: all rules before the strategy's order find them
 * equal, so the first that passes, in that order, is the best. The few others are *exceptions* and compared one by one.
 *
 * I1: while a group is placed nothing else changes; a node only fills up. So a node that was refused is done with, and
 *     a lane goes on behind the last node that it looked at.
 * I2: an ordinary node that takes a task becomes an exception.
 */
import type { Ask, Rules, Score } from "./ask.ts";
import { Heap } from "./heap.ts";
import { type Node, tieBreak } from "./state/node.ts";
import { compareEntries, type Entry, type OrderedNodes } from "./state/ordered-nodes.ts";
import type { FoundPool, Pool, Pools } from "./state/pools.ts";
import { pathOf, type Topology } from "./state/topology.ts";
import type { World } from "./state/world.ts";
import type { Decided } from "./types.ts";

/** Nodes that a lookup yields are always compared one by one up to this many. */
const shortList = 32;
/** The same, where the tasks of another service make the list. */
const lookedUp = 256;
/** Groups up to this size compare exceptions one by one for each task; larger ones heap them once. */
const smallGroup = 4;
/** How many nodes that are equal until then the tail scorers choose among. */
const runLength = 64;

interface Among {
  readonly nodes: ReadonlySet<Node>;
  /** Looks them up anew, for a pool; undefined if the task's place among other tasks decides. */
  readonly lasting: (() => ReadonlySet<Node> | undefined) | undefined;
}

interface Lane {
  readonly values: readonly string[];
  /** Its path of preferences, by level. */
  readonly paths: readonly string[];
  /** One of its nodes. */
  readonly any: Node | undefined;
  readonly nodes: OrderedNodes | undefined;
  /** The last ordinary node that was looked at. */
  after: Entry | undefined;
  ended: boolean;
  /** Nothing passes any more. */
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
  readonly #ask: Ask;
  readonly #found: FoundPool | undefined;
  #lanes: Lane[] = [];
  readonly #exceptional = new Set<Node>();
  /** By level of preferences, what each path holds. */
  readonly #paths: readonly Topology[];
  readonly #heaped: boolean;
  readonly #tasks: number;
  #lane: Lane | undefined;
  #wasted = 0;

  constructor(world: World, pools: Pools, rules: Rules, ask: Ask, tasks: number) {
    this.#world = world;
    this.#rules = rules;
    this.#ask = ask;
    this.#tasks = tasks;
    this.#paths = ask.partitions
      .slice(0, ask.levels)
      .map((_, level) => world.paths(ask.partitions.slice(0, level + 1)));
    this.#heaped = tasks > smallGroup && ask.exceptions !== undefined;
    const among = this.#among();
    const short = among !== undefined && (among.lasting === undefined || among.nodes.size <= shortList);
    this.#found = short ? undefined : pools.find(ask, among?.lasting);
    const pool = this.#found?.pool;
    if (pool === undefined) {
      const nodes = among?.nodes ?? new Set();
      this.#divide(nodes);
      this.#wasted = nodes.size;
    } else {
      for (const cell of pool.cells()) {
        const [any] = ask.ofParts.length === 0 ? [] : cell.nodes;
        this.#lanes.push(laneOf(cell.values, ask.levels, any, cell.nodes));
      }
      this.#except(pool);
    }
  }

  /** The best node for one more task, or undefined if none passes. */
  next(): Choice | undefined {
    this.#found?.pool?.sync();
    let best: Node | undefined;
    let bestLane: Lane | undefined;
    let second: Node | undefined;
    let secondLane: Lane | undefined;
    let closed = 0;
    for (const lane of this.#lanes) {
      const [node] = this.#isOpen(lane) ? this.#top(lane, 1) : none;
      if (node === undefined) {
        lane.closed = true;
        closed += 1;
      } else if (best === undefined || bestLane === undefined || this.#compareIn(lane, node, bestLane, best) < 0) {
        [second, secondLane, best, bestLane] = [best, bestLane, node, lane];
      } else if (
        second === undefined ||
        secondLane === undefined ||
        this.#compareIn(lane, node, secondLane, second) < 0
      ) {
        [second, secondLane] = [node, lane];
      }
    }
    if (closed > 0) this.#lanes = this.#lanes.filter((lane) => !lane.closed);
    if (best === undefined || bestLane === undefined) return undefined;
    const [, next] = this.#top(bestLane, 2);
    if (
      next !== undefined &&
      (second === undefined || secondLane === undefined || this.#compareIn(bestLane, next, secondLane, second) < 0)
    ) {
      [second, secondLane] = [next, bestLane];
    }
    const choice = this.#explain(best, bestLane, second, secondLane);
    this.#take(bestLane, best);
    return choice;
  }

  /** Tells that the last choice holds its task now. */
  took(node: Node): void {
    const lane = this.#lane as Lane;
    if (this.#heaped) {
      lane.heap ??= new Heap([], this.#compare);
      lane.heap.push(node);
    } else if (!lane.exceptions.includes(node)) {
      lane.exceptions.push(node);
    }
    this.#exceptional.add(node);
  }

  /** Once no more is asked of this picker. */
  done(): void {
    this.#found?.wasted(this.#wasted);
  }

  /** The shortest list of the only nodes that can pass, where a filter has one. */
  #among(): Among | undefined {
    let found: Among | undefined;
    const { task, checks } = this.#ask;
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

  /** Lanes of a short list: every node is an exception. */
  #divide(nodes: ReadonlySet<Node>): void {
    const lanes = new Map<string, Lane>();
    for (const node of nodes) {
      if (!node.known) continue;
      const values = this.#ask.partitions.map((each) => each.of(node.state));
      const key = values.length === 0 ? "" : JSON.stringify(values);
      const lane = lanes.get(key) ?? laneOf(values, this.#ask.levels, node, undefined);
      lanes.set(key, lane);
      lane.exceptions.push(node);
    }
    this.#lanes.push(...lanes.values());
    this.#heapAll();
  }

  #except(pool: Pool): void {
    if (this.#ask.exceptions === undefined) {
      for (const lane of this.#lanes) {
        for (const node of lane.nodes ?? []) lane.exceptions.push(node);
        lane.ended = true;
      }
      return;
    }
    const { exceptions, kept } = this.#ask;
    let byCell: Map<OrderedNodes, Lane> | undefined;
    for (const nodes of kept === undefined || this.#found?.kept === true ? exceptions : [...exceptions, kept.nodes]) {
      for (const node of nodes) {
        const cell = pool.cellOf(node);
        if (cell === undefined || this.#exceptional.has(node)) continue;
        this.#exceptional.add(node);
        byCell ??= new Map(this.#lanes.map((lane) => [lane.nodes as OrderedNodes, lane]));
        byCell.get(cell.nodes)?.exceptions.push(node);
      }
    }
    this.#heapAll();
  }

  #heapAll(): void {
    if (!this.#heaped) return;
    for (const lane of this.#lanes) {
      if (lane.exceptions.length > 0) lane.heap = new Heap(lane.exceptions, this.#compare);
      lane.exceptions = [];
    }
  }

  /** Whether the filters that answer for whole parts let this one in. */
  #isOpen(lane: Lane): boolean {
    const { any } = lane;
    return any === undefined || this.#ask.ofParts.every(({ test }) => test(any));
  }

  /** The best nodes of a lane that pass; the second only where it is wanted, or at hand. */
  #top(lane: Lane, wanted: 1 | 2): Pair {
    if (this.#ask.worldly) {
      while (lane.run[0] !== undefined && !this.#passes(lane.run[0])) lane.run.shift();
      while (lane.run[1] !== undefined && !this.#passes(lane.run[1])) lane.run.splice(1, 1);
    }
    while (lane.run.length < wanted && !lane.ended) this.#fill(lane, wanted - lane.run.length);
    const [first, second] = lane.run;
    return lane.heap === undefined ? this.#topOfList(lane, first, second) : this.#topOfHeap(lane, first, second);
  }

  #topOfList(lane: Lane, first?: Node, second?: Node): Pair {
    for (const node of lane.exceptions) {
      if (second !== undefined && this.#compare(node, second) >= 0) continue;
      if (!this.#passes(node)) continue;
      if (first === undefined || this.#compare(node, first) < 0) [first, second] = [node, first];
      else second = node;
    }
    return [first, second];
  }

  #topOfHeap(lane: Lane, first?: Node, second?: Node): Pair {
    const heap = lane.heap as Heap<Node>;
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

  #take(lane: Lane, node: Node): void {
    this.#lane = lane;
    const at = lane.run.indexOf(node);
    if (at >= 0) lane.run.splice(at, 1);
    // It is the best of the lane, so if it is in the heap it is on top.
    else lane.heap?.pop();
  }

  /** Looks at ordinary nodes until enough pass or, where there are tail scorers, until a run of equals is read. */
  #fill(lane: Lane, wanted: number): void {
    const { unshared, checks, needs, tail } = this.#ask;
    const tests = this.#found?.whole === true ? unshared : checks;
    const counts = this.#found?.whole === false;
    const run: Node[] = [];
    let first: number | undefined;
    const ended = (lane.nodes as OrderedNodes).scan(lane.after, needs, (entry) => {
      if (run.length > 0 && tail.length > 0 && entry.first !== first) return true;
      lane.after = entry;
      const { node } = entry;
      if (this.#exceptional.has(node) || lane.ahead.has(node)) return false;
      for (const { test } of tests) {
        if (test(node)) continue;
        if (counts) this.#wasted += 1;
        return false;
      }
      first = entry.first;
      run.push(node);
      return run.length >= (tail.length > 0 ? runLength : wanted);
    });
    lane.ended = ended;
    if (run.length >= runLength && first !== undefined) this.#lookAhead(lane, first, run);
    lane.run.push(...(tail.length > 0 ? run.toSorted(this.#compare) : run));
  }

  /** Adds those to a run that a tail score finds best and that are equal to it until then, but further behind. */
  #lookAhead(lane: Lane, first: number, run: Node[]): void {
    for (const best of this.#ask.preferred) {
      let enough = Math.min(this.#tasks + 1, runLength);
      for (const node of run) if (best.has(node)) enough -= 1;
      if (enough <= 0) continue;
      for (const node of best) {
        const entry = this.#found?.pool?.entryOf(node);
        if (entry?.first !== first || this.#found?.pool?.cellOf(node)?.nodes !== lane.nodes) continue;
        if (lane.after === undefined || compareEntries(entry, lane.after) <= 0) continue;
        if (this.#exceptional.has(node) || lane.ahead.has(node) || !this.#passes(node)) continue;
        lane.ahead.add(node);
        run.push(node);
      }
    }
  }

  #passes(node: Node): boolean {
    for (const { test } of this.#ask.checks) if (!test(node)) return false;
    return true;
  }

  #compareIn(laneA: Lane, a: Node, laneB: Lane, b: Node): number {
    const levels = laneA === laneB ? 0 : this.#ask.levels;
    for (let level = 1; level <= levels; level += 1) {
      const by = this.#branch(laneA, level) - this.#branch(laneB, level);
      if (by !== 0) return by;
    }
    return this.#compare(a, b);
  }

  readonly #compare = (a: Node, b: Node): number => {
    const { lead, tail } = this.#ask;
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

  /** Tasks of the service under a lane's path. */
  #branch(lane: Lane, level: number): number {
    return this.#paths[level - 1]?.tasks(lane.paths[level - 1] ?? "", this.#ask.task.serviceId) ?? 0;
  }

  /** The first rule that sees a difference between the best and the next best. */
  #explain(node: Node, lane: Lane, next: Node | undefined, nextLane: Lane | undefined): Choice {
    if (next === undefined || nextLane === undefined) {
      return { node, decided: { by: "only" }, text: "the only node that passes" };
    }
    const nextNodeId = next.state.id;
    const against = next.state.hostname ?? nextNodeId;
    for (let level = 1; level <= this.#ask.levels; level += 1) {
      const [value, nextValue] = [this.#branch(lane, level), this.#branch(nextLane, level)];
      if (value === nextValue) continue;
      const part = lane.values[level - 1]?.slice(1) ?? "";
      const text = `preferences: ${value} of its service in ${this.#ask.partitions[level - 1]?.key} "${part}", ${nextValue} where ${against} is`;
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
    for (const { scorer, of } of this.#ask.lead) {
      if (of(node) !== of(next)) return decided(scorer.name, of(node), of(next), (value) => scorer.explain(value));
    }
    if (keys[0] !== nextKeys[0])
      return decided(orderScorer.name, keys[0], nextKeys[0], (value) => orderScorer.explain(value));
    for (const { scorer, of } of this.#ask.tail) {
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

function laneOf(
  values: readonly string[],
  levels: number,
  any: Node | undefined,
  nodes: OrderedNodes | undefined,
): Lane {
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
