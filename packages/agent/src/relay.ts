/** What the server of relays and its three contents share. */
import type { AssignedTask, ExecRequest, RelayUp } from "@warren/api";
import type { Runtime } from "@warren/runtime";
import type { Clock, Logger } from "@warren/std";
import type { Containers } from "./containers.ts";
import type { Session } from "./seams.ts";

export interface RelayDependencies {
  readonly session: Session;
  readonly runtime: Runtime;
  readonly containers: Containers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeId: string;
  /** All tasks of this node, ended ones included. */
  readonly tasks: () => readonly AssignedTask[];
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

/** A request that can't be served, with the gRPC status that its caller is told. */
export class RelayRefused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** gRPC's numbers. */
export const relayStatus = {
  invalidArgument: 3,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;
