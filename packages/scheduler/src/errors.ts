import { WarrenError } from "@warren/std";

export type SchedulerFailure =
  | { readonly code: "SCHEDULER_CONSTRAINT_INVALID"; readonly expression: string }
  | { readonly code: "SCHEDULER_TASK_INVALID"; readonly taskId: string }
  | { readonly code: "SCHEDULER_NODE_INVALID"; readonly nodeId: string }
  | { readonly code: "SCHEDULER_TIME_INVALID"; readonly time: number }
  | { readonly code: "SCHEDULER_NODE_UNKNOWN"; readonly nodeId: string }
  | { readonly code: "SCHEDULER_OPTIONS_INVALID"; readonly option: string };

/** Invalid input. The delta that caused it changed nothing. */
export class SchedulerError extends WarrenError<SchedulerFailure> {}
