/** What workers and callers are told. Codes are the API's; how they become statuses only `@warren/api` knows. */
import { ApiError, errorFromStatus, invalid, type RelayFailure } from "@warren/api";

export function notLeading(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "this manager does not lead", {
    reason: "DISPATCHER_NOT_LEADING",
    remedy: "connect to the manager that leads, or try again in a second",
  });
}

export function noCluster(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "this manager has no cluster yet", {
    reason: "DISPATCHER_NO_CLUSTER",
    remedy: "run `warren cluster init`; the node then joins by itself",
  });
}

export function superseded(nodeId: string): ApiError {
  return new ApiError({ code: "API_ABORTED" }, `node ${nodeId} opened another session`, {
    reason: "DISPATCHER_SESSION_SUPERSEDED",
    remedy: "if two machines share this id, remove the data folder of the one that was copied",
  });
}

export function streamReplaced(): ApiError {
  return new ApiError({ code: "API_ABORTED" }, "another stream of assignments was opened in this session");
}

export function nodeRemoved(nodeId: string): ApiError {
  return new ApiError({ code: "API_ABORTED" }, `node ${nodeId} was removed from the cluster`, {
    reason: "DISPATCHER_NODE_REMOVED",
  });
}

export function silent(nodeId: string): ApiError {
  return new ApiError({ code: "API_ABORTED" }, `node ${nodeId} was not heard of for too long`);
}

export function sessionUnknown(nodeId: string, sessionId: string): ApiError {
  return new ApiError(
    { code: "API_NOT_FOUND", kind: "session", ref: sessionId },
    `node ${nodeId} has no session ${sessionId} here`,
    { remedy: "start a new session" },
  );
}

export function notYourself(identity: string, nodeId: string): ApiError {
  return new ApiError({ code: "API_DENIED" }, `${identity} can't speak for node ${nodeId}`);
}

export function nodeUnreachable(nodeId: string, why: string, cause?: unknown): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, `node ${nodeId} can't be reached: ${why}`, {
    cause,
    reason: "DISPATCHER_NODE_UNREACHABLE",
    remedy: "see whether its worker runs: warren node list",
  });
}

export function callerGone(): ApiError {
  return new ApiError({ code: "API_CANCELLED" }, "the caller has gone");
}

export function relayUnknown(relayId: string): ApiError {
  return new ApiError(
    { code: "API_NOT_FOUND", kind: "relay", ref: relayId },
    `nobody waits for relay ${relayId} any more`,
  );
}

export function tooManyRelays(nodeId: string, limit: number): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, `${limit} calls to node ${nodeId} are under way already`, {
    remedy: "end some, or try later",
  });
}

export function wrong(field: string, description: string): ApiError {
  return invalid([{ field, description }]);
}

export function cutOff(nodeId: string, cause?: unknown): ApiError {
  return nodeUnreachable(nodeId, "it went away in the middle", cause);
}

/** What the node itself answered instead. */
export function refusedByNode(nodeId: string, { status, message }: RelayFailure): ApiError {
  return errorFromStatus(status, `node ${nodeId}: ${message}`);
}
