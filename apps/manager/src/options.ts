import type { LogLevel } from "@warren/daemon";

export interface ManagerOptions {
  /** State is in `manager/` below this. */
  readonly dataDir: string;
  /** Holds `manager.sock` and `manager.pid`. */
  readonly runDir: string;
  readonly logLevel: LogLevel;
  /** Of Warren, told to callers. */
  readonly version: string;
  /** `ADDRESS:PORT` of `/metrics`, `/healthz` and `/readyz`. @default none */
  readonly metricsAddress?: string;
}
