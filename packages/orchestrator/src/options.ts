import { OrchestratorError } from "./errors.ts";

/** How a leader's loops go about their work; times in ms. */
export interface OrchestratorOptions {
  /**
   * How long a node may be DOWN before its tasks are replaced. A worker that is restarted within it finds its tasks as
   * they were. The dispatcher's missed heartbeats come before this.
   *
   * @default 30000
   */
  readonly downGraceMs?: number;
  /** Quiet time that the scheduler waits for when changes come one after the other. @default 50 */
  readonly debounceMs?: number;
  /** No pending task waits longer for quiet. Invariant: not below `debounceMs`. @default 1000 */
  readonly debounceCapMs?: number;
  /** Between full passes that look for what an event should have announced. @default 60000 */
  readonly resyncMs?: number;
  /** Objects after which a transaction takes in no more. One service's step may go a little past it. @default 500 */
  readonly maxWrites?: number;
}

/** See `OrchestratorOptions.downGraceMs`. */
export const defaultDownGraceMs = 30_000;

export type ResolvedOptions = Readonly<Required<OrchestratorOptions>>;

/** Checks options and fills in defaults. @throws OrchestratorError `ORCHESTRATOR_OPTIONS_INVALID` */
export function resolveOptions(options: OrchestratorOptions): ResolvedOptions {
  const resolved = {
    downGraceMs: defaultDownGraceMs,
    debounceMs: 50,
    debounceCapMs: 1_000,
    resyncMs: 60_000,
    maxWrites: 500,
    ...options,
  };
  for (const [option, value] of Object.entries(resolved)) {
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(option, `${value}`, "a whole number, 0 or more");
  }
  if (resolved.maxWrites < 1) throw invalid("maxWrites", "0", "1 or more");
  if (resolved.resyncMs < 1) throw invalid("resyncMs", "0", "1 or more");
  if (resolved.debounceCapMs < resolved.debounceMs)
    throw invalid("debounceCapMs", `${resolved.debounceCapMs}`, `at least debounceMs, ${resolved.debounceMs}`);
  return Object.freeze(resolved);
}

function invalid(option: string, value: string, wanted: string): OrchestratorError {
  return new OrchestratorError(
    { code: "ORCHESTRATOR_OPTIONS_INVALID", option },
    `orchestrator option ${option} is ${value}; it must be ${wanted}`,
  );
}
