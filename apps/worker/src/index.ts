export interface WorkerOptions {
  readonly dataDir: string;
  readonly runDir: string;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly version: string;
  readonly managerSocket: string;
  readonly containerdSocket: string;
  readonly registryMirrors: readonly string[];
  readonly dnsUpstreams?: readonly string[];
  readonly metricsAddress?: string;
}
export async function runWorker(_options: WorkerOptions): Promise<void> {}
export async function resetWorker(_options: {
  readonly dataDir: string;
  readonly runDir: string;
  readonly keepVolumes: boolean;
  readonly containerdSocket?: string;
}): Promise<void> {}
