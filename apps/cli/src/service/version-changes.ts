/** What differs between two versions of a service, by the flags that set it. Pure. */
import { TaskSpec, type Version } from "@warren/api";
import { formatBytes, formatDuration } from "../units.ts";
import { serviceFieldWords } from "./service-flags.ts";

export interface FieldChange {
  /** `--env LEVEL`, `--limit-memory`; where no flag sets it, its path in the API. */
  readonly field: string;
  /** Undefined: it was not set. */
  readonly before: string | undefined;
  /** Undefined: it is no longer set. */
  readonly after: string | undefined;
}

/** @param toJson proto3 JSON of a TaskSpec, which leaves out what has its default */
export function versionChanges(before: Version, after: Version, toJson: (task: TaskSpec) => unknown): FieldChange[] {
  const [old, now] = [before, after].map(({ task }) => fieldsOf(toJson(task ?? TaskSpec.create({}))));
  const changes: FieldChange[] = [];
  for (const path of new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])])) {
    const [was, is] = [old?.get(path), now?.get(path)];
    if (was !== is) changes.push({ field: wordOf(path), before: was, after: is });
  }
  const digests = [before.imageDigest, after.imageDigest] as const;
  if (before.task?.container?.image === after.task?.container?.image && digests[0] !== digests[1])
    changes.push({ field: "digest of the image", before: digests[0] || undefined, after: digests[1] || undefined });
  return changes;
}

/** Field path → value as text, of all that is set. An entry of a list of messages is a field of its own. */
function fieldsOf(json: unknown): Map<string, string> {
  const fields = new Map<string, string>();
  const visit = (path: readonly string[], value: unknown): void => {
    if (Array.isArray(value) && value.some((entry) => typeof entry === "object"))
      for (const entry of value) visit([...path, nameOf(entry)], entry);
    else if (typeof value === "object" && value !== null && !Array.isArray(value))
      for (const [key, entry] of Object.entries(value)) visit([...path, key], entry);
    else fields.set(path.join("\0"), valueText(path.at(-1) ?? "", value));
  };
  visit([], json);
  return fields;
}

/** The key of an entry in its list. */
function nameOf(entry: unknown): string {
  const { target, network, name } = entry as { readonly [key: string]: unknown };
  const known = [target, network, name].find((each) => typeof each === "string" || typeof each === "number");
  return known === undefined ? JSON.stringify(entry) : String(known);
}

function valueText(field: string, value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(" ");
  const amount = Number(value);
  if (field.endsWith("Bytes")) return formatBytes(amount);
  if (field.endsWith("Ms")) return formatDuration(amount);
  if (field.endsWith("Nanos")) return String(amount / 1e9);
  return String(value);
}

/** The flag that sets a field, and the rest of its path. */
function wordOf(path: string): string {
  const parts = path.split("\0");
  if (path === "forceUpdate") return "restart";
  for (let length = parts.length; length > 0; length -= 1) {
    const known = serviceFieldWords[`spec.task.${parts.slice(0, length).map(snake).join(".")}`];
    if (known !== undefined) return [known, ...parts.slice(length)].join(" ");
  }
  return parts.map(snake).join(".");
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `+ --env LEVEL: debug`, `- …` and `~ --image: nginx:1 -> nginx:2`. */
export function changeLine({ field, before, after }: FieldChange): string {
  if (before === undefined) return `+ ${field}: ${after ?? ""}`;
  if (after === undefined) return `- ${field}: ${before}`;
  return `~ ${field}: ${before} -> ${after}`;
}

/** The changes in a few words: one with its values, more by what they are of. */
export function changesText(changes: readonly FieldChange[]): string {
  const [first] = changes;
  if (first === undefined) return "nothing";
  if (changes.length > 1) return changes.map(({ field }) => field).join(", ");
  return first.field === "restart" ? "restart" : changeLine(first).slice(2);
}
