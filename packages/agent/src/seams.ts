import type {
  AssignmentsMessage,
  AssignmentsRequest,
  EndpointNetwork,
  HeartbeatRequest,
  HeartbeatResponse,
  PortSpec,
  RelayDown,
  RelayUp,
  ReportRequest,
  ReportResponse,
  SessionMessage,
  SessionRequest,
} from "@warren/api";

/**
 * Calls to a manager's Dispatcher; `grpcSession` is one. A call rejects, with any error, when the manager can't be
 * reached or refuses, and ends at once when its signal aborts.
 */
export interface Session {
  /** Registers the node. The session lasts as long as the stream is read. */
  open(request: SessionRequest, signal: AbortSignal): AsyncIterable<SessionMessage>;
  heartbeat(request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatResponse>;
  /** Resolves once the manager has stored the report, without the parts that it refuses in its response. */
  report(request: ReportRequest, signal: AbortSignal): Promise<ReportResponse>;
  assignments(request: AssignmentsRequest, signal: AbortSignal): AsyncIterable<AssignmentsMessage>;
  /** `up` is read only as fast as the manager reads, and is returned when the answers have ended. */
  relay(up: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncIterable<RelayDown>;
}

/** This node's part of the cluster's network. */
export interface NetworkSettings {
  /** `10.77.3.0/24`: addresses of this node's tasks. */
  readonly nodeSubnet: string;
  readonly taskPool: string;
  readonly vipPool: string;
}

/** The wanted interface of a task. */
export interface TaskAttachment {
  /** The task's id. */
  readonly id: string;
  /** The lease's address, the same for all of its runs; one is detached before the next is attached (L8). */
  readonly address: string;
  /** Ids of networks. */
  readonly networks: readonly string[];
  /**
   * Servers to which the node's name server forwards this task's queries for names outside the cluster; empty: the
   * node's.
   */
  readonly nameServers: readonly string[];
  /** The container's network namespace. */
  readonly netnsPath: string;
}

/** A lease in a node's balancer. */
export interface NodeBackend {
  /** `SLOT_ID/EPOCH`. */
  readonly key: string;
  /** The slot's key within its service: `3`, `node-ID`, `2-17`. */
  readonly slot: string;
  readonly nodeId: string;
  readonly address: string;
  /** Share of new connections, relative to the service's other backends; 0 while draining. */
  readonly weight: number;
  /** It has no names and gets no new connections; open ones go on. */
  readonly draining: boolean;
}

/** A service in a node's balancer and name server. */
export interface NodeEndpoint {
  readonly serviceId: string;
  readonly name: string;
  readonly vip: string;
  readonly ports: readonly PortSpec[];
  readonly networks: readonly EndpointNetwork[];
  readonly backends: readonly NodeBackend[];
}

/** The node's network: interfaces and addresses of tasks, and the services that they reach. */
export interface TaskNetwork {
  /**
   * Called once, before all other methods. Keeps the `expected` attachments that an earlier process left, without loss
   * of packets, and returns their task ids; removes all others.
   */
  open(
    settings: NetworkSettings,
    expected: readonly TaskAttachment[],
  ): Promise<{ readonly adopted: readonly string[] }>;
  /** Creates a task's interface with its address; packets flow when this resolves. Calls may overlap. */
  attach(task: TaskAttachment): Promise<void>;
  /**
   * Removes the interface, if it exists, and all flows of its address.
   *
   * @param address the address that the task was attached with
   */
  detach(taskId: string, address: string): Promise<void>;
  /** Replaces the services of balancer and name server; applied when this resolves. Calls do not overlap. */
  setEndpoints(endpoints: readonly NodeEndpoint[]): Promise<void>;
}

export interface StateChange {
  readonly key: string;
  /** Undefined: removed. */
  readonly value: Uint8Array | undefined;
}

/**
 * Storage of the local record; `openLevelState` is one. A write is atomic, is on disk when it resolves, and takes
 * effect in the order of the calls.
 */
export interface AgentState {
  /**
   * The node's id, stored apart from the record, so that not both are lost at once. Undefined if this machine was never
   * a node, or the id is lost.
   */
  readonly nodeId: string | undefined;
  /** The last value given to `identify`; 0 at first. A record with a lower count has lost its last writes. */
  readonly opened: number;
  /** Why the earlier record is not here, for people; undefined if it is, or there was none. */
  readonly lost: string | undefined;
  /** Stores the id, and how often the record was opened; on disk when this resolves. */
  identify(nodeId: string, opened: number): Promise<void>;
  /** All entries. */
  load(): Promise<ReadonlyMap<string, Uint8Array>>;
  write(changes: readonly StateChange[]): Promise<void>;
  close(): Promise<void>;
}

/** Health probes over the network; `nodeProbes` is the real one. Both methods reject if the task does not answer. */
export interface ProbeTransport {
  /** Resolves with the status of the answer; redirects are not followed. */
  http(
    target: { readonly address: string; readonly port: number; readonly path: string },
    signal: AbortSignal,
  ): Promise<number>;
  tcp(target: { readonly address: string; readonly port: number }, signal: AbortSignal): Promise<void>;
}
