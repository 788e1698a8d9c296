/**
 * Filters and scorers: what a rule is, and what it sees. Those of the house are in `filters/` and `scorers/`; they are
 * plain objects, as yours may be.
 */
import type { NodeState, TaskState } from "./types.ts";

/** A node as rules see it: what it is, and what it holds now. */
export interface NodeView {
  readonly state: NodeState;
  /** Tasks on it that stay: all but those that are leaving. */
  readonly load: number;
  /** Tasks on it, those that are leaving included. */
  readonly held: number;
  /** Its tasks by id, those that are leaving included. */
  readonly tasks: ReadonlyMap<string, TaskState>;
  /** What its tasks reserve, by kind. */
  readonly used: ReadonlyMap<string, number>;
  /** `80/tcp` → tasks that hold it. */
  readonly hostPorts: ReadonlyMap<string, number>;
  /** serviceId → tasks that stay. */
  readonly services: ReadonlyMap<string, number>;
  /** How much of `kind` the node has. */
  capacity(kind: string): number;
  /** How much of `kind` no task has reserved; below zero where the node shrank. */
  free(kind: string): number;
  /** The least of its shares of CPU, memory, disk and pids that are free, 0 to 1; 1 where it offers none of them. */
  readonly headroom: number;
}

/**
 * The rest of the world, for rules that look beyond one node. All of it is kept up to date by deltas. Tasks that are
 * leaving occur in `volumeHomes` only.
 */
export interface World {
  /** Nodes that hold tasks of a service, known or not. */
  nodesOf(serviceId: string): ReadonlyMap<NodeView, number>;
  /** Tasks of `serviceId` on nodes whose `topology` is `value`. */
  tasksIn(serviceId: string, topology: string, value: string): number;
  /** Known nodes whose `topology` is `value`, in any case; undefined where too many keys are in use to index another. */
  nodesWith(topology: string, value: string): ReadonlySet<NodeView> | undefined;
  /** Known nodes whose `topology` is `value`, exactly. */
  domain(topology: string, value: string): ReadonlySet<NodeView>;
  /** Topologies over which held tasks keep `serviceId` away, and the domains where they do. */
  repulsions(serviceId: string): ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Nodes where a local volume is. */
  volumeHomes(name: string): ReadonlyMap<NodeView, number>;
  /** Nodes where the task's service and version failed five times in the last five minutes. */
  failing(task: TaskState): ReadonlySet<NodeView>;
  /** Known nodes that have an image. */
  imageHomes(image: string): ReadonlySet<NodeView>;
  /** Whether any node has a taint of the effect `prefer-no-schedule`. */
  readonly softTaints: boolean;
  /** Whether any node has a limited number of addresses. */
  readonly limitedAddresses: boolean;
}

/** A way to divide the nodes; a rule whose answer is the same throughout a part is asked once for the part. */
export interface Partitioning {
  /** Partitions of the same key divide alike. */
  readonly key: string;
  of(node: NodeState): string;
}

export interface Explanation {
  /** Continues `1 of 5 nodes ` and `2 of 5 nodes `, so it has no verb that tells them apart. */
  readonly text: string;
  /**
   * What lets the task in on the node, as far as this filter goes: alternatives, any of which does, with `, or `
   * between them. Absent: nothing that this filter could name.
   */
  readonly help?: string;
  /** A further alternative for where no other filter refuses the node. */
  readonly another?: string;
  readonly data?: Readonly<Record<string, string | number>>;
}

/**
 * A rule that a node must pass.
 *
 * Only `name`, `check` and `explain` are needed; such a filter is asked of each node for each task. The others are
 * promises that let the scheduler ask less. All must be pure. Within one group a node that was refused stays refused.
 */
export interface Filter {
  readonly name: string;
  /** The test of a node, or undefined where the task does not ask for anything here. Runs once a group. */
  check(task: TaskState, world: World): ((node: NodeView) => boolean) | undefined;
  /** Why `nearest` was refused. */
  explain(task: TaskState, nearest: NodeView, world: World): string | Explanation;
  /** How far a refused node is from passing: the smallest is the nearest miss. Absent: all are equal, the first by id is named. */
  distance?(task: TaskState, node: NodeView, world: World): number;
  /**
   * Promises on what the answer for a node depends, and so when a refusal can end: on the node's `state` alone, so no
   * task's end ends it; on the `node` with what it holds, so the end of a task there may; absent, on anything in the
   * world.
   */
  readonly reads?: "state" | "node";
  /**
   * How many more tasks like this one the node takes, as far as this filter goes; asked of nodes that pass. For
   * filters whose answer changes with each task that a node takes: `capacity` divides where all of them have it, and
   * tries where one has not.
   */
  room?(task: TaskState, node: NodeView): number;
  /**
   * Promises, for this task, that `check` reads no more of it than this text, and no other node: tasks of equal text
   * share a list of nodes that pass. An empty text is for what nearly every task asks.
   */
  share?(task: TaskState, world: World): string | undefined;
  /** The only nodes that can pass, where a lookup has them. */
  among?(task: TaskState, world: World): ReadonlySet<NodeView> | undefined;
  /** Promises, unless undefined, that all nodes of a part get the same answer. */
  partitions?(task: TaskState, world: World): readonly Partitioning[] | undefined;
  /** For one without `reads`: `service:ID` or `volume:NAME`, whose tasks' coming and going may change the answer. Absent: any change may. */
  wakeKeys?(task: TaskState): readonly string[];
}

/**
 * A rule that prefers one node to another. Scorers are asked in order, and the first that sees a difference decides.
 *
 * Those before the strategy's own (`load` or `packing`) bind strictly. Those after it choose among the first
 * 64 nodes that are equal until then, and those that their `best` names.
 */
export interface Scorer {
  readonly name: string;
  /** Lower is better; undefined where the task gives it nothing to judge. Runs once a group. */
  score(task: TaskState, world: World): ((node: NodeView) => number) | undefined;
  /** What a value means, for people: `no task of its service`. */
  explain(value: number): string;
  /**
   * Promises that, apart from `nodes`, all nodes of a part get the same score. Absent: every node is asked for every
   * task.
   */
  varies?(
    task: TaskState,
    world: World,
  ): {
    readonly partitions?: readonly Partitioning[];
    readonly nodes?: Iterable<NodeView> & { readonly size: number };
  };
  /**
   * For one behind the strategy's order: the only nodes that get 0, all others getting the same. They are looked up, so
   * the scorer chooses among all nodes that are equal until then and not among the first 64 alone.
   */
  best?(task: TaskState, world: World): ReadonlySet<NodeView> | undefined;
  /**
   * Promises that the score depends on nothing but the node and this text, and is a whole number from 0. Where many
   * nodes are exceptions, and the order follows at once, a list in the order of both is kept.
   */
  keep?(task: TaskState): string;
  /** Set on the two that are the scheduler's own order of nodes. */
  readonly order?: NodeOrder;
}

/** An order that is kept for all nodes: by load, or by what is left. */
export interface NodeOrder {
  /** The scorer's own value, then one that breaks ties after the scorers behind it. */
  keys(node: NodeView): readonly [number, number];
  /** What breaks ties, for people. */
  readonly tie: string;
  explainTie(value: number): string;
}
