/**
 * Why a task is unschedulable: each node is counted for the first filter that refuses it, and each filter names the node
 * that is nearest to passing.
 *
 * In general all nodes are read once. Two cases need less, so that many waiting services stay cheap: a lookup that leaves
 * few nodes (`node.id == x`), and groups whose requirements differ in amounts of resources only.
 */
import type { Requirements, Check } from "./requirements.ts";
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

/** Characters of one refusal's text, and of its help. A longer help is left out, as a part of it would not be enough. */
const textLength = 400;
/** Up to this many nodes all are read, without a short cut. */
const smallWorld = 256;
/** Nodes outside of a lookup that are read to find the nearest one. */
const nearestReads = 256;

export class Explainer {
  readonly #world: World;
  readonly #indexes: CandidateIndexes;
  /** Counts by the keys of shared tests; valid while no node is applied or removed. */
  readonly #shared = new Map<string, ReadonlyMap<string, Count>>();
  #nodesVersion = -1;
  /** Explanations by group; valid until the next change. */
  readonly #known = new Map<string, Explanation>();
  #version = -1;
  /** Nodes that were read so far: the effort. */
  reads = 0;

  constructor(world: World, indexes: CandidateIndexes) {
    this.#world = world;
    this.#indexes = indexes;
  }

  /** @param nodeId explains for this node only */
  explain(requirements: Requirements, nodeId?: string): Explanation {
    if (nodeId !== undefined) return this.#explainOne(requirements, nodeId);
    if (this.#version !== this.#world.version) this.#known.clear();
    this.#version = this.#world.version;
    const known = requirements.group === undefined ? undefined : this.#known.get(requirements.group);
    if (known !== undefined) return known;
    const counts = this.#count(requirements);
    const explanation = this.#report(requirements, counts);
    if (requirements.group !== undefined) this.#known.set(requirements.group, explanation);
    return explanation;
  }

  #explainOne(requirements: Requirements, nodeId: string): Explanation {
    const node = this.#world.node(nodeId);
    const known = node?.known === true ? [node] : [];
    return this.#report(requirements, this.#read(requirements, known), known.length);
  }

  #count(requirements: Requirements): Counts {
    if (this.#world.size > smallWorld)
      return this.#countByLookup(requirements) ?? this.#countByIndex(requirements) ?? this.#read(requirements);
    return this.#read(requirements);
  }

