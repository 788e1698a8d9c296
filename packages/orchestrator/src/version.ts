/**
 * How a version is made from a service's spec.
 */
import { createHash } from "node:crypto";
import type { TaskSpec, Version } from "@warren/api";

/** Characters of a digest: 128 bits. */
const makeLength = 32;

/** The level that a node needs for what level 1 can ask. */
const neededLevel = 1;

export interface VersionInput {
  readonly id: string;
  readonly serviceId: string;
  /** One more than the newest that the service ever had. */
  readonly number: number;
  readonly task: TaskSpec;
  /** Ids of the networks that its tasks join. */
  readonly networks: readonly string[];
  /** Empty: not known yet. */
  readonly imageDigest: string;
}

/** The version that `task` is from now on. */
export function makeVersion({ id, serviceId, number, task, networks, imageDigest }: VersionInput): Version {
  return {
    meta: { id, version: 0, createdAt: undefined, updatedAt: undefined },
    serviceId,
    number,
    task,
    networks: [...networks],
    imageDigest,
    level: neededLevel,
    make: makeOf(task, networks, imageDigest),
  };
}

/**
 * Equal where containers would be: a digest of the task's spec without placement and restart policy, which say where and
 * how often it runs; of the networks that it joins; and of the image that its reference led to.
 */
export function makeOf(task: TaskSpec, networks: readonly string[], imageDigest: string): string {
  const { placement: _placement, restart: _restart, networks: attachments, ...container } = task;
  const aliases = attachments.map((each) => each.aliases);
  const text = canonical({ container, networks, aliases, imageDigest });
  return createHash("sha256").update(text).digest("hex").slice(0, makeLength);
}

/** JSON in which equal values are equal texts: keys in order, and what is absent or empty of unknown fields left out. */
function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString("base64")}"`;
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(
    ([key, each]) => each !== undefined && !(key === "_unknownFields" && Object.keys(each as object).length === 0),
  );
  const parts = entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`);
  return `{${parts.join()}}`;
}
