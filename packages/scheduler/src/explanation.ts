/**
 * Why a task waits: each node is counted for the first filter that refuses it, and each filter names its nearest miss.
 *
 * In general that is one reading of all nodes. Two cases need less, so that a crowd of waiting services stays cheap:
 * a lookup that leaves few nodes (`node.id == x`), and asks that differ in amounts of resources only.
 */
import type { Ask, Check } from "./ask.ts";
import { ready } from "./filters/ready.ts";
import { resources } from "./filters/resources.ts";
import type { Node } from "./state/node.ts";
import type { CandidateIndex, CandidateIndexes } from "./state/candidate-indexes.ts";
import type { World } from "./state/world.ts";
import { clip } from "./text.ts";
import type { Explanation as Said, Filter } from "./rules.ts";
import type { Refusal, TaskState } from "./types.ts";

export interface Explanation {
  readonly nodes: number;
  readonly refusals: readonly Refusal[];
  readonly text: string;
  readonly help?: string;
}

interface Count {
  nodes: number;
  nearest: Node;
  distance: number;
}

type Counts = Map<Check, Count>;

/** Characters of one refusal's text, and of its help: a help that is longer is left out, as part of it is not enough. */
const textLength = 400;
/** Up to this many nodes nothing is worth a short cut. */
const smallWorld = 256;
/** Nodes beyond a lookup that are read for the nearest miss. */
const nearestReads = 256;

export class Explainer {
  readonly #world: World;
  readonly #indexes: CandidateIndexes;
  /** By what is shared, while the nodes are as they were. */
  readonly #shared = new Map<string, ReadonlyMap<string, Count>>();
  #nodesVersion = -1;
  /** By group, while nothing changed. */
  readonly #known = new Map<string, Explanation>();
  #version = -1;
  /** Nodes read so far. */
  reads = 0;

  constructor(world: World, indexes: CandidateIndexes) {
    this.#world = world;
    this.#indexes = indexes;
  }

  /** @param nodeId speaks of this node only */
  explain(ask: Ask, nodeId?: string): Explanation {
    if (nodeId !== undefined) return this.#explainOne(ask, nodeId);
    if (this.#version !== this.#world.version) this.#known.clear();
    this.#version = this.#world.version;
    const known = ask.group === undefined ? undefined : this.#known.get(ask.group);
    if (known !== undefined) return known;
    const counts = this.#count(ask);
    const explanation = this.#report(ask, counts);
    if (ask.group !== undefined) this.#known.set(ask.group, explanation);
    return explanation;
  }

  #explainOne(ask: Ask, nodeId: string): Explanation {
    const node = this.#world.node(nodeId);
    const known = node?.known === true ? [node] : [];
    return this.#report(ask, this.#read(ask, known), known.length);
  }

  #count(ask: Ask): Counts {
    if (this.#world.size > smallWorld) return this.#countByLookup(ask) ?? this.#countByIndex(ask) ?? this.#read(ask);
    return this.#read(ask);
  }

