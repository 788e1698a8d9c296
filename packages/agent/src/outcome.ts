import { TaskState, type AssignedTask } from "@warren/api";
import type { ExitStatus } from "@warren/runtime";
import { WarrenError, errorText } from "@warren/std";
import { AgentError } from "./errors.ts";
import type { Verdict } from "./local-record.ts";

/** How a task ended, as it is told. */
export interface Outcome {
  readonly state: TaskState;
  readonly message: string;
  readonly code: string;
}

export interface Ended {
  readonly assigned: AssignedTask;
  /** This worker ended it, or could not run it. */
  readonly verdict: Verdict | undefined;
  /** It ran, and was ended because the manager said so. */
  readonly told: boolean;
  /** Its process has run. */
  readonly ran: boolean;
  /** Undefined where it never ran, or nobody knows. */
  readonly exit: ExitStatus | undefined;
}

/** From all that is known of a task's end to what is told of it. Pure. */
export function outcomeOf({ assigned, verdict, told, ran, exit }: Ended): Outcome {
  if (verdict !== undefined) {
    const state = verdict.kind === "failed" ? TaskState.FAILED : TaskState.REJECTED;
    return { state, message: verdict.message, code: verdict.code };
  }
  if (told) {
    const how = exit === undefined ? "" : `, with exit code ${exit.code}`;
    return {
      state: TaskState.SHUTDOWN,
      message: ran ? `stopped as told${how}` : "told to stop before it ran",
      code: "",
    };
  }
  if (exit === undefined)
    return { state: TaskState.FAILED, message: containerLost().message, code: "AGENT_CONTAINER_LOST" };
  if (exit.oomKilled) {
    const limit = assigned.spec?.resources?.memoryLimitBytes ?? 0;
    const of = limit > 0 ? ` of ${mebibytes(limit)}: raise its memory limit` : ": the node has too little memory";
    return {
      state: TaskState.FAILED,
      message: `out of memory${of} (exit code ${exit.code})`,
      code: "AGENT_OUT_OF_MEMORY",
    };
  }
  if (exit.code === 0) return { state: TaskState.COMPLETE, message: "ended with exit code 0", code: "" };
  return { state: TaskState.FAILED, message: `ended with exit code ${exit.code}`, code: "AGENT_TASK_EXITED" };
}

/** What an error says of a task: one that never ran is rejected. */
export function verdictOf(error: unknown, ran: boolean): Verdict {
  const code = WarrenError.is(error) ? error.code : "AGENT_INTERNAL";
  return { kind: ran ? "failed" : "rejected", code, message: errorText(error).replaceAll(/\s*\n\s*/g, " ") };
}

export function containerLost(): AgentError {
  return new AgentError(
    { code: "AGENT_CONTAINER_LOST" },
    "its container is gone, or the runtime lost sight of it, so how it ended is not known",
  );
}

/** Whether a task in this state has ended, and only its traces are left. */
export function hasEnded(state: TaskState): boolean {
  return state > TaskState.RUNNING;
}

function mebibytes(bytes: number): string {
  const count = bytes / 2 ** 20;
  return `${Number.isInteger(count) ? count : count.toFixed(1)} MiB`;
}
