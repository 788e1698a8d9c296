import { WarrenError } from "@warren/std";

/** What can go wrong in operation; `code` is public API. */
export type OrchestratorFailure =
  | { readonly code: "ORCHESTRATOR_OPTIONS_INVALID"; readonly option: string }
  /** The store has begun no term, so that nothing can be written. */
  | { readonly code: "ORCHESTRATOR_NO_TERM" };

export class OrchestratorError extends WarrenError<OrchestratorFailure> {}
