import { WarrenError } from "@warren/std";

/** What can go wrong on a worker beside its runtime and its network, which have errors of their own. */
export type AgentFailure =
  | { readonly code: "AGENT_OPTIONS_INVALID"; readonly option: string }
  /** The task asks for what can't be; the field as in `TaskSpec`. */
  | { readonly code: "AGENT_SPEC_INVALID"; readonly field: string }
  /** What a bind mount names is not on this node. */
  | { readonly code: "AGENT_BIND_MISSING"; readonly path: string }
  | { readonly code: "AGENT_VOLUME_FAILED"; readonly volume: string }
  /** The interface of a task could not be made. */
  | { readonly code: "AGENT_NETWORK_FAILED"; readonly address: string }
  /** Its container ended, or the runtime lost sight of it, and how it ended is not known. */
  | { readonly code: "AGENT_CONTAINER_LOST" }
  /** The machine went down under it. */
  | { readonly code: "AGENT_MACHINE_RESTARTED" }
  /** It was prepared and never started, by a worker that has ended meanwhile. */
  | { readonly code: "AGENT_NOT_STARTED" }
  | { readonly code: "AGENT_UNHEALTHY"; readonly failures: number }
  /** A manager did not answer in time, or ended a stream that should last. */
  | { readonly code: "AGENT_SESSION_FAILED" }
  /** A manager is of another history than the one that this node has obeyed, or behind it. */
  | { readonly code: "AGENT_HISTORY_REFUSED" }
  /** The managers have removed this node from the cluster. */
  | { readonly code: "AGENT_NODE_REMOVED" }
  /** A version of another level wrote the record. */
  | { readonly code: "AGENT_RECORD_UNREADABLE"; readonly key: string; readonly level: number }
  /** There is a record without the id of the node that it is of. */
  | { readonly code: "AGENT_IDENTITY_LOST" }
  /** Identity and record are of two nodes. */
  | { readonly code: "AGENT_IDENTITY_CONFLICT"; readonly nodeId: string; readonly recorded: string };

export class AgentError extends WarrenError<AgentFailure> {}

/** @param field as in `TaskSpec`: `container.mounts` */
export function specInvalid(field: string, why: string): AgentError {
  return new AgentError({ code: "AGENT_SPEC_INVALID", field }, `${field}: ${why}`);
}
