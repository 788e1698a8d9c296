import type { ApiClient } from "@warren/api/client";
import type { Session } from "./seams.ts";

/** A session over gRPC, by `@warren/api`'s client: `grpcSession(connect({ … }).dispatcher)`. */
export function grpcSession(dispatcher: ApiClient["dispatcher"]): Session {
  return {
    open: (request, signal) => dispatcher.session(request, { signal }),
    heartbeat: (request, signal) => dispatcher.heartbeat(request, { signal }),
    report: (request, signal) => dispatcher.report(request, { signal }),
    assignments: (request, signal) => dispatcher.assignments(request, { signal }),
    relay: (up, signal) => dispatcher.relay(up, { signal }),
  };
}
