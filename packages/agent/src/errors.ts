import { WarrenError } from "@warren/std";

/** Failures of a worker, without those of its runtime and its network, which have their own classes. */
export type AgentFailure =
  | { readonly code: "AGENT_OPTIONS_INVALID"; readonly option: string }
  /** The spec is not valid; `field` is named as in `TaskSpec`. */
  | { readonly code: "AGENT_SPEC_INVALID"; readonly field: string }
  /** The source of a bind mount is not on this node. */
  | { readonly code: "AGENT_BIND_MISSING"; readonly path: string }
  | { readonly code: "AGENT_VOLUME_FAILED"; readonly volume: string }
  /** The interface of a task could not be made. */
  | { readonly code: "AGENT_NETWORK_FAILED"; readonly address: string }
  /** The container is gone, or its state is unknown to the runtime, so its exit status is not known. */
  | { readonly code: "AGENT_CONTAINER_LOST" }
  /** The machine went down while the task ran. */
  | { readonly code: "AGENT_MACHINE_RESTARTED" }
  /** The run was stopped because the machine went down in order. */
  | { readonly code: "AGENT_MACHINE_STOPPED" }
  /** The run was prepared by an earlier worker, which ended before it started it. */
  | { readonly code: "AGENT_NOT_STARTED" }
  | { readonly code: "AGENT_UNHEALTHY"; readonly failures: number }
  /** A manager did not answer in time, or ended a session. */
  | { readonly code: "AGENT_SESSION_FAILED" }
  /** The manager's history lacks the point that this node applied last. */
  | { readonly code: "AGENT_HISTORY_REFUSED" }
  /** The managers have removed this node from the cluster. */
  | { readonly code: "AGENT_NODE_REMOVED" }
  /** The record has a level that this version can't read. */
  | { readonly code: "AGENT_RECORD_UNREADABLE"; readonly key: string; readonly level: number }
  /** The record, or what is left of it, has no node id, and the identity file is lost. */
  | { readonly code: "AGENT_IDENTITY_LOST" }
  /** The identity file and the record have different node ids. */
  | { readonly code: "AGENT_IDENTITY_CONFLICT"; readonly nodeId: string; readonly recorded: string };

export class AgentError extends WarrenError<AgentFailure> {}

/** @param field as in `TaskSpec`: `container.mounts` */
export function specInvalid(field: string, why: string): AgentError {
  return new AgentError({ code: "AGENT_SPEC_INVALID", field }, `${field}: ${why}`);
}
