import type {
  AssignmentsMessage,
  AssignmentsRequest,
  Endpoint,
  HeartbeatRequest,
  HeartbeatResponse,
  RelayDown,
  RelayUp,
  SessionMessage,
  SessionRequest,
  UpdateTaskStatusRequest,
} from "@warren/api";

/**
 * The way to a manager's Dispatcher; `grpcSession` is one. Every call fails when the manager can't be reached or
 * refuses, whatever the error, and ends at once when its signal aborts.
 */
export interface Session {
  /** Registers the node, for as long as the stream is read. */
  open(request: SessionRequest, signal: AbortSignal): AsyncIterable<SessionMessage>;
  heartbeat(request: HeartbeatRequest, signal: AbortSignal): Promise<HeartbeatResponse>;
  /** Resolves once the manager has stored it. */
  updateTaskStatus(request: UpdateTaskStatusRequest, signal: AbortSignal): Promise<void>;
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
  readonly address: string;
  /** Ids of networks. */
  readonly networks: readonly string[];
  /** The container's network namespace. */
  readonly netnsPath: string;
}

/** The node's network: interfaces and addresses of tasks, and the services that they reach. */
export interface TaskNetwork {
  /**
   * Called once, before all else. Attachments that an earlier process left and that are `expected` stay without a
   * packet lost, and are given back by task id; all others are removed.
   */
  open(
    settings: NetworkSettings,
    expected: readonly TaskAttachment[],
  ): Promise<{ readonly adopted: readonly string[] }>;
  /**
   * Gives a task its interface and an address that no other has; packets flow when it resolves. `address` is one that
   * it had: it gets that again where it can be. Calls may overlap.
   */
  attach(
    task: Omit<TaskAttachment, "address"> & { readonly address: string | undefined },
  ): Promise<{ readonly address: string }>;
  /** Takes both back. Done already if there is none. */
  detach(taskId: string): Promise<void>;
  /**
   * Exactly these services are balanced and answered for by name, from when it resolves. A backend that is `draining`
   * keeps its connections and gets no new ones. Calls do not overlap.
   */
  setEndpoints(endpoints: readonly Endpoint[]): Promise<void>;
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
