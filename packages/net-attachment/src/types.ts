/** A task's place in the network. */
export interface AttachRequest {
  readonly taskId: string;
  /** The task's IPv4 address, of this node's subnet. IPv6 is refused. */
  readonly address: string;
  /** Ids of the networks that it is on; it reaches the tasks that are on one of them. */
  readonly networks: readonly string[];
  /** A namespace that is there already. @default one of our own, made and removed with the attachment */
  readonly netnsPath?: string;
}

/** A task's interface, as it is in the kernel. */
export interface Attachment {
  readonly taskId: string;
  readonly address: string;
  /** The node's end. The task's end is `eth0`. */
  readonly interface: string;
  /** What the container's runtime is given as its network namespace. */
  readonly netnsPath: string;
}

export interface Reconciled {
  /** Attachments that were there and are expected. */
  readonly adopted: readonly Attachment[];
  /** Expected, and not there or not whole: attach them again. */
  readonly missing: readonly string[];
  /** Interfaces and namespaces that nobody expected; they are gone. */
  readonly removed: readonly string[];
}

export interface AttachmentsOptions {
  /** Where namespaces of our own are mounted, a file a task. Made if it is missing. */
  readonly netnsDirectory: string;
  /** Addresses of this node's tasks, within `taskPool`. What of them no task has is unreachable. */
  readonly nodeSubnet: string;
  /** Addresses of all tasks of the cluster. @default "10.77.0.0/16" */
  readonly taskPool?: string;
  /** Addresses of services: what comes through one is judged as what comes from its caller. @default "10.96.0.0/16" */
  readonly vipPool?: string;
  /** The node's address that each task sees as its gateway. @default "169.254.1.1" */
  readonly gateway?: string;
  /** Bytes; with an overlay, what fits in it. @default 1500 */
  readonly mtu?: number;
  /** Subnets that reach every task, as the overlay addresses of the cluster's nodes. @default none */
  readonly trusted?: readonly string[];
}

export type ResolvedOptions = Required<AttachmentsOptions>;
