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
 * The way to a manager's Dispatcher; `grpcSession` is one. Every call fails when the manager can't be reached or
 * refuses, whatever the error, and ends at once when its signal aborts.
 */
export interface Session {
  /** Registers the node, for as long as the stream is read. */
  open(request: SessionRequest, signal: AbortSignal): AsyncIterable<SessionMessage>;
  heartbeat(request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatResponse>;
  /** Resolves once the manager has stored it, but for what it refuses in its answer. */
  report(request: ReportRequest, signal: AbortSignal): Promise<ReportResponse>;
  assignments(request: AssignmentsRequest, signal: AbortSignal): AsyncIterable<AssignmentsMessage>;
  /** `up` is read only as fast as the manager takes it, and asked to end when the answers have ended. */
  relay(up: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncIterable<RelayDown>;
}

/** What the cluster says of this node's part of the network. */
export interface NetworkSettings {
  /** `10.77.3.0/24`: addresses of this node's tasks. */
  readonly nodeSubnet: string;
  readonly taskPool: string;
  readonly vipPool: string;
}

/** A task's interface, as it is wanted. */
export interface TaskAttachment {
  /** The task's. */
  readonly id: string;
  /** Its lease's: the same in every run of the lease, which is attached before the next one is (L8). */
  readonly address: string;
  /** Ids of networks. */
  readonly networks: readonly string[];
  /** Where the name server asks for this task what is no name of ours: addresses; empty: where it asks for all. */
  readonly nameServers: readonly string[];
  /** The container's network namespace. */
  readonly netnsPath: string;
}

/** A lease that takes connections, as one node balances it. */
export interface NodeBackend {
  /** `SLOT_ID/EPOCH`. */
  readonly key: string;
  /** Of the slot within its service: `3`, `node-ID`, `2-17`. */
  readonly slot: string;
  readonly nodeId: string;
  readonly address: string;
  /** Share of new connections, against those of the service's other backends; 0 of one that is draining. */
  readonly weight: number;
  /** No names lead to it and no new connection; those it has go on. */
  readonly draining: boolean;
}

/** A service as one node balances it and answers for its names. */
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
   * Called once, before all else. Attachments that an earlier process left and that are `expected` stay without a
   * packet lost, and are returned by task id; all others are removed.
   */
  open(
    settings: NetworkSettings,
    expected: readonly TaskAttachment[],
  ): Promise<{ readonly adopted: readonly string[] }>;
  /** Makes a task's interface with its address; packets flow when it resolves. Calls may overlap. */
  attach(task: TaskAttachment): Promise<void>;
  /**
   * Takes the interface away, and the flows of its address with it. Done already if there is none; then only flows go.
   * `address` is the one that it was attached with.
   */
  detach(taskId: string, address: string): Promise<void>;
  /** Exactly these services are balanced and answered for by name, from when it resolves. Calls do not overlap. */
  setEndpoints(endpoints: readonly NodeEndpoint[]): Promise<void>;
}

export interface StateChange {
  readonly key: string;
  /** Undefined: removed. */
  readonly value: Uint8Array | undefined;
}

/**
 * Where the local record is kept; `openLevelState` is one. A write is all or nothing, is on disk when it resolves, and
 * takes effect in the order of the calls.
 */
export interface AgentState {
  /**
   * The node's id, kept apart from the record so that neither is lost with the other. Undefined where this machine has
   * never been a node, or where that is lost.
   */
  readonly nodeId: string | undefined;
  /** What `identify` was told last; 0 at first. A record that says less has lost what was written since. */
  readonly opened: number;
  /** Why what was written before is not here, for people; undefined if it is, or if nothing was ever written. */
  readonly lost: string | undefined;
  /** Keeps the id, and how often the record was opened; on disk when it resolves. */
  identify(nodeId: string, opened: number): Promise<void>;
  /** All there is. */
  load(): Promise<ReadonlyMap<string, Uint8Array>>;
  write(changes: readonly StateChange[]): Promise<void>;
  close(): Promise<void>;
}

/** How health probes reach a task over the network; `nodeProbes` is the real one. Both throw where it does not answer. */
export interface ProbeTransport {
  /** Resolves with the status of the answer; redirects are not followed. */
  http(
    target: { readonly address: string; readonly port: number; readonly path: string },
    signal: AbortSignal,
  ): Promise<number>;
  tcp(target: { readonly address: string; readonly port: number }, signal: AbortSignal): Promise<void>;
}
