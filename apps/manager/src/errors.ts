import { WarrenError } from "@warren/std";

export interface ManagerFailure {
  readonly code: "MANAGER_STATE_UNREADABLE";
  readonly path: string;
}

/** What keeps a manager from starting that no package names. */
export class ManagerError extends WarrenError<ManagerFailure> {}
