/** Types of the relay server and of the requests that it serves. */
import { ApiError, precondition, type RelayDown, type RelayUp, type Version } from "@warren/api";
import type { Runtime } from "@warren/runtime";
import type { Images } from "./images.ts";
import type { Volumes } from "./volumes.ts";
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
  readonly volumes: Pick<Volumes, "list" | "delete">;
  readonly images: Pick<Images, "prune">;
  /** Versions of the leases that are assigned to the node, each with its service's name. */
  readonly inUse: () => Iterable<VersionInUse>;
  /** Services of leases that are not released and whose version is not assigned: what their tasks use is not known. */
  readonly inUnknownUse: () => ReadonlySet<string>;
  readonly hasContainer: (taskId: string, signal: AbortSignal) => Promise<boolean>;
}

export interface VersionInUse {
  readonly version: Version;
  readonly serviceName: string;
}

/** Names of the services with a version of which `matches` holds, in order. */
export function servicesThat(inUse: Iterable<VersionInUse>, matches: (version: Version) => boolean): string[] {
  const names = [...inUse].filter(({ version }) => matches(version)).map(({ serviceName }) => serviceName);
  return [...new Set(names)].sort();
}

/** The stream of one relay. */
export interface Relay {
  /** Resolves when the queue has room. */
  send(message: NonNullable<RelayUp["message"]>): Promise<void>;
  /** The caller's messages of an exec or a connection. Ends when the caller disconnects. */
  readonly received: AsyncIterable<RelayReceived>;
}

export type RelayReceived = Exclude<NonNullable<RelayDown["message"]>, { $case: "end" }>;

/** @throws ApiError where the task is not on this node, or does not run */
export function mustRun({ runs, containers }: Pick<RelayDependencies, "runs" | "containers">, ref: string): void {
  if (!runs().has(ref)) throw taskNotFound(ref, `task ${ref} is not on this node`);
  if (containers.get(ref)?.state.kind !== "running")
    throw precondition([{ type: "TASK_NOT_RUNNING", subject: `task/${ref}`, description: `task ${ref} does not run` }]);
}

/** The task is not on this node, or its log or process is gone. */
export function taskNotFound(ref: string, message: string): ApiError {
  return new ApiError({ code: "API_NOT_FOUND", kind: "task", ref }, message);
}
