import type { Runtime } from "@warren/runtime";
import type { BootTime, Clock, Logger, Random } from "@warren/std";
import type { Containers } from "./containers.ts";
import type { EndpointTable } from "./endpoint-table.ts";
import type { Images } from "./images.ts";
import type { LeaseReporter } from "./lease-reporter.ts";
import type { Limiter } from "./limiter.ts";
import type { LocalRecord } from "./local-record.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { NodeNetwork } from "./node-network.ts";
import type { ResolvedOptions } from "./options.ts";
import type { ProbeTransport } from "./seams.ts";
import type { Volumes } from "./volumes.ts";

/** Dependencies that all lease controllers share. */
export interface NodeEnvironment {
  readonly nodeId: string;
  /** A random number, drawn at the worker's start, that is part of the ids of its runs (L6). */
  readonly life: number;
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly boot: () => BootTime;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
  readonly runtime: Runtime;
  readonly containers: Containers;
  readonly network: NodeNetwork;
  readonly endpoints: EndpointTable;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly record: LocalRecord;
  readonly reporter: LeaseReporter;
  readonly starts: Limiter;
  readonly probes: ProbeTransport;
  /** Aborted when the machine goes down: what runs ends, and nothing starts any more. */
  readonly goingDown: AbortSignal;
}
