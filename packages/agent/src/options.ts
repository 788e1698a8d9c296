import { AgentError } from "./errors.ts";

export interface AgentOptions {
  /** Named volumes are folders in `volumes/` below this. */
  readonly dataDir: string;
  /** As nodes are listed by. */
  readonly hostname: string;
  /** Of Warren, reported to the manager. */
  readonly version: string;
  /** The node's name server, as its containers reach it. @default ["169.254.1.1"] */
  readonly nameServers?: readonly string[];
  /** Of the names that it knows. @default "warren" */
  readonly domain?: string;
  /** Containers that are made or started at once. More is not faster on the machines this was measured on. @default 8 */
  readonly parallelStarts?: number;
  /** An image that no task has used for so long is removed, ms. @default 3600000 */
  readonly imageGraceMs?: number;
  /**
   * From when a lease has left names and balancer here until its stop signal, ms: the names' time to live, at most 1 s, and
   * the time that a change takes to reach every other node (L8). @default 2000
   */
  readonly leaveMs?: number;
  /** Runs that are kept of each lease, with their logs, the newest included. @default 5 */
  readonly keptRuns?: number;
  /** How long the logs of a lease's runs outlive it, ms. @default 3600000 */
  readonly keepEndedMs?: number;
  /** The longest that a task's start or stop waits for the balancer, ms; past it the task goes on. @default 5000 */
  readonly balancerWaitMs?: number;
  /** A manager that leaves a call unanswered for so long is taken to be gone, ms. @default 5000 */
  readonly managerTimeoutMs?: number;
  /** Logs, execs and measurements served at once; more are refused. @default 64 */
  readonly maxRelays?: number;
}

export type ResolvedOptions = Required<AgentOptions>;

/** Checks options and fills in defaults. @throws AgentError `AGENT_OPTIONS_INVALID` */
export function resolveOptions(options: AgentOptions): ResolvedOptions {
  const resolved: ResolvedOptions = {
    nameServers: ["169.254.1.1"],
    domain: "warren",
    parallelStarts: 8,
    imageGraceMs: 3_600_000,
    leaveMs: 2_000,
    keptRuns: 5,
    keepEndedMs: 3_600_000,
    balancerWaitMs: 5_000,
    managerTimeoutMs: 5_000,
    maxRelays: 64,
    ...options,
  };
  const refuse = (option: string, why: string): never => {
    throw new AgentError({ code: "AGENT_OPTIONS_INVALID", option }, `agent option ${option} ${why}`);
  };
  if (!resolved.dataDir.startsWith("/")) refuse("dataDir", "must be an absolute path");
  if (resolved.hostname === "") refuse("hostname", "is empty");
  for (const option of ["parallelStarts", "maxRelays", "keptRuns"] as const)
    if (!Number.isSafeInteger(resolved[option]) || resolved[option] < 1) refuse(option, "must be 1 or more");
  for (const option of ["imageGraceMs", "leaveMs", "keepEndedMs", "balancerWaitMs", "managerTimeoutMs"] as const)
    if (!(resolved[option] >= 0)) refuse(option, "must be 0 or more");
  return Object.freeze(resolved);
}
