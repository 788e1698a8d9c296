/** A task that a service's connections may go to. */
export interface ServiceBackend {
  /** The task's IPv4 address. */
  readonly address: string;
  /**
   * Share of new connections: a task of weight 2 gets twice as many as one of weight 1. At 0 it drains: open
   * connections go on, new ones go to other tasks. A whole number up to 65,535.
   *
   * @default 1
   */
  readonly weight?: number;
}

export interface PublishedPort {
  readonly protocol: "tcp" | "udp";
  /** The port on the node. */
  readonly published: number;
  /** The port in the task. */
  readonly target: number;
  /** `ingress`: any task of the service answers; `host`: only this node's. */
  readonly mode: "ingress" | "host";
}

/** A service that this node balances. */
export interface BalancedService {
  readonly id: string;
  /** Every port and protocol of the VIP leads to the same port of a task. Without a VIP only published ports are balanced. */
  readonly vip?: string;
  /** Healthy and draining tasks on all nodes. */
  readonly backends: readonly ServiceBackend[];
  readonly ports?: readonly PublishedPort[];
}

export interface LoadBalancerOptions {
  /** Addresses of all tasks of the cluster. @default "10.77.0.0/16" */
  readonly taskPool?: string;
  /** Addresses of this node's tasks, within `taskPool`. */
  readonly nodeSubnet: string;
  /** Addresses of VIPs; packets to those that no service has are refused. @default "10.96.0.0/16" */
  readonly vipPool?: string;
  /** The address of the node that its tasks see; its ports are never published. @default "169.254.1.1" */
  readonly gateway?: string;
  /** Ports of the node that are never published. @default Warren's: 2377/tcp, 2378/tcp, 51820/udp */
  readonly reserved?: readonly PortUse[];
}

/** A port in use on the node. */
export interface PortUse {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  /** IPv4 address that the program listens on; `0.0.0.0` is all. Absent for one IPv6 address. */
  readonly address?: string;
}

/** A port that a service wants to publish and that is not published on this node. */
export interface WithheldPort {
  readonly serviceId: string;
  readonly protocol: "tcp" | "udp";
  readonly published: number;
  /** `reserved`: Warren's own; `in use`: a program of the node listens on it. */
  readonly reason: "reserved" | "in use";
}

export type ResolvedOptions = Required<LoadBalancerOptions>;

/** Ends tracked flows; `Netlink` of `@warren/netlink-napi` is one. */
export interface Flows {
  deleteFlows(
    filters: readonly {
      readonly protocol: number;
      readonly destination?: string;
      readonly destinationPort?: number;
      readonly toLocal?: boolean;
      readonly exceptAnsweredBy?: readonly string[];
    }[],
  ): Promise<number>;
}
