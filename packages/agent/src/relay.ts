/** What the server of relays and its contents share. */
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
  /** Runs of this node by their tasks' ids, ended ones that are kept included. */
  readonly runs: () => ReadonlyMap<string, RunRecord>;
  /** Resolves when the task has a container, with false if it never will. */
  readonly hasContainer: (taskId: string, signal: AbortSignal) => Promise<boolean>;
}

/** What a relay's content is given to work with. */
export interface Relay {
  /** Resolves when there is room for more. */
  send(message: NonNullable<RelayUp["message"]>): Promise<void>;
  /** Of an exec: what its caller sends. Ends with the caller. */
  readonly received: AsyncIterable<ExecRequest>;
}

/** Refuses a request for a task that is not on this node, or has no log or process here any more. */
export function taskNotFound(ref: string, message: string): ApiError {
  return new ApiError({ code: "API_NOT_FOUND", kind: "task", ref }, message);
}
