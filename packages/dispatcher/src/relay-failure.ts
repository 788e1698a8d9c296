/** What a node answers a relay with instead, as an error of the API: the one place where codes become failures. */
import { ApiError, type ApiCode, type ApiFailure, type RelayFailure } from "@warren/api";

const failures: { readonly [C in ApiCode]: (nodeId: string) => ApiFailure } = {
  API_INVALID: () => ({ code: "API_INVALID", violations: [] }),
  API_NOT_FOUND: (nodeId) => ({ code: "API_NOT_FOUND", kind: "task", ref: nodeId }),
  API_AMBIGUOUS: (nodeId) => ({ code: "API_AMBIGUOUS", kind: "task", ref: nodeId, candidates: [] }),
  API_ALREADY_EXISTS: (nodeId) => ({ code: "API_ALREADY_EXISTS", kind: "task", name: nodeId }),
  API_PRECONDITION: () => ({ code: "API_PRECONDITION", violations: [] }),
  API_ABORTED: () => ({ code: "API_ABORTED" }),
  API_EXHAUSTED: () => ({ code: "API_EXHAUSTED" }),
  API_UNAVAILABLE: () => ({ code: "API_UNAVAILABLE" }),
  API_OUTCOME_UNKNOWN: () => ({ code: "API_OUTCOME_UNKNOWN" }),
  API_DEADLINE: () => ({ code: "API_DEADLINE" }),
  API_CANCELLED: () => ({ code: "API_CANCELLED" }),
  API_DENIED: () => ({ code: "API_DENIED" }),
  API_UNAUTHENTICATED: () => ({ code: "API_UNAUTHENTICATED" }),
  API_UNIMPLEMENTED: () => ({ code: "API_UNIMPLEMENTED" }),
  API_INTERNAL: (nodeId) => ({ code: "API_INTERNAL", id: nodeId }),
};

/** A code that this manager does not know is the node's own: `API_INTERNAL`, with the code as its reason. */
export function refusedByNode(nodeId: string, { code, message, remedy }: RelayFailure): ApiError {
  const known = code in failures ? (code as ApiCode) : "API_INTERNAL";
  return new ApiError(failures[known](nodeId), `node ${nodeId}: ${message}`, { remedy, reason: code });
}
