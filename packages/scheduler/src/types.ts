/**
 * Inputs and decisions. Filters and scorers, which users may write, are in `rules.ts`.
 */

/**
 * Amounts by kind. `cpu` is in nano-CPUs, `memory` and `disk` in bytes, `pids` in processes; any other name is a
 * generic resource that is counted (`gpu`). A node has 0 of a kind that it does not list.
 */
export type Resources = Readonly<Record<string, number>>;

/** Generic resources by name: `{ gpu: ["gpu-0", "gpu-1"] }`. */
export type NamedResources = Readonly<Record<string, readonly string[]>>;

export interface Platform {
  /** As Go and OCI name it: `linux`. Empty matches any. */
  readonly os: string;
  /** As Go and OCI name it: `arm64`; the names of `uname -m` and Debian are understood. Empty matches any. */
  readonly arch: string;
  /** `v7`; a node runs what is built for its variant or an older one. @default v7 of arm, v8 of arm64, v1 of amd64 */
  readonly variant?: string;
}

/** The attributes of a node that constraints read. */
export interface ConstrainedNode {
  readonly id: string;
  readonly hostname?: string;
  /** `manager` for a machine with a manager, whether or not it runs tasks too. */
  readonly role: "manager" | "worker";
  /** The node's address, without a port. */
  readonly address?: string;
  readonly platform?: Platform;
  readonly labels?: Readonly<Record<string, string>>;
  readonly engineLabels?: Readonly<Record<string, string>>;
}

/** Keeps tasks that do not tolerate it off a node: `no-schedule` always, `prefer-no-schedule` where other nodes have room. */
export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: "no-schedule" | "prefer-no-schedule";
}

export interface Toleration {
  /** Absent: every taint. */
  readonly key?: string;
  /** Absent: whatever the value. */
  readonly value?: string;
  /** Absent: both. */
  readonly effect?: Taint["effect"];
}

export interface NodeState extends ConstrainedNode {
  /** Its worker is connected. */
  readonly ready: boolean;
  /** Not paused and not drained. */
  readonly active: boolean;
  /** All resources that it offers to tasks, used or not. */
  readonly resources?: Resources;
  /** Generic resources with names; of such a kind the amount is the number of names, whatever `resources` has. */
  readonly named?: NamedResources;
  readonly taints?: readonly Taint[];
  /** Networks that it offers. */
  readonly networks?: readonly string[];
  /** Volumes that it offers, local ones that it holds among them. */
  readonly volumes?: readonly string[];
  /** Images that it has, as tasks name them. */
  readonly images?: readonly string[];
  /** The highest level of formats that its worker reads. @default 0 */
  readonly level?: number;
  /**
   * Number of addresses for tasks in its subnets: those in use are included, those that rest after a task are not. Each
   * task on the node has one. Absent: unlimited.
   */
  readonly addresses?: number;
}

export interface HostPort {
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
}

/**
 * Affinity or anti-affinity of a task to the tasks of another service, or of its own.
 *
 * A domain is the set of nodes with the same value of `topology`. A required affinity to the own service is met anywhere
 * while that service has no task. A required anti-affinity binds both ways: no task of `service` is placed beside this one
 * either. A node without a value is in no domain: affinity is not met there, anti-affinity is.
 */
export interface AffinityTerm {
  readonly kind: "affinity" | "anti-affinity";
  readonly service: string;
  /** `node.id`, `node.hostname`, `node.role`, `node.platform.os|arch`, `node.labels.K` or `engine.labels.K`. */
  readonly topology: string;
  /** False: preferred, ahead of spreading and load. @default true */
  readonly required?: boolean;
}

/**
 * A task, pending or placed on a node.
 *
 * Invariant: tasks of one `serviceId` and `specVersion` have the same requirements; they are placed as one group.
 */
