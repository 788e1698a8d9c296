/**
 * The worker: runs the leases that managers assign to its node, with or without a connection to them.
 *
 * - `agent.ts`            startAgent: adopts running containers, then keeps session and leases going
 * - `seams.ts`            its interfaces: Session, TaskNetwork, AgentState, ProbeTransport
 * - `options.ts`, `errors.ts`, `metrics.ts`
 *
 * Leases and runs:
 * - `leases.ts`           the node's leases; `lease-controller.ts` one of them, `run.ts` one run of it
 * - `kept-runs.ts`        ended containers that stay for their logs
 * - `environment.ts`      what the controllers share
 * - `container-spec.ts`   TaskSpec → ContainerSpec; `volumes.ts` its mounts, `labels.ts` its labels
 * - `resolver.ts`          a container's name servers, and the upstreams of its questions; pure
 * - `conditions.ts`        NodeConditions: what is wrong with the node, for managers
 * - `containers.ts`       the runtime's containers, by its events
 * - `images.ts`           images, pulled once for all leases, removed when unused
 * - `health.ts`           health of a task: pure part and loop; `probes.ts` http, tcp and exec probes
 * - `outcome.ts`          the status of an ended run; pure
 * - `endpoint-table.ts`   services as this node balances them, its own leases first
 * - `node-network.ts`     the node's network, from when it is open
 *
 * Session and record:
 * - `session-loop.ts`     session, heartbeats, streams, and their renewal; `grpc-session.ts` Session over gRPC
 * - `assignments.ts`      the chain of assignments; pure. `assigned.ts` the objects; `points.ts` which message is out of date
 * - `lease-reporter.ts`   reports of leases that no manager has stored yet
 * - `local-record.ts`     the durable record; `record-entry.ts` one entry, `level-state.ts` AgentState on LevelDB
 * - `identity.ts`         the node's id; `machine.ts` the same for the manager beside it
 * - `relay-server.ts`     what callers want of this node: `relay-logs.ts`, `relay-exec.ts`, `relay-stats.ts`,
 *                         `relay-image.ts`, `relay-images.ts`, `relay-port-forward.ts`, `relay-volumes.ts`, on `relay.ts`
 * - `limiter.ts`, `waiting.ts`  bounded concurrency, and waits that end with a signal
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
