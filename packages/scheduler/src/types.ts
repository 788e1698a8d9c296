/**
 * Amounts by kind. `cpu` is in nano-CPUs, `memory` and `disk` in bytes, `pids` in processes; any other name is a
 * counted generic resource (`gpu`). A kind that a node does not name, it has none of.
 */
export type Resources = Readonly<Record<string, number>>;

export interface Platform {
  /** As Go and OCI name it: `linux`. Empty matches any. */
  readonly os: string;
  /** As Go and OCI name it: `arm64`; `x86_64` and `aarch64` are understood. Empty matches any. */
  readonly arch: string;
}

/** What constraints look at, and no more. */
export interface ConstrainedNode {
  readonly id: string;
  readonly hostname?: string;
  readonly role: "manager" | "worker";
  /** The node's address, without a port. */
  readonly address?: string;
  readonly platform?: Platform;
  readonly labels?: Readonly<Record<string, string>>;
  readonly engineLabels?: Readonly<Record<string, string>>;
}

export interface NodeState extends ConstrainedNode {
  /** Its worker is in touch. */
  readonly ready: boolean;
  /** Not paused and not drained. */
  readonly active: boolean;
  /** All that it offers to tasks, used or not. */
  readonly resources?: Resources;
}

export interface HostPort {
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
}

/**
 * A task that waits for a node, or holds one.
 *
 * Invariant: tasks of one `serviceId` and `specVersion` ask for the same; they are placed as one group.
 */
export interface TaskState {
  readonly id: string;
  readonly serviceId: string;
  readonly specVersion: number;
  /** The node that it holds; absent while it is pending. */
  readonly nodeId?: string;
  readonly reservations?: Resources;
  /** Swarm's or Kubernetes' syntax, see `parseConstraints`; all must hold. */
  readonly constraints?: readonly string[];
  /** The image's platforms; none means any. */
  readonly platforms?: readonly Platform[];
  readonly hostPorts?: readonly HostPort[];
  /** Tasks of this service that a node may hold; 0 or absent is no limit. */
  readonly maxPerNode?: number;
}

/** A change of the world. `node` and `task` add or replace; a task without `nodeId` is pending. */
export type Delta =
  | { readonly kind: "node"; readonly node: NodeState }
  | { readonly kind: "node-gone"; readonly nodeId: string }
  | { readonly kind: "task"; readonly task: TaskState }
  | { readonly kind: "task-gone"; readonly taskId: string };

/** How many nodes one filter refused, and what the nearest of them lacks. A node counts for the first filter it fails. */
export interface Refusal {
  readonly filter: string;
  readonly nodes: number;
  readonly nearestNodeId: string;
  readonly text: string;
}

export type Decision =
  | {
      readonly kind: "placed";
      readonly taskId: string;
      readonly nodeId: string;
      /** Tasks of the same service on that node before this one. */
      readonly serviceTasks: number;
      /** All tasks on that node before this one. */
      readonly nodeTasks: number;
      readonly text: string;
    }
  | {
      readonly kind: "waiting";
      readonly taskId: string;
      readonly nodes: number;
      /** Most nodes first; at most one for each filter. */
      readonly refusals: readonly Refusal[];
      readonly text: string;
    };

/** A node as filters see it: what it is, and what it holds now. */
export interface NodeView {
  readonly state: NodeState;
  /** Tasks on it. */
  readonly load: number;
  readonly used: ReadonlyMap<string, number>;
  /** `80/tcp` → tasks that hold it. */
  readonly hostPorts: ReadonlyMap<string, number>;
  /** serviceId → tasks. */
  readonly services: ReadonlyMap<string, number>;
}

/** A rule that a node must pass. `check` runs once a group and answers for its nodes; `explain` speaks for the nearest miss. */
export interface Filter {
  readonly name: string;
  /** The test of a node, or undefined where the task does not ask for anything here. Must be pure. */
  check(task: TaskState): ((node: NodeView) => boolean) | undefined;
  /** Why `nearest` was refused, continuing `2 of 5 nodes `. */
  explain(task: TaskState, nearest: NodeView): string;
  /** How far a refused node is from passing: the smallest is the nearest miss. Absent: all are equal, the first by id is named. */
  distance?(task: TaskState, node: NodeView): number;
}
