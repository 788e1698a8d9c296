import { partitionBy } from "./filters/affinity.ts";
import { needsOf, resources } from "./filters/resources.ts";
import type { Filter, NodeOrder, Partitioning, Scorer } from "./rules.ts";
import type { Node } from "./state/node.ts";
import type { Needs } from "./state/ordered-nodes.ts";
import type { IndexRequirements } from "./state/candidate-indexes.ts";
import type { World } from "./state/world.ts";
import type { TaskState } from "./types.ts";

/** The filters and scorers of a scheduler, in order. */
export interface Rules {
  readonly filters: readonly Filter[];
  /** Scorers before the strategy's order; they bind strictly. */
  readonly lead: readonly Scorer[];
  readonly orderScorer: Scorer;
  readonly order: NodeOrder;
  /** Scorers after the order; they choose among nodes that are equal until then. */
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

/** The requirements of a group's tasks, compiled against the present world: tests and scores. Valid until a change outside the group. */
export interface Requirements extends IndexRequirements {
  readonly task: TaskState;
  /** Equal for groups that every filter treats alike; undefined where a filter reads the service's id. */
  readonly group: string | undefined;
  /** The keys of the shared tests, joined. */
  readonly sharedKey: string;
  /** The tests of all filters that apply to the task, in order. */
  readonly checks: readonly Check[];
  /** Those of them that no candidate index covers. */
  readonly unshared: readonly Check[];
  /** Those whose answer is the same for all nodes of a partition. */
  readonly ofParts: readonly Check[];
  /** Whether a filter's answer for a node can change by a change of another node. */
  readonly readsOtherNodes: boolean;
  readonly needs: Needs;
  readonly lead: readonly Score[];
  readonly tail: readonly Score[];
  /** For each tail scorer that names them: its best nodes. */
  readonly preferred: readonly ReadonlySet<Node>[];
  /** The last scorer before the order, if many nodes are its exceptions and an index can be kept in the order of both. */
  readonly kept: { readonly key: string; readonly of: Score["of"]; readonly nodes: Iterable<Node> } | undefined;
  /** Nodes whose other lead scores differ from those of their partition; undefined: all nodes. */
  readonly exceptions: readonly Iterable<Node>[] | undefined;
  /** How many of the partitionings, from the first, are spread preferences. */
  readonly levels: number;
}

/** Up to this many nodes are compared one by one, which costs less than keeping them in order. */
const manyExceptions = 256;

export function compileRequirements(task: TaskState, rules: Rules, world: World): Requirements {
  const checks: Check[] = [];
  const unshared: Check[] = [];
  const ofParts: Check[] = [];
  const shared: { key: string; test: Check["test"]; general: boolean }[] = [];
  const partitions = (task.preferences ?? []).map((each) => partitionBy(spreadKey(each) ?? ""));
  const levels = partitions.length;
  let readsOtherNodes = false;
  for (const filter of rules.filters) {
    const test = filter.check(task, world);
    if (test === undefined) continue;
    const check = { filter, test };
    checks.push(check);
    const key = filter.share?.(task, world);
    if (key === undefined) unshared.push(check);
    else shared.push({ key: `${filter.name}:${key}`, test, general: key === "" });
    if (filter.reads === undefined) readsOtherNodes = true;
    if (key === undefined && filter.reads === undefined) {
      const parts = filter.partitions?.(task, world);
      if (parts === undefined) continue;
      addAll(partitions, parts);
      ofParts.push(check);
    }
  }
  const lead: Score[] = [];
  let exceptions: Iterable<Node>[] | undefined = [];
  let kept: Requirements["kept"];
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
    readsOtherNodes,
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
