import { AgentError } from "./errors.ts";

export interface AgentOptions {
  /** Named volumes are folders in `volumes/` below this. */
  readonly dataDir: string;
  /** The node's name in lists. */
  readonly hostname: string;
  /** Warren's version, reported to managers. */
  readonly version: string;
  /** Addresses of the node's name server, as containers reach it. @default ["169.254.1.1"] */
  readonly nameServers?: readonly string[];
  /** Domain of the cluster's names. @default "warren" */
  readonly domain?: string;
  /** Containers that are created or started at once; more were not faster where it was measured. @default 8 */
  readonly parallelStarts?: number;
  /** An image that no assigned version has used for this long is removed, ms. @default 3600000 */
  readonly imageGraceMs?: number;
  /**
   * From a lease's removal from names and balancer to its stop signal, ms: the names' time to live, at most 1 s, and
   * the time that the change takes to reach every other node (L8). @default 2000
   */
  readonly leaveMs?: number;
  /** Runs that are kept of each lease, with their logs, the newest included. @default 5 */
  readonly keptRuns?: number;
  /** How long containers and logs of a forgotten lease are kept, ms. @default 3600000 */
  readonly keepEndedMs?: number;
  /** The longest that a task's start or stop waits for the balancer, ms; it goes on after that. @default 5000 */
  readonly balancerWaitMs?: number;
  /** A manager that does not answer a call within this time is treated as disconnected, ms. @default 5000 */
  readonly managerTimeoutMs?: number;
  /** Relays that are served at once; more are refused. @default 64 */
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
