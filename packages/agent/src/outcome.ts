import { TaskState } from "@warren/api";
import type { ExitStatus } from "@warren/runtime";
import { WarrenError, errorText } from "@warren/std";
import { AgentError } from "./errors.ts";
import type { Verdict } from "./local-record.ts";

/** Characters of a message that are kept and reported: bounds reports (L10). */
const messageLength = 1_000;

/** How a run ended, as it is reported. */
export interface Outcome {
  readonly state: TaskState;
  readonly message: string;
  readonly code: string;
}

export interface Ended {
  /** 0: none. */
  readonly memoryLimitBytes: number;
  /** Set if this worker ended the run, or could not start it. */
  readonly verdict: Verdict | undefined;
  /** It was stopped because its lease is released. */
  readonly stopRequested: boolean;
  /** Its process has run. */
  readonly ran: boolean;
  /** It started in a boot of the machine that has ended. */
  readonly earlierBoot: boolean;
  /** It was stopped because the machine goes down. */
  readonly goingDown: boolean;
  /** Undefined if it never ran, or its exit status is not known. */
  readonly exit: ExitStatus | undefined;
  /** Set if it outlived this grace, ms, and was killed. */
  readonly outlivedGraceMs?: number | undefined;
}

/** The reported outcome of a run. Pure. */
export function outcomeOf(ended: Ended): Outcome {
  const { memoryLimitBytes, verdict, stopRequested, ran, earlierBoot, goingDown, exit, outlivedGraceMs } = ended;
  if (verdict !== undefined) return { state: stateOf(verdict), message: verdict.message, code: verdict.code };
  if (stopRequested) {
    return { state: TaskState.SHUTDOWN, message: stopText(ran, exit, outlivedGraceMs), code: "" };
  }
  // L7: the machine's end may have caused any exit status.
  if (earlierBoot)
    return {
      state: TaskState.SHUTDOWN,
      message: "ended with its machine, which has restarted",
      code: "AGENT_MACHINE_RESTARTED",
    };
  if (goingDown)
    return {
      state: TaskState.SHUTDOWN,
      message: `stopped as its machine went down${howText(exit, outlivedGraceMs)}`,
      code: "AGENT_MACHINE_STOPPED",
    };
  if (exit === undefined)
    return { state: TaskState.FAILED, message: containerLost().message, code: "AGENT_CONTAINER_LOST" };
  if (exit.oomKilled) {
    const of =
      memoryLimitBytes > 0
        ? ` of ${mebibytes(memoryLimitBytes)}: raise its memory limit`
        : ": the node has too little memory";
    return {
      state: TaskState.FAILED,
      message: `out of memory${of} (exit code ${exit.code})`,
      code: "AGENT_OUT_OF_MEMORY",
    };
  }
  if (exit.code === 0) return { state: TaskState.COMPLETE, message: "ended with exit code 0", code: "" };
  return { state: TaskState.FAILED, message: `ended with exit code ${exit.code}`, code: "AGENT_TASK_EXITED" };
}

/** How a stop went, as a clause. */
function howText(exit: ExitStatus | undefined, outlivedGraceMs: number | undefined): string {
  if (outlivedGraceMs !== undefined) return `, and killed after its grace of ${outlivedGraceMs / 1_000} s`;
  return exit === undefined ? "" : `, with exit code ${exit.code}`;
}

function stopText(ran: boolean, exit: ExitStatus | undefined, outlivedGraceMs: number | undefined): string {
  if (!ran) return "stopped before it ran";
  if (outlivedGraceMs !== undefined)
    return `killed: did not stop within ${outlivedGraceMs / 1_000} s of its stop signal`;
  return `stopped on request${exit === undefined ? "" : `, with exit code ${exit.code}`}`;
}

/** Whether the machine or the end of a worker ended the run, which is no failure of the run. */
export function isByMachine({ code }: Outcome): boolean {
  return code === "AGENT_MACHINE_RESTARTED" || code === "AGENT_MACHINE_STOPPED" || code === "AGENT_NOT_STARTED";
}

function stateOf({ kind }: Verdict): TaskState {
  switch (kind) {
    case "failed":
      return TaskState.FAILED;
    case "rejected":
      return TaskState.REJECTED;
    case "dropped":
      return TaskState.SHUTDOWN;
    default:
      return kind satisfies never;
  }
}

/** The verdict on a run after an error: a run that never ran is rejected. */
export function verdictOf(error: unknown, ran: boolean): Verdict {
  const code = WarrenError.is(error) ? error.code : "AGENT_INTERNAL";
  const message = errorText(error).replaceAll(/\s*\n\s*/g, " ");
  return {
    kind: code === "AGENT_NOT_STARTED" ? "dropped" : ran ? "failed" : "rejected",
    code,
    message: message.length > messageLength ? `${message.slice(0, messageLength)}…` : message,
  };
}

function containerLost(): AgentError {
  return new AgentError(
    { code: "AGENT_CONTAINER_LOST" },
    "its container is gone, or its state is unknown to the runtime, so its exit status is not known",
  );
}

export function notStarted(why: string): AgentError {
  return new AgentError({ code: "AGENT_NOT_STARTED" }, `${why}: another run takes its place`);
}

function mebibytes(bytes: number): string {
  const count = bytes / 2 ** 20;
  return `${Number.isInteger(count) ? count : count.toFixed(1)} MiB`;
}
