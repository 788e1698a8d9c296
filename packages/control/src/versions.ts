/** Versions: what a service's tasks are made from, made when a spec is taken. */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { precondition, TaskSpec, type Service, type ServiceVersion, type Version } from "@warren/api";
import type { Transaction, View } from "@warren/store";
import { idOf, serviceName } from "./access.ts";
import { runsAsWanted } from "./task-reading.ts";

/** A task spec without what can change while its container stays. */
function partsOfContainer(spec: TaskSpec): TaskSpec {
  return { ...TaskSpec.fromPartial(spec), placement: undefined, restart: undefined };
}

/** Whether containers made from the one would equal those made from the other, in whatever order maps are. */
export function makesTheSame(a: TaskSpec | undefined, b: TaskSpec | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return isDeepStrictEqual(partsOfContainer(a), partsOfContainer(b));
}

/** Equal for versions whose containers would be equal. */
function makeOf(spec: TaskSpec, imageDigest: string): string {
  const text = JSON.stringify([partsOfContainer(spec), imageDigest], (_key, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

export interface VersionInput {
  readonly serviceId: string;
  readonly number: number;
  /** Complete, its networks by id. */
  readonly task: TaskSpec;
  /** What its image's reference leads to; empty: not known yet. */
  readonly imageDigest: string;
  /** The version before it. One whose containers would be equal passes its `make` on. */
  readonly before: Version | undefined;
}

/**
 * The level that a node needs to run a version (L20): not the level of this program, as an upgrade would else keep every
 * new version from the nodes that are yet to be upgraded. A field of TaskSpec that an older worker would wrongly ignore
 * makes this a function of the spec.
 */
const taskLevel = 1;

/** Makes a version; returns its id. */
export function createVersion(tx: Transaction, input: VersionInput): string {
  const { serviceId, number, task, imageDigest, before } = input;
  const same = before !== undefined && makesTheSame(before.task, task) && before.imageDigest === imageDigest;
  return tx.create("versions", {
    meta: undefined,
    serviceId,
    number,
    task,
    networks: task.networks.map(({ network }) => network),
    imageDigest,
    level: taskLevel,
    make: same ? before.make : makeOf(task, imageDigest),
  });
}

/** The versions that a rollback may name: the last ones that completed, and the last ones that were wanted. */
function keptVersions(view: View, { completedVersionIds, recentVersionIds }: Service): Version[] {
  return [...new Set([...completedVersionIds, ...recentVersionIds])]
    .map((id) => view.get("versions", id))
    .filter((version) => version !== undefined);
}

/** The newest first. */
export function historyOf(view: View, service: Service): ServiceVersion[] {
  const tasks = view.find("tasks", "service", idOf(service)).filter((task) => runsAsWanted(view, task));
  return keptVersions(view, service)
    .toSorted((a, b) => b.number - a.number)
    .map((version) => ({
      version,
      wanted: idOf(version) === service.versionId,
      completed: service.completedVersionIds.includes(idOf(version)),
      running: tasks.filter(({ versionId }) => versionId === idOf(version)).length,
    }));
}

/**
 * The version that a rollback returns to: the one with `number`, or, for 0, the last that completed and is not wanted now.
 *
 * @throws ApiError `API_PRECONDITION` if there is none
 */
export function rollbackTarget(view: View, service: Service, number: number): Version {
  const known = keptVersions(view, service);
  const target =
    number === 0
      ? known.find(
          (version) => service.completedVersionIds.includes(idOf(version)) && idOf(version) !== service.versionId,
        )
      : known.find((version) => version.number === number);
  if (target !== undefined) return target;
  const name = serviceName(service);
  const others = known.filter((version) => idOf(version) !== service.versionId).map((version) => version.number);
  const list = others.toSorted((a, b) => b - a).join(", ");
  const description =
    number === 0
      ? `service "${name}" has no earlier version to roll back to: no other version of it has completed its rollout`
      : `service "${name}" keeps no version ${number}`;
  throw precondition(
    [{ type: "NO_VERSION", subject: `service/${name}`, description }],
    list === ""
      ? `change it with: warren service update ${name}`
      : others.length === 1
        ? `it keeps version ${list} as well: warren service rollback ${name} --to ${list}`
        : `it keeps versions ${list}: warren service rollback ${name} --to N`,
  );
}