  #read(requirements: Requirements, nodes: Iterable<Node> = this.#world.known, counts: Counts = new Map()): Counts {
    for (const node of nodes) {
      this.reads += 1;
      const check = requirements.checks.find(({ test }) => !test(node));
      if (check !== undefined) this.#add(requirements, counts, check, node);
    }
    return counts;
  }

  #add({ task }: Requirements, counts: Counts, check: Check, node: Node): void {
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

  /** For where the second filter, after `ready`, has a lookup: all ready nodes outside of the lookup fail it. */
  #countByLookup(requirements: Requirements): Counts | undefined {
    const [first, second] = requirements.checks;
    if (first?.filter !== ready || second === undefined) return undefined;
    const found = second.filter.among?.(requirements.task, this.#world) as ReadonlySet<Node> | undefined;
    if (found === undefined || found.size > smallWorld) return undefined;
    const counts = this.#read(requirements, found);
    const isUp = ({ state }: Node): boolean => state.ready && state.active;
    const upFound = [...found].filter(isUp).length;
    const down = this.#world.down.size - (found.size - upFound);
    const up = this.#world.size - this.#world.down.size - upFound;
    this.#merge(requirements, counts, first, down, this.#world.down, (node) => !found.has(node));
    this.#merge(requirements, counts, second, up, this.#world.known, (node) => isUp(node) && !found.has(node));
    return counts;
  }

  /** Adds `nodes` to the count of a check; the first of `all` for which `meant` holds are read to find the nearest. */
  #merge(
    requirements: Requirements,
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
      if (meant(node)) this.#add(requirements, counts, check, node);
      if (reads <= 0 && counts.has(check)) break;
    }
    this.reads += nearestReads - reads;
    (counts.get(check) as Count).nodes = total;
  }

  /**
   * First filters that read nodes' states: one reading serves all groups with the same requirements, while no node is
   * applied. Then filters that read what nodes hold, by the difference in size of two indexes; then amounts of resources,
   * by the size of the last index.
   */
  #countByIndex(requirements: Requirements): Counts | undefined {
    const states = requirements.checks.findIndex(({ filter }) => filter.reads !== "state");
    if (states < 0) return undefined;
    const rest = requirements.checks.slice(states);
    const amounts = rest.at(-1)?.filter === resources ? rest.pop() : undefined;
    if (requirements.unshared.length !== (amounts === undefined ? 0 : 1)) return undefined;
    // An index is made for an explanation only if placements use it too.
    const indexOf = (shared: Requirements["shared"], isGeneral: boolean): CandidateIndex | undefined =>
      isGeneral ? this.#indexes.whole(shared) : this.#indexes.known(shared);
    const prefixes = rest.map((_, at) => requirements.shared.slice(0, states + at + 1));
    const found = prefixes.map((shared) =>
      indexOf(
        shared,
        shared.slice(states).every((each) => each.general),
      ),
    );
    let index = this.#indexes.whole(requirements.shared.slice(0, states));
    if (found.includes(undefined)) return undefined;
    const counts = this.#countStates(requirements, requirements.checks.slice(0, states));
    for (const [at, held] of rest.entries()) {
      const before = index;
      index = found[at] as CandidateIndex;
      this.#merge(requirements, counts, held, before.size - index.size, before, (node) => !held.test(node));
    }
    const nearest = amounts === undefined ? undefined : index.nearest(requirements.needs);
    if (amounts !== undefined && nearest !== undefined) {
      counts.set(amounts, { nodes: index.size, nearest, distance: 0 });
    }
    return counts;
  }

  #countStates(requirements: Requirements, checks: readonly Check[]): Counts {
    if (this.#nodesVersion !== this.#world.nodesVersion) this.#shared.clear();
    this.#nodesVersion = this.#world.nodesVersion;
    const key = requirements.shared
      .slice(0, checks.length)
      .map((each) => each.key)
      .join("\n");
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      const counts = this.#read({ ...requirements, checks });
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

  #report(requirements: Requirements, counts: Counts, nodes: number = this.#world.size): Explanation {
    if (nodes === 0) return { nodes, refusals: [], text: "there are no nodes", help: "add a node" };
    const refused = [...counts.values()].reduce((sum, each) => sum + each.nodes, 0);
    const open = nodes - refused;
    const refusals = [...counts]
      .map(([{ filter }, count]) => refusalOf(filter, count, requirements, this.#world))
      .toSorted((a, b) => b.nodes - a.nodes || (a.filter < b.filter ? -1 : 1));
    const lines = refusals.map((each) => `${countText(each.nodes, nodes)} ${each.text}`);
    // Room was made since the last `schedule()`.
    if (open > 0) lines.unshift(`${countText(open, nodes)} would take it`);
    const text = lines.join("; ");
    // The help of the node that fewest filters refuse; of equals, of the one that is nearest for most nodes.
    const by = new Map(
      [...counts.values()].map(({ nearest }) => [nearest.state.id, refusalsOn(nearest, requirements).length]),
    );
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
  requirements: Requirements,
  world: World,
): Refusal {
  const { text, data } = said(filter, requirements.task, nearest, world);
  const help = helpOn(nearest, requirements, world);
  return {
    filter: filter.name,
    nodes,
    nearestNodeId: nearest.state.id,
    text: clip(text, textLength),
    ...(help === undefined || help.length > textLength ? {} : { help }),
    ...(data === undefined ? {} : { data }),
  };
}

/** What would make a node pass: the help of all filters that refuse it, since after the first the next would refuse it. */
function helpOn(node: Node, requirements: Requirements, world: World): string | undefined {
  const refusing = refusalsOn(node, requirements).map(({ filter }) => said(filter, requirements.task, node, world));
  if (refusing.length === 1) return [refusing[0]?.help, refusing[0]?.another].filter(isText).join(", or ") || undefined;
  const helps = refusing.map(({ help }) => help);
  return helps.every(isText) ? helps.join("; and ") : undefined;
}

function refusalsOn(node: Node, { checks }: Requirements): Check[] {
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
