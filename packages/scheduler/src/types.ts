/**
 * What goes in and what comes out. Filters and scorers, which users may write, are in `rules.ts`.
 */

/**
 * Amounts by kind. `cpu` is in nano-CPUs, `memory` and `disk` in bytes, `pids` in processes; any other name is a
 * generic resource that is counted (`gpu`). A kind that a node does not name, it has none of.
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

/** What constraints look at, and no more. */
export interface ConstrainedNode {
  readonly id: string;
  readonly hostname?: string;
  /** `manager` for a machine that is one, whether or not it runs tasks too. */
  readonly role: "manager" | "worker";
  /** The node's address, without a port. */
  readonly address?: string;
  readonly platform?: Platform;
  readonly labels?: Readonly<Record<string, string>>;
  readonly engineLabels?: Readonly<Record<string, string>>;
}

/** Keeps tasks off a node that do not tolerate it: `no-schedule` strictly, `prefer-no-schedule` where others have room. */
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
  /** Its worker is in touch. */
  readonly ready: boolean;
  /** Not paused and not drained. */
  readonly active: boolean;
  /** All that it offers to tasks, used or not. */
  readonly resources?: Resources;
  /** Generic resources that have names; of such a kind it has as many as it names, whatever `resources` says. */
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
   * Addresses of its subnets that tasks can have, those that tasks have now included and those that rest after a task
   * excluded; each task on the node has one. Absent: as many as are asked for.
   */
  readonly addresses?: number;
}

export interface HostPort {
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
}

/**
 * Where a task wants to be relative to another service's tasks, or its own.
 *
 * A domain is the set of nodes that have one value for `topology`. A required affinity to the own service is met
 * anywhere while that service has no task; a required anti-affinity binds both ways, so no task of `service` is put
 * beside this one either. A node without a value is in no domain: affinity is not met there, anti-affinity is.
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
  /**
   * It has a node, and is to leave it or may be lost with it: the old task of a slot that is moved or updated, a task
   * of a service that shrinks, one on a node that is down and given up. It keeps resources, host ports, named pieces,
   * its address and local volumes, but has no place in any count: load, service spread, preferences, affinity and
   * anti-affinity both ways, `maxPerNode`. It is never a victim, and is neither drained nor rebalanced.
   *
   * @default false
   */
  readonly leaving?: boolean;
  readonly reservations?: Resources;
  /** Names that it holds of generic resources, as its decision gave them. */
  readonly named?: NamedResources;
  /** Swarm's or Kubernetes' syntax, see `parseConstraints`; all must hold. */
  readonly constraints?: readonly string[];
  /** The image's platforms; none means any. */
  readonly platforms?: readonly Platform[];
  readonly hostPorts?: readonly HostPort[];
  /** Tasks of this service that a node may hold, those that are leaving not counted; 0 or absent is no limit. */
  readonly maxPerNode?: number;
  /** Nodes that have it come first among equals. */
  readonly image?: string;
  readonly tolerations?: readonly Toleration[];
  /** Networks that the node must offer. */
  readonly networks?: readonly string[];
  /** Volumes that the node must offer. */
  readonly volumes?: readonly string[];
  /**
   * Volumes that live on one node. Where one is, by a node's `volumes` or by a task that holds that node, its tasks
   * go; one that is nowhere yet is made where its first task lands.
   */
  readonly localVolumes?: readonly string[];
  readonly affinity?: readonly AffinityTerm[];
  /** Swarm's: `spread=node.labels.zone`; earlier ones are the outer levels. Any topology of `AffinityTerm` will do. */
  readonly preferences?: readonly string[];
  /** A task may displace tasks of lower priority. @default 0 */
  readonly priority?: number;
  /** The level of formats that the node's worker must read. @default 0 */
  readonly level?: number;
}

/** A change of the world. `node` and `task` add or replace; a task without `nodeId` is pending. */
export type Delta =
  | { readonly kind: "node"; readonly node: NodeState }
  | { readonly kind: "node-gone"; readonly nodeId: string }
  | { readonly kind: "task"; readonly task: TaskState }
  | { readonly kind: "task-gone"; readonly taskId: string }
  /** A task of this service failed on this node; `at` in ms of any clock that is used throughout. */
  | {
      readonly kind: "failure";
      readonly nodeId: string;
      readonly serviceId: string;
      readonly specVersion: number;
      readonly at: number;
    }
  /** It is `now`. Time never goes back: an earlier one is ignored. A failure's `at` counts as a time too. */
  | { readonly kind: "time"; readonly now: number };

/** How many nodes one filter refused, and what the nearest of them lacks. A node counts for the first filter it fails. */
export interface Refusal {
  readonly filter: string;
  readonly nodes: number;
  readonly nearestNodeId: string;
  /** Continues `2 of 5 nodes `. */
  readonly text: string;
  /** What would let a task in; absent where nothing short of another node would. */
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
  /** What the rule gave to the chosen node and to the next best; lower is better. */
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
  /** Names taken of generic resources that have names; the task's state should carry them. */
  readonly named?: NamedResources;
  /** Tasks that must be stopped first; the scheduler counts them as gone already. */
  readonly victims?: readonly Victim[];
  readonly text: string;
}

export interface Waiting {
  readonly kind: "waiting";
  readonly taskId: string;
  /** Nodes that are known. */
  readonly nodes: number;
  /** Most nodes first; at most one for each filter. */
  readonly refusals: readonly Refusal[];
  readonly text: string;
  /** What would help with the filter that refuses most nodes. */
  readonly help?: string;
}

export type Decision = Placed | Waiting;

export interface WouldFitOptions {
  /** Tasks that are taken for gone. Ids that hold no node change nothing. @default [] */
  readonly onceGone?: readonly string[];
  /** Asks about this node only. @default every node */
  readonly nodeId?: string;
}
