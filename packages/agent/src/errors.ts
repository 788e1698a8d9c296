import { WarrenError } from "@warren/std";

/** What can go wrong on a worker beside its runtime and its network, which have errors of their own. */
export type AgentFailure =
  | { readonly code: "AGENT_OPTIONS_INVALID"; readonly option: string }
  /** The task asks for what can't be; the field as in `TaskSpec`. */
  | { readonly code: "AGENT_SPEC_INVALID"; readonly field: string }
  /** What a bind mount names is not on this node. */
  | { readonly code: "AGENT_BIND_MISSING"; readonly path: string }
  | { readonly code: "AGENT_VOLUME_FAILED"; readonly volume: string }
  /** Its container ended, or the runtime lost sight of it, and how it ended is not known. */
  | { readonly code: "AGENT_CONTAINER_LOST" }
  | { readonly code: "AGENT_UNHEALTHY"; readonly failures: number }
  /** A manager did not answer in time, or ended a stream that should last. */
  | { readonly code: "AGENT_SESSION_FAILED" }
  /** What an earlier process wrote cannot be read: written by a later version, or damaged. */
  | { readonly code: "AGENT_RECORD_UNREADABLE"; readonly key: string };

export class AgentError extends WarrenError<AgentFailure> {}
