/** The network of a task: its address and the networks that it is on. */
export interface AttachRequest {
  readonly taskId: string;
  /** The task's IPv4 address, of this node's subnet. IPv6 is refused. */
  readonly address: string;
  /** Ids of the networks that it is on; it reaches the tasks that share one of them. */
  readonly networks: readonly string[];
  /** Path of an existing namespace. @default one of our own, created and removed with the attachment */
  readonly netnsPath?: string;
}

/** A task's interface, as it is in the kernel. */
export interface Attachment {
  readonly taskId: string;
  readonly address: string;
  /** The node's end. The task's end is `eth0`. */
  readonly interface: string;
  /** Path of the network namespace, for the container runtime. */
  readonly netnsPath: string;
}

export interface Reconciled {
  /** Attachments that were there and are expected. */
  readonly adopted: readonly Attachment[];
  /** Task ids that are expected, and whose attachment is missing or incomplete: attach them again. */
  readonly missing: readonly string[];
  /** Interfaces and namespaces that were not expected, and were removed. */
  readonly removed: readonly string[];
}

export interface AttachmentsOptions {
  /** Where namespaces of our own are mounted, one file per task. Created if it is missing. */
  readonly netnsDirectory: string;
  /** Addresses of this node's tasks, within `taskPool`. Those that no task has are answered with an ICMP error. */
  readonly nodeSubnet: string;
  /** Addresses of all tasks of the cluster. @default "10.77.0.0/16" */
  readonly taskPool?: string;
  /** Addresses of services. A packet to one is checked by its caller's address and the task that it is sent to. @default "10.96.0.0/16" */
  readonly vipPool?: string;
  /** The node's address that each task sees as its gateway. @default "169.254.1.1" */
  readonly gateway?: string;
  /** Of tasks' interfaces, bytes; with an overlay, the overlay's. @default 1500 */
  readonly mtu?: number;
  /** Subnets that reach every task, such as the overlay addresses of the cluster's nodes. @default none */
  readonly trusted?: readonly string[];
}

export type ResolvedOptions = Required<AttachmentsOptions>;
