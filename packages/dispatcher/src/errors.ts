/** Errors of the dispatcher's calls. Codes are the API's; only `@warren/api` maps them to gRPC statuses. */
import { ApiError, errorOfApiFailure, invalid, precondition, type RelayFailure } from "@warren/api";

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
    remedy: "to use the machine again, remove its worker's data folder: it joins as a new node",
  });
}

export function noHeartbeat(nodeId: string): ApiError {
  return new ApiError({ code: "API_ABORTED" }, `node ${nodeId} sent no heartbeat for too long`);
}

export function sessionUnknown(nodeId: string, sessionId: string): ApiError {
  return new ApiError(
    { code: "API_NOT_FOUND", kind: "session", ref: sessionId },
    `node ${nodeId} has no session ${sessionId} here`,
    { remedy: "start a new session" },
  );
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
    `relay ${relayId} has ended, or never began`,
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
  return nodeUnreachable(nodeId, "its stream broke off", cause);
}

export function levelRefused(description: string, remedy: string): ApiError {
  return precondition([{ type: "LEVEL", subject: "node", description }], remedy);
}

/** L13: a manager that has lost a part of its history sends no assignments. */
export function noAssignments(nodeId: string, historyFault: string): ApiError {
  const description = `node ${nodeId} is sent no assignments: ${historyFault}`;
  return precondition([{ type: "HISTORY_LOST", subject: `node/${nodeId}`, description }]);
}

/** A failure that the node reports in a relay; an unknown code becomes `API_INTERNAL` with that code as reason. */
export function refusedByNode(nodeId: string, { code, message, remedy, reason, fields }: RelayFailure): ApiError {
  return errorOfApiFailure({ code, message: `node ${nodeId}: ${message}`, remedy, reason, fields });
}
