/**
 * The worker: runs the leases that managers assign to its node, with or without a connection to them.
 *
 * - `agent.ts`            startAgent: adopts running containers, then runs session and leases
 * - `seams.ts`            its interfaces: Session, TaskNetwork, AgentState, ProbeTransport
 * - `options.ts`, `errors.ts`, `metrics.ts`
 *
 * Leases and runs:
 * - `leases.ts`           the node's leases; `lease-controller.ts` one lease, `run.ts` one run
 * - `kept-runs.ts`        ended containers that are kept for their logs
 * - `environment.ts`      dependencies that all controllers share
 * - `container-spec.ts`   TaskSpec → ContainerSpec; `volumes.ts` its mounts, `labels.ts` its labels
 * - `resolver.ts`         a container's `resolv.conf`, and the upstreams of its queries; pure
 * - `kept-room.ts`        the record, with room on its disk kept back
 * - `conditions.ts`       NodeConditions: faults of the node, for managers
 * - `containers.ts`       states of the runtime's containers
 * - `images.ts`           pulls of images, and their collection
 * - `health.ts`           a task's health: its pure part and its loop; `probes.ts` http, tcp and exec probes
 * - `outcome.ts`          the status of an ended run; pure
 * - `endpoint-table.ts`   the balancer's services and backends, with this node's own state of its leases
 * - `node-network.ts`     the node's network, whose calls wait until it is open
 *
 * Session and record:
 * - `session-loop.ts`     session, heartbeats, streams, and their renewal; `grpc-session.ts` Session over gRPC
 * - `assignments.ts`      the chain of assignments; pure. `assigned.ts` the objects; `points.ts` stale messages
 * - `lease-reporter.ts`   reports of leases, until a manager has stored them
 * - `local-record.ts`     the durable record; `record-entry.ts` one entry, `level-state.ts` AgentState on LevelDB
 * - `identity.ts`         the node's id on disk; `machine.ts` reads it for the manager on the same machine
 * - `relay-server.ts`     requests of the API's callers to this node: `relay-logs.ts`, `relay-exec.ts`, `relay-stats.ts`,
 *                         `relay-image.ts`, `relay-images.ts`, `relay-port-forward.ts`, `relay-volumes.ts`, on `relay.ts`
 * - `limiter.ts`, `waiting.ts`  bounded concurrency; time limits, retries and coalesced work
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
export { onKeptRoom, type KeptRoom, type KeptRoomOptions } from "./kept-room.ts";
export { openLevelState } from "./level-state.ts";
export { recordedNetwork } from "./local-record.ts";
export { nodeProbes } from "./probes.ts";
export { AgentError, type AgentFailure } from "./errors.ts";
