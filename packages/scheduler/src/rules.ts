/**
 * Filters and scorers, and the view of nodes and world that they read. The built-in ones are in `filters/` and `scorers/`;
 * they are plain objects, and further ones can be too.
 */
import type { NodeState, TaskState } from "./types.ts";

/** A node as rules read it: its state, and its tasks with what they hold. */
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
  /** The node's amount of `kind`. */
  capacity(kind: string): number;
  /** The amount of `kind` that no task reserves; below zero where the node shrank. */
  free(kind: string): number;
  /** The least of its shares of CPU, memory, disk and pids that are free, 0 to 1; 1 where it offers none of them. */
  readonly headroom: number;
}

/**
 * The rest of the world, for rules that read more than one node. It is kept up to date by deltas. Tasks that are leaving
 * occur in `volumeHomes` only.
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

/** A way to divide the nodes into partitions; a rule whose answer is the same throughout a partition is called once for it. */
export interface Partitioning {
  /** Partitionings of the same key are the same. */
  readonly key: string;
  of(node: NodeState): string;
}

export interface Explanation {
  /** Continues `1 of 5 nodes ` and `2 of 5 nodes `, so it has no verb that differs between them. */
  readonly text: string;
  /**
   * What would make the node pass this filter: alternatives, each of them enough, with `, or ` between them. Absent: this
   * filter can name nothing.
   */
  readonly help?: string;
  /** A further alternative, for where no other filter refuses the node. */
  readonly another?: string;
  readonly data?: Readonly<Record<string, string | number>>;
}

/**
 * A rule that a node must pass.
 *
 * Only `name`, `check` and `explain` are needed; such a filter is called for each node and each task. The others are
 * promises that save calls. All must be pure. Within one group a node that was refused stays refused.
 */
export interface Filter {
  readonly name: string;
  /** Returns the test of a node, or undefined where the filter does not apply to the task. Called once per group. */
  check(task: TaskState, world: World): ((node: NodeView) => boolean) | undefined;
  /** Why `nearest` was refused. */
  explain(task: TaskState, nearest: NodeView, world: World): string | Explanation;
  /** How far a refused node is from passing; the nearest is the one with the smallest value. Absent: all are equal, and the first by id is named. */
  distance?(task: TaskState, node: NodeView, world: World): number;
  /**
   * Promises what the answer for a node depends on, and so which changes can end a refusal. `state`: the node's state
   * alone, so the end of a task changes nothing. `node`: the node with its tasks, so the end of a task there may. Absent:
   * anything in the world.
   */
  readonly reads?: "state" | "node";
  /**
   * How many more tasks like this one the node can take by this filter; called for nodes that pass. For filters whose
   * answer changes with each task on a node: where all of them have it, `capacity` divides, else it places tasks on trial.
   */
  room?(task: TaskState, node: NodeView): number;
  /**
   * Promises, for this task, that `check` reads no more of it than this key, and no other node: tasks with equal keys
   * share a candidate index. An empty key is for requirements that nearly every task has.
   */
  share?(task: TaskState, world: World): string | undefined;
  /** The only nodes that can pass, where a lookup has them. */
  among?(task: TaskState, world: World): ReadonlySet<NodeView> | undefined;
  /** Promises, unless undefined, that all nodes of a partition get the same answer. */
  partitions?(task: TaskState, world: World): readonly Partitioning[] | undefined;
  /** For a filter without `reads`: `service:ID` or `volume:NAME`, where only tasks with these keys that come or go may change the answer. Absent: any change may. */
  wakeKeys?(task: TaskState): readonly string[];
}

/**
 * A rule that prefers one node to another. Scorers are compared in order, and the first that differs decides.
 *
 * Those before the strategy's own (`load` or `packing`) bind strictly. Those after it choose among the first
 * 64 nodes that are equal until then, and those that their `best` names.
 */
export interface Scorer {
  readonly name: string;
  /** Returns the score of a node, where lower is better; undefined where the scorer does not apply to the task. Called once per group. */
  score(task: TaskState, world: World): ((node: NodeView) => number) | undefined;
  /** A value in words: `no task of its service`. */
  explain(value: number): string;
  /**
   * Promises that, apart from `nodes`, all nodes of a partition get the same score. Absent: it is called for every node
   * and every task.
   */
  varies?(
    task: TaskState,
    world: World,
  ): {
    readonly partitions?: readonly Partitioning[];
    readonly nodes?: Iterable<NodeView> & { readonly size: number };
  };
  /**
   * For a scorer after the strategy's order: the only nodes with score 0, where all others have one same score. They are
   * looked up, so the scorer chooses among all nodes that are equal until then and not among the first 64 alone.
   */
  best?(task: TaskState, world: World): ReadonlySet<NodeView> | undefined;
  /**
   * Promises that the score depends on nothing but the node and this key, and is a whole number from 0. Where many nodes
   * are exceptions, and the strategy's order follows directly, an index in the order of both is kept.
   */
  keep?(task: TaskState): string;
  /** Set on `load` and `packing`, the strategies' orders. */
  readonly order?: NodeOrder;
}

/** An order in which all nodes are kept: by load, or by headroom. */
export interface NodeOrder {
  /** The scorer's own value, then one that breaks ties after the scorers that follow it. */
  keys(node: NodeView): readonly [number, number];
  /** The tie-break in words. */
  readonly tie: string;
  explainTie(value: number): string;
}
