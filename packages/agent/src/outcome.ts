import { TaskState } from "@warren/api";
import type { ExitStatus } from "@warren/runtime";
import { WarrenError, errorText } from "@warren/std";
import { AgentError } from "./errors.ts";
import type { Verdict } from "./local-record.ts";

/** Characters of a message that are kept and reported: reports are bounded whatever a program or a registry says (L10). */
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
  /** This worker ended it, or could not run it. */
  readonly verdict: Verdict | undefined;
  /** It was ended because its lease is released. */
  readonly told: boolean;
  /** Its process has run. */
  readonly ran: boolean;
  /** It started in a boot of the machine that has ended. */
  readonly earlierBoot: boolean;
  /** Undefined where it never ran, or its end is not known. */
  readonly exit: ExitStatus | undefined;
  /** The grace, ms, that passed without its end, so that it was killed. */
  readonly outlivedGraceMs?: number | undefined;
}

/** From all that is known of a run's end to what is reported of it. Pure. */
export function outcomeOf(ended: Ended): Outcome {
  const { memoryLimitBytes, verdict, told, ran, earlierBoot, exit, outlivedGraceMs } = ended;
  if (verdict !== undefined) return { state: stateOf(verdict), message: verdict.message, code: verdict.code };
  if (told) {
    return { state: TaskState.SHUTDOWN, message: stopText(ran, exit, outlivedGraceMs), code: "" };
  }
  // L7: whatever its exit was, the machine may have caused it.
  if (earlierBoot)
    return {
      state: TaskState.SHUTDOWN,
      message: "ended with its machine, which has restarted",
      code: "AGENT_MACHINE_RESTARTED",
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

function stopText(ran: boolean, exit: ExitStatus | undefined, outlivedGraceMs: number | undefined): string {
  if (!ran) return "told to stop before it ran";
  if (outlivedGraceMs !== undefined)
    return `killed: did not stop within ${outlivedGraceMs / 1_000} s of its stop signal`;
  return `stopped as told${exit === undefined ? "" : `, with exit code ${exit.code}`}`;
}

/** Whether the machine, or the end of a worker on it, ended the run: no failure of the run. */
export function isByMachine({ code }: Outcome): boolean {
  return code === "AGENT_MACHINE_RESTARTED" || code === "AGENT_NOT_STARTED";
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

/** What an error says of a run: one that never ran is rejected. */
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
    "its container is gone, or the runtime lost sight of it, so how it ended is not known",
  );
}

export function notStarted(why: string): AgentError {
  return new AgentError({ code: "AGENT_NOT_STARTED" }, `${why}: another run takes its place`);
}

function mebibytes(bytes: number): string {
  const count = bytes / 2 ** 20;
  return `${Number.isInteger(count) ? count : count.toFixed(1)} MiB`;
}
