/**
 * The worker's side of a node.
 *
 * - `agent.ts`           startAgent: takes up what was there, keeps tasks and session going
 * - `seams.ts`           what it needs: Session, TaskNetwork, AgentState, ProbeTransport
 * - `options.ts`         AgentOptions
 * - `task-controller.ts` one task from its assignment to its last trace
 * - `container-spec.ts`  TaskSpec → what the runtime makes
 * - `resolver.ts`        whom a container asks for names; pure
 * - `conditions.ts`      NodeConditions: what is not as it should be here, for managers
 * - `volumes.ts`         mounts: named volumes, paths of the node
 * - `containers.ts`      the runtime's containers, by its events
 * - `images.ts`          pulled once for all, removed when unused
 * - `health.ts`          when a task is healthy; pure, and the loop around it
 * - `probes.ts`          http, tcp and exec probes
 * - `outcome.ts`         what is told of a task's end; pure
 * - `endpoint-table.ts`  services as this node balances them, its own tasks first
 * - `node-network.ts`    the network, from when it is open
 * - `local-record.ts`    what outlives this process, on an AgentState
 * - `level-state.ts`     AgentState on LevelDB
 * - `session-loop.ts`    session, heartbeats, streams, and their renewal
 * - `assignments.ts`     the chain of assignments; pure
 * - `status-reporter.ts` what managers have yet to hear
 * - `relay-server.ts`    logs, execs and stats for callers: `relay-logs.ts`, `relay-exec.ts`, `relay-stats.ts`, on `relay.ts`
 * - `grpc-session.ts`    Session over gRPC
 * - `limiter.ts`, `channel.ts`, `waiting.ts`: so many at once, a bounded stream, waits that end
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
export { NodeConditions, type Condition } from "./conditions.ts";
export { grpcSession } from "./grpc-session.ts";
export { openLevelState } from "./level-state.ts";
export { recordedNetwork } from "./local-record.ts";
export { nodeProbes } from "./probes.ts";
export { AgentError, type AgentFailure } from "./errors.ts";
