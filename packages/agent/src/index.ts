/**
 * The worker's side of a node.
 *
 * - `agent.ts`           startAgent: takes up what was there, keeps leases and session going
 * - `seams.ts`           what it needs: Session, TaskNetwork, AgentState, ProbeTransport
 * - `options.ts`         AgentOptions
 *
 * Leases and their runs:
 * - `leases.ts`          the leases of this node, as managers and its own record have them
 * - `lease-controller.ts` one lease from its offer to its release; `run.ts` one run of it
 * - `kept-runs.ts`       runs that outlive their lease, for their logs
 * - `container-spec.ts`  TaskSpec → what the runtime makes; `labels.ts` what a container says of itself
 * - `volumes.ts`         mounts: named volumes, paths of the node
 * - `containers.ts`      the runtime's containers, by its events
 * - `images.ts`          pulled once for all, removed when unused
 * - `health.ts`          when a task is healthy; pure, and the loop around it; `probes.ts` http, tcp and exec probes
 * - `outcome.ts`         what is reported of a run's end; pure
 *
 * Managers:
 * - `session-loop.ts`    session, heartbeats, streams, and their renewal; `grpc-session.ts` Session over gRPC
 * - `assignments.ts`     the chain of assignments; `points.ts` which are obeyed; both pure; `assigned.ts` what is assigned
 * - `lease-reporter.ts`  what managers have yet to hear
 * - `relay-server.ts`    logs, execs, stats and images for callers: `relay-logs.ts`, `relay-exec.ts`, `relay-stats.ts`,
 *                        `relay-image.ts`, on `relay.ts`
 *
 * - `endpoint-table.ts`  services as this node balances them, its own tasks first; `address.ts`
 * - `node-network.ts`    the network, from when it is open
 * - `local-record.ts`    what outlives this process, on an AgentState; `record-entry.ts` one entry of it
 * - `level-state.ts`     AgentState on LevelDB; `identity.ts` which node this is; `machine.ts` the same for the manager
 * - `environment.ts`     what the controllers of leases share
 * - `limiter.ts`, `waiting.ts`: so many at once, waits that end
 * - `errors.ts`, `metrics.ts`
 */
export { startAgent, type Agent, type AgentDependencies, type TaskView } from "./agent.ts";
export type { AgentOptions } from "./options.ts";
export type {
  AgentState,
  NetworkSettings,
  NodeBackend,
  NodeEndpoint,
  ProbeTransport,
  Session,
  StateChange,
  TaskAttachment,
  TaskNetwork,
} from "./seams.ts";
export { grpcSession } from "./grpc-session.ts";
export { openLevelState } from "./level-state.ts";
export { recordedNetwork } from "./local-record.ts";
export { nodeProbes } from "./probes.ts";
export { AgentError, type AgentFailure } from "./errors.ts";
