import { WarrenError } from "@warren/std";

export type DaemonFailure =
  | { readonly code: "DAEMON_ADDRESS_INVALID"; readonly address: string }
  | { readonly code: "DAEMON_ADDRESS_IN_USE"; readonly address: string }
  | { readonly code: "DAEMON_ALREADY_RUNS"; readonly pid: number };

/** What keeps a daemon from starting that no other package names. */
export class DaemonError extends WarrenError<DaemonFailure> {}
