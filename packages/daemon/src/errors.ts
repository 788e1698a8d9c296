import { WarrenError } from "@warren/std";

export type DaemonFailure =
  | { readonly code: "DAEMON_ADDRESS_INVALID"; readonly address: string }
  | { readonly code: "DAEMON_ADDRESS_IN_USE"; readonly address: string }
  /** The process id is absent where the holder can't be named. */
  | { readonly code: "DAEMON_ALREADY_RUNS"; readonly pid: number | undefined }
  | { readonly code: "DAEMON_LOCK_FAILED"; readonly directory: string };

/** What keeps a daemon from starting, apart from failures of other packages. */
export class DaemonError extends WarrenError<DaemonFailure> {}