export interface TaskState {
  readonly id: string;
  readonly serviceId: string;
  readonly specVersion: number;
  /** The node that it holds; absent while it is pending. */
  readonly nodeId?: string;
  /**
   * It is placed, and is to leave its node or may be lost with it: the old task of a slot that is moved or updated, a
   * task of a service that shrinks, one on a node that is down and given up. It keeps its resources, host ports, named
   * resources, address and local volumes, but is not counted anywhere: load, service spread, preferences, affinity and
   * anti-affinity both ways, `maxPerNode`. It is never a victim, and is neither drained nor rebalanced.
   *
   * @default false
   */
  readonly leaving?: boolean;
  readonly reservations?: Resources;
  /** Names of generic resources that it holds, from its decision. */
  readonly named?: NamedResources;
  /** In Swarm's or Kubernetes' syntax, see `parseConstraints`; all must hold. */
  readonly constraints?: readonly string[];
  /** The image's platforms; empty or absent means any. */
  readonly platforms?: readonly Platform[];
  readonly hostPorts?: readonly HostPort[];
  /** Tasks of this service that a node may have, at most, without those that are leaving; 0 or absent is no limit. */
  readonly maxPerNode?: number;
  /** Nodes that have the image come first among equals. */
  readonly image?: string;
  readonly tolerations?: readonly Toleration[];
  /** Networks that the node must offer. */
  readonly networks?: readonly string[];
  /** Volumes that the node must offer. */
  readonly volumes?: readonly string[];
  /**
   * Volumes that exist on one node each. A volume's tasks are placed on the node that has it, by the node's `volumes` or
   * by a placed task; a new volume is created where its first task is placed.
   */
  readonly localVolumes?: readonly string[];
  readonly affinity?: readonly AffinityTerm[];
  /** As in Swarm: `spread=node.labels.zone`; earlier ones are the outer levels. Any topology of `AffinityTerm` is allowed. */
  readonly preferences?: readonly string[];
  /** A task may displace tasks of lower priority. @default 0 */
  readonly priority?: number;
  /** The level of formats that the node's worker must read. @default 0 */
  readonly level?: number;
}

/** A change of the scheduler's state. `node` and `task` add or replace; a task without `nodeId` is pending. */
export type Delta =
  | { readonly kind: "node"; readonly node: NodeState }
  | { readonly kind: "node-gone"; readonly nodeId: string }
  | { readonly kind: "task"; readonly task: TaskState }
  | { readonly kind: "task-gone"; readonly taskId: string }
  /** A task of this service failed on this node at `at`, ms of any one clock. */
  | {
      readonly kind: "failure";
      readonly nodeId: string;
      readonly serviceId: string;
      readonly specVersion: number;
      readonly at: number;
    }
  /** The time is `now`. Time never goes back: an earlier one is ignored. A failure's `at` counts as a time too. */
  | { readonly kind: "time"; readonly now: number };

/** How many nodes one filter refused, and what the nearest of them lacks. A node counts for the first filter that it fails. */
export interface Refusal {
  readonly filter: string;
  readonly nodes: number;
  readonly nearestNodeId: string;
  /** Continues `2 of 5 nodes `. */
  readonly text: string;
  /** What would let the task be placed on the nearest node; absent where nothing is known that would. */
  readonly help?: string;
  /** The same as `text`, for programs: `{ kind: "memory", needs: 1073741824, free: 536870912 }`. */
  readonly data?: Readonly<Record<string, string | number>>;
}

/** A task that has to leave for one of higher priority. */
export interface Victim {
  readonly taskId: string;
  readonly serviceId: string;
  readonly priority: number;
}

/** The rule that preferred a node to the next best. */
export interface Decided {
  /** A scorer's name, `preferences`, `seed` where all rules found them equal, or `only` where no other node passed. */
  readonly by: string;
  /** The rule's values for the chosen node and for the next best; lower is better. */
  readonly value?: number;
  readonly nextNodeId?: string;
  readonly nextValue?: number;
}

export interface Placed {
  readonly kind: "placed";
  readonly taskId: string;
  readonly nodeId: string;
  /** Tasks of the same service on that node before this one, without those that are leaving. */
  readonly serviceTasks: number;
  /** All tasks on that node before this one, without those that are leaving. */
  readonly nodeTasks: number;
  readonly decided: Decided;
  /** Names of generic resources that the task holds from now on; its later deltas should have them. */
  readonly named?: NamedResources;
  /** Tasks that must be stopped first; the scheduler counts them as gone already. */
  readonly victims?: readonly Victim[];
  readonly text: string;
}

export interface Waiting {
  readonly kind: "waiting";
  readonly taskId: string;
  /** Number of known nodes. */
  readonly nodes: number;
  /** Most nodes first; at most one for each filter. */
  readonly refusals: readonly Refusal[];
  readonly text: string;
  /** The help of the nearest node that the fewest filters refuse; absent where no refusal has any. */
  readonly help?: string;
}

export type Decision = Placed | Waiting;

export interface WouldFitOptions {
  /** Ids of tasks that count as gone; those of tasks that are not placed are ignored. @default [] */
  readonly onceGone?: readonly string[];
  /** Ids of tasks that count as leaving (see `TaskState.leaving`); those of tasks that are not placed are ignored. @default [] */
  readonly onceLeaving?: readonly string[];
  /** Considers this node only. @default every node */
  readonly nodeId?: string;
}
