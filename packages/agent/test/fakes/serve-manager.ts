import { DispatcherDefinition } from "@warren/api";
import { bind, startServer, type ApiServer } from "@warren/api/server";
import type { FakeManager } from "../../src/testing/index.ts";

/** Serves the manager's side over gRPC. */
export function serveManager(manager: FakeManager, socketPath: string): Promise<ApiServer> {
  const session = manager.connect();
  const handlers = bind(DispatcherDefinition, {
    session: (request, { signal }) => session.open(request, signal),
    heartbeat: (request, { signal }) => session.heartbeat(request, signal),
    report: (request, { signal }) => session.report(request, signal),
    assignments: (request, { signal }) => session.assignments(request, signal),
    relay: (up, { signal }) => session.relay(up, signal),
  });
  return startServer({ services: [handlers] }, { socketPath });
}
