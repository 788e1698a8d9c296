import { WarrenError } from "@warren/std";

export type SchedulerFailure =
  | { readonly code: "SCHEDULER_CONSTRAINT_INVALID"; readonly expression: string }
  | { readonly code: "SCHEDULER_TASK_INVALID"; readonly taskId: string };

/** A refusal of input. Nothing was changed by the delta that caused it. */
export class SchedulerError extends WarrenError<SchedulerFailure> {}
