export interface ManagerOptions {
  readonly dataDir: string;
  readonly runDir: string;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly version: string;
  readonly metricsAddress?: string;
}
export async function runManager(_options: ManagerOptions): Promise<void> {}
export async function resetManager(_folders: { readonly dataDir: string; readonly runDir: string }): Promise<void> {}
