import type { LogLevel } from "@warren/daemon";

export interface WorkerOptions {
  /** State is in `worker/` below this. */
  readonly dataDir: string;
  /** Holds `worker.pid`, and what belongs to running tasks. */
  readonly runDir: string;
  readonly logLevel: LogLevel;
  /** Of Warren, told to the manager. */
  readonly version: string;
  readonly managerSocket: string;
  /** Where none answers, the worker runs a containerd of its own. */
  readonly containerdSocket: string;
  /** containerd's namespace, this worker's alone. */
  readonly containerdNamespace: string;
  /** Registry to places that are asked before it. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
  /** An image that no task has used for so long is removed, ms. */
  readonly imageGraceMs: number;
  /** How long the logs of a lease's tasks outlive it, and with them their containers and images, ms. */
  readonly logGraceMs: number;
  /** Name servers for names that are not the cluster's. @default those of /etc/resolv.conf */
  readonly dnsUpstreams?: readonly string[];
  /** `ADDRESS:PORT` of `/metrics`, `/healthz` and `/readyz`. @default none */
  readonly metricsAddress?: string;
}
