import { WarrenError } from "@warren/std";

export type OrchestratorFailure = { readonly code: "ORCHESTRATOR_OPTIONS_INVALID"; readonly option: string };

/** All else that can go wrong is the store's, and is tried again. */
export class OrchestratorError extends WarrenError<OrchestratorFailure> {}
