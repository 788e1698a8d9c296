import { partitionBy } from "./filters/affinity.ts";
import { needsOf, resources } from "./filters/resources.ts";
import type { Filter, NodeOrder, Partitioning, Scorer } from "./rules.ts";
import type { Node } from "./state/node.ts";
import type { Needs } from "./state/ordered-nodes.ts";
import type { IndexAsk } from "./state/candidate-indexes.ts";
import type { World } from "./state/world.ts";
import type { TaskState } from "./types.ts";

/** The rules that a scheduler goes by. */
export interface Rules {
  readonly filters: readonly Filter[];
  /** Asked before the order, strictly. */
  readonly lead: readonly Scorer[];
  readonly orderScorer: Scorer;
  readonly order: NodeOrder;
  /** Asked among nodes that are equal until then. */
  readonly tail: readonly Scorer[];
}

export interface Check {
  readonly filter: Filter;
  readonly test: (node: Node) => boolean;
}

export interface Score {
  readonly scorer: Scorer;
  readonly of: (node: Node) => number;
}

/** What a group's tasks ask, compiled against the world as it is now; valid until a change outside the group. */
export interface Ask extends IndexAsk {
  readonly task: TaskState;
  /** Equal for tasks that every filter answers alike; undefined where a filter reads which service it is. */
  readonly group: string | undefined;
  /** The texts of what is shared. */
  readonly sharedKey: string;
  /** All filters that the task concerns, in order. */
  readonly checks: readonly Check[];
  /** Those of them that no candidate index answers. */
  readonly unshared: readonly Check[];
  /** Those whose answer is one for all nodes of a part. */
  readonly ofParts: readonly Check[];
  /** Whether a filter's answer for a node can change by what happens on another. */
  readonly worldly: boolean;
  readonly needs: Needs;
  readonly lead: readonly Score[];
  readonly tail: readonly Score[];
  /** Nodes that a tail score finds best. */
  readonly preferred: readonly ReadonlySet<Node>[];
  /** The scorer just before the order, if many nodes are its exceptions and it can be kept in order. */
  readonly kept: { readonly key: string; readonly of: Score["of"]; readonly nodes: Iterable<Node> } | undefined;
  /** Nodes whose other lead scores are not those of their part; undefined: all nodes. */
  readonly exceptions: readonly Iterable<Node>[] | undefined;
  /** How many of the partitions, from the first, are spread preferences. */
  readonly levels: number;
}

/** To compare so many nodes one by one costs less than to keep them in order. */
const manyExceptions = 256;

export function askOf(task: TaskState, rules: Rules, world: World): Ask {
  const checks: Check[] = [];
  const unshared: Check[] = [];
  const ofParts: Check[] = [];
  const shared: { key: string; test: Check["test"]; general: boolean }[] = [];
  const partitions = (task.preferences ?? []).map((each) => partitionBy(spreadKey(each) ?? ""));
  const levels = partitions.length;
  let worldly = false;
  for (const filter of rules.filters) {
    const test = filter.check(task, world);
    if (test === undefined) continue;
    const check = { filter, test };
    checks.push(check);
    const key = filter.share?.(task, world);
    if (key === undefined) unshared.push(check);
    else shared.push({ key: `${filter.name}:${key}`, test, general: key === "" });
    if (filter.reads === undefined) worldly = true;
    if (key === undefined && filter.reads === undefined) {
      const parts = filter.partitions?.(task, world);
      if (parts === undefined) continue;
      addAll(partitions, parts);
      ofParts.push(check);
    }
  }
  const lead: Score[] = [];
  let exceptions: Iterable<Node>[] | undefined = [];
  let kept: Ask["kept"];
  for (const scorer of rules.lead) {
    const of = scorer.score(task, world);
    if (of === undefined) continue;
    lead.push({ scorer, of });
    const varies = scorer.varies?.(task, world);
    if (varies === undefined) {
      exceptions = undefined;
      continue;
    }
    if (varies.nodes !== undefined) {
      const nodes = varies.nodes as Iterable<Node>;
      if (scorer === rules.lead.at(-1) && scorer.keep !== undefined && varies.nodes.size > manyExceptions) {
        kept = { key: `${scorer.name}:${scorer.keep(task)}`, of, nodes };
      } else exceptions?.push(nodes);
    }
    addAll(partitions, varies.partitions ?? []);
  }
  const tail: Score[] = [];
  const preferred: ReadonlySet<Node>[] = [];
  for (const scorer of rules.tail) {
    const of = scorer.score(task, world);
    if (of === undefined) continue;
    tail.push({ scorer, of });
    const best = scorer.best?.(task, world) as ReadonlySet<Node> | undefined;
    if (best !== undefined && best.size > 0) preferred.push(best);
  }
  const needs = needsOf(task).map(([kind, amount]) => [world.kind(kind), amount] as const);
  const sharedKey = shared.map(({ key }) => key).join("\n");
  const alike = unshared.every(({ filter }) => filter === resources);
  const group = alike ? `${task.priority ?? 0}\n${sharedKey}\n${needs.join()}` : undefined;
  return {
    task,
    group,
    sharedKey,
    checks,
    shared,
    unshared,
    ofParts,
    worldly,
    needs,
    lead,
    tail,
    preferred,
    kept,
    exceptions,
    partitions,
    levels,
  };
}

/** The key of `spread=KEY`. */
export function spreadKey(preference: string): string | undefined {
  return /^\s*spread\s*=\s*(\S+)\s*$/i.exec(preference)?.[1];
}

function addAll(partitions: Partitioning[], more: readonly Partitioning[]): void {
  for (const each of more) if (!partitions.some(({ key }) => key === each.key)) partitions.push(each);
}
