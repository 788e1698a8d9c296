/** Types of the relay server and of the requests that it serves. */
import { ApiError, type ExecRequest, type RelayUp } from "@warren/api";
import type { Runtime } from "@warren/runtime";
import type { Clock, Logger } from "@warren/std";
import type { Containers } from "./containers.ts";
import type { RunRecord } from "./local-record.ts";
import type { Session } from "./seams.ts";

export interface RelayDependencies {
  readonly session: Session;
  readonly runtime: Runtime;
  readonly containers: Containers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeId: string;
  /** Runs of this node by task id, kept ended ones included. */
  readonly runs: () => ReadonlyMap<string, RunRecord>;
  /** Resolves when the task has a container, with false if it never will. */
  readonly hasContainer: (taskId: string, signal: AbortSignal) => Promise<boolean>;
}

/** The stream of one relay. */
export interface Relay {
  /** Resolves when the queue has room. */
  send(message: NonNullable<RelayUp["message"]>): Promise<void>;
  /** The caller's messages of an exec. Ends when the caller disconnects. */
  readonly received: AsyncIterable<ExecRequest>;
}

/** The task is not on this node, or its log or process is gone. */
export function taskNotFound(ref: string, message: string): ApiError {
  return new ApiError({ code: "API_NOT_FOUND", kind: "task", ref }, message);
}