  #read(ask: Ask, nodes: Iterable<Node> = this.#world.known, counts: Counts = new Map()): Counts {
    for (const node of nodes) {
      this.reads += 1;
      const check = ask.checks.find(({ test }) => !test(node));
      if (check !== undefined) this.#add(ask, counts, check, node);
    }
    return counts;
  }

  #add({ task }: Ask, counts: Counts, check: Check, node: Node): void {
    const distance = check.filter.distance?.(task, node, this.#world) ?? 0;
    const entry = counts.get(check);
    if (entry === undefined) {
      counts.set(check, { nodes: 1, nearest: node, distance });
      return;
    }
    entry.nodes += 1;
    if (distance > entry.distance || (distance === entry.distance && node.state.id > entry.nearest.state.id)) return;
    entry.nearest = node;
    entry.distance = distance;
  }

  /** The second filter asked is one that a lookup answers, after `ready`: all other nodes that are up fail it. */
  #countByLookup(ask: Ask): Counts | undefined {
    const [first, second] = ask.checks;
    if (first?.filter !== ready || second === undefined) return undefined;
    const found = second.filter.among?.(ask.task, this.#world) as ReadonlySet<Node> | undefined;
    if (found === undefined || found.size > smallWorld) return undefined;
    const counts = this.#read(ask, found);
    const isUp = ({ state }: Node): boolean => state.ready && state.active;
    const upFound = [...found].filter(isUp).length;
    const down = this.#world.down.size - (found.size - upFound);
    const up = this.#world.size - this.#world.down.size - upFound;
    this.#merge(ask, counts, first, down, this.#world.down, (node) => !found.has(node));
    this.#merge(ask, counts, second, up, this.#world.known, (node) => isUp(node) && !found.has(node));
    return counts;
  }

  /** Counts `nodes` more for a check, of which the first so many of `all` that are `meant` are read for the nearest. */
  #merge(
    ask: Ask,
    counts: Counts,
    check: Check,
    nodes: number,
    all: Iterable<Node>,
    meant: (node: Node) => boolean,
  ): void {
    if (nodes === 0) return;
    const total = (counts.get(check)?.nodes ?? 0) + nodes;
    let reads = nearestReads;
    for (const node of all) {
      reads -= 1;
      if (meant(node)) this.#add(ask, counts, check, node);
      if (reads <= 0 && counts.has(check)) break;
    }
    this.reads += nearestReads - reads;
    (counts.get(check) as Count).nodes = total;
  }

  /**
   * First what nodes' states tell: one reading serves all tasks that ask the same, while no node is applied. Then
   * filters that read what nodes hold, by the difference in size of two indexes; then amounts of resources, by the size
   * of the last.
   */
  #countByIndex(ask: Ask): Counts | undefined {
    const states = ask.checks.findIndex(({ filter }) => filter.reads !== "state");
    if (states < 0) return undefined;
    const rest = ask.checks.slice(states);
    const amounts = rest.at(-1)?.filter === resources ? rest.pop() : undefined;
    if (ask.unshared.length !== (amounts === undefined ? 0 : 1)) return undefined;
    // Only an index that others use too is made for a reason.
    const indexOf = (shared: Ask["shared"], isGeneral: boolean): CandidateIndex | undefined =>
      isGeneral ? this.#indexes.whole(shared) : this.#indexes.known(shared);
    const prefixes = rest.map((_, at) => ask.shared.slice(0, states + at + 1));
    const found = prefixes.map((shared) =>
      indexOf(
        shared,
        shared.slice(states).every((each) => each.general),
      ),
    );
    let index = this.#indexes.whole(ask.shared.slice(0, states));
    if (found.includes(undefined)) return undefined;
    const counts = this.#countStates(ask, ask.checks.slice(0, states));
    for (const [at, held] of rest.entries()) {
      const before = index;
      index = found[at] as CandidateIndex;
      this.#merge(ask, counts, held, before.size - index.size, before, (node) => !held.test(node));
    }
    const nearest = amounts === undefined ? undefined : index.nearest(ask.needs);
    if (amounts !== undefined && nearest !== undefined) {
      counts.set(amounts, { nodes: index.size, nearest, distance: 0 });
    }
    return counts;
  }

  #countStates(ask: Ask, checks: readonly Check[]): Counts {
    if (this.#nodesVersion !== this.#world.nodesVersion) this.#shared.clear();
    this.#nodesVersion = this.#world.nodesVersion;
    const key = ask.shared
      .slice(0, checks.length)
      .map((each) => each.key)
      .join("\n");
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      const counts = this.#read({ ...ask, checks });
      shared = new Map([...counts].map(([check, count]) => [check.filter.name, count]));
      this.#shared.set(key, shared);
    }
    const counts: Counts = new Map();
    for (const check of checks) {
      const count = shared.get(check.filter.name);
      if (count !== undefined) counts.set(check, { ...count });
    }
    return counts;
  }

  #report(ask: Ask, counts: Counts, nodes: number = this.#world.size): Explanation {
    if (nodes === 0) return { nodes, refusals: [], text: "there are no nodes", help: "add a node" };
    const refused = [...counts.values()].reduce((sum, each) => sum + each.nodes, 0);
    const open = nodes - refused;
    const refusals = [...counts]
      .map(([{ filter }, count]) => refusalOf(filter, count, ask, this.#world))
      .toSorted((a, b) => b.nodes - a.nodes || (a.filter < b.filter ? -1 : 1));
    const lines = refusals.map((each) => `${countText(each.nodes, nodes)} ${each.text}`);
    // Not scheduled since room was made.
    if (open > 0) lines.unshift(`${countText(open, nodes)} would take it`);
    const text = lines.join("; ");
    // The help that asks for least; of those, on the node that stands for most.
    const by = new Map([...counts.values()].map(({ nearest }) => [nearest.state.id, refusalsOn(nearest, ask).length]));
    const [best] = refusals
      .filter((each) => each.help !== undefined)
      .toSorted((x, y) => (by.get(x.nearestNodeId) ?? 0) - (by.get(y.nearestNodeId) ?? 0));
    const help = best?.help;
    return { nodes, refusals, text, ...(help === undefined ? {} : { help }) };
  }
}

function refusalOf(
  filter: Filter,
  { nodes, nearest }: Pick<Count, "nodes" | "nearest">,
  ask: Ask,
  world: World,
): Refusal {
  const { text, data } = said(filter, ask.task, nearest, world);
  const help = helpOn(nearest, ask, world);
  return {
    filter: filter.name,
    nodes,
    nearestNodeId: nearest.state.id,
    text: clip(text, textLength),
    ...(help === undefined || help.length > textLength ? {} : { help }),
    ...(data === undefined ? {} : { data }),
  };
}

/** What lets the task in on a node, by all filters that refuse it and not the first alone: else the next would. */
function helpOn(node: Node, ask: Ask, world: World): string | undefined {
  const refusing = refusalsOn(node, ask).map(({ filter }) => said(filter, ask.task, node, world));
  if (refusing.length === 1) return [refusing[0]?.help, refusing[0]?.another].filter(isText).join(", or ") || undefined;
  const helps = refusing.map(({ help }) => help);
  return helps.every(isText) ? helps.join("; and ") : undefined;
}

function refusalsOn(node: Node, { checks }: Ask): Check[] {
  return checks.filter(({ test }) => !test(node));
}

function isText(text: string | undefined): text is string {
  return text !== undefined;
}

function said(filter: Filter, task: TaskState, node: Node, world: World): Said {
  const answer = filter.explain(task, node, world);
  return typeof answer === "string" ? { text: answer } : answer;
}

function countText(some: number, all: number): string {
  return `${some} of ${all} ${all === 1 ? "node" : "nodes"}`;
}
