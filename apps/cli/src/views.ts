/** How objects look in tables. Pure. */
import {
  NodeSpec_Availability,
  NodeStatus_State,
  PortSpec_Mode,
  PortSpec_Protocol,
  TaskState,
  type Event,
  type Network,
  type Node,
  type NodeImage,
  type PortSpec,
  type RegistryCredential,
  type Service,
  type Task,
  type Volume,
} from "@warren/api";
import { slotName } from "@warren/api/model";
import type { Column } from "./output.ts";
import { formatAge, formatBytes } from "./units.ts";

function nameOf(states: Readonly<Record<string, number>>, state: number | undefined): string {
  const [name = "unknown"] = Object.entries(states).find(([, value]) => value === state) ?? [];
  return name.toLowerCase().replaceAll("_", "-");
}

/** `running`, `rejected`, … */
export function stateName(state: TaskState | undefined): string {
  return nameOf(TaskState, state ?? TaskState.UNSPECIFIED);
}

function portText({ target, published, protocol, mode }: PortSpec): string {
  const host = mode === PortSpec_Mode.HOST ? " host" : "";
  return `${published}->${target}/${protocol === PortSpec_Protocol.UDP ? "udp" : "tcp"}${host}`;
}

/** Ids are long; this much tells them apart in practice, and is accepted wherever it is unique. */
export function shortId(id: string | undefined): string {
  return (id ?? "").slice(0, 12);
}

function age(at: Date | undefined, now: number): string {
  return at === undefined ? "" : formatAge(now - at.getTime());
}

/** What runs and, where that is something else, what was asked for. */
function imageText({ spec, summary }: Service): string {
  const asked = spec?.task?.container?.image ?? "";
  const others = (summary?.runningImages ?? []).filter((image) => image !== asked);
  return others.length === 0 ? asked : `${others.join(", ")} -> ${asked}`;
}

export function serviceColumns(now: number): readonly Column<Service>[] {
  return [
    { title: "NAME", value: ({ spec }) => spec?.name ?? "" },
    { title: "ID", value: ({ meta }) => shortId(meta?.id) },
    { title: "STATUS", value: ({ summary }) => summary?.status ?? "" },
    {
      title: "RUNNING",
      value: ({ summary }) => `${summary?.running ?? 0}/${summary?.desired ?? 0}`,
    },
    { title: "IMAGE", value: imageText },
    { title: "AGE", value: ({ meta }) => age(meta?.createdAt, now) },
    { title: "VIP", value: ({ endpoint }) => endpoint?.vip ?? "" },
    { title: "PORTS", value: ({ endpoint, spec }) => (endpoint?.ports ?? spec?.ports ?? []).map(portText).join(", ") },
    { title: "UPDATED", value: ({ meta }) => age(meta?.updatedAt, now), wide: true },
    { title: "LABELS", value: ({ spec }) => labelsText(spec?.labels), wide: true },
    { title: "WAITS", value: ({ summary }) => summary?.waiting ?? "", wide: true },
  ];
}

export function taskColumns(now: number, hostnames: ReadonlyMap<string, string>): readonly Column<Task>[] {
  return [
    { title: "TASK", value: slotName },
    { title: "ID", value: ({ meta }) => shortId(meta?.id) },
    { title: "NODE", value: ({ nodeId }) => hostnames.get(nodeId) ?? shortId(nodeId) },
    { title: "DESIRED", value: ({ desiredState }) => stateName(desiredState) },
    { title: "STATE", value: ({ status }) => stateName(status?.state) },
    { title: "FOR", value: ({ status }) => age(status?.at, now) },
    { title: "ADDRESS", value: ({ status }) => status?.container?.address ?? "" },
    { title: "MESSAGE", value: ({ status }) => status?.message ?? "" },
    { title: "VERSION", value: ({ versionNumber }) => String(versionNumber), wide: true },
    { title: "IMAGE", value: ({ spec }) => spec?.container?.image ?? "", wide: true },
    { title: "PID", value: ({ status }) => String(status?.container?.pid || ""), wide: true },
  ];
}

export { slotName as taskName } from "@warren/api/model";

export const nodeColumns: readonly Column<Node>[] = [
  { title: "HOSTNAME", value: ({ description }) => description?.hostname ?? "" },
  { title: "ID", value: ({ meta }) => shortId(meta?.id) },
  { title: "STATE", value: ({ status }) => nameOf(NodeStatus_State, status?.state) },
  {
    title: "AVAILABILITY",
    value: ({ spec }) => nameOf(NodeSpec_Availability, spec?.availability || NodeSpec_Availability.ACTIVE),
  },
  { title: "SUBNET", value: ({ subnet }) => subnet },
  { title: "PLATFORM", value: ({ description }) => `${description?.os ?? ""}/${description?.architecture ?? ""}` },
  { title: "RUNTIME", value: ({ description }) => description?.runtime ?? "" },
  { title: "MESSAGE", value: nodeMessage },
  { title: "CPUS", value: ({ description }) => String((description?.cpuNanos ?? 0) / 1e9), wide: true },
  { title: "MEMORY", value: ({ description }) => formatBytes(description?.memoryBytes ?? 0), wide: true },
  { title: "VERSION", value: ({ description }) => description?.version ?? "", wide: true },
  { title: "LABELS", value: ({ spec }) => labelsText(spec?.labels), wide: true },
];

/** `tier=front, zone=north`. */
function labelsText(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => (value === "" ? key : `${key}=${value}`))
    .sort()
    .join(", ");
}

/** Why it is as it is, and which of its conditions `node inspect` has in full. */
function nodeMessage({ status, description }: Node): string {
  const conditions = (description?.conditions ?? []).map(({ code, subject }) => `${code} ${subject}`.trim());
  return [status?.message ?? "", ...conditions].filter((text) => text !== "").join("; ");
}

export const networkColumns: readonly Column<Network>[] = [
  { title: "NAME", value: ({ spec }) => spec?.name ?? "" },
  { title: "ID", value: ({ meta }) => shortId(meta?.id) },
  { title: "LABELS", value: ({ spec }) => labelsText(spec?.labels), wide: true },
];

export function volumeColumns(now: number, hostnames: ReadonlyMap<string, string>): readonly Column<Volume>[] {
  return [
    { title: "NAME", value: ({ name }) => name },
    { title: "NODE", value: ({ nodeId }) => hostnames.get(nodeId) ?? shortId(nodeId) },
    { title: "AGE", value: ({ createdAt }) => age(createdAt, now) },
    { title: "USED BY", value: ({ services }) => services.join(", ") },
    { title: "PATH", value: ({ path }) => path, wide: true },
  ];
}

export function imageColumns(hostnames: ReadonlyMap<string, string>): readonly Column<NodeImage>[] {
  return [
    { title: "IMAGE", value: ({ ref }) => shortReference(ref) },
    { title: "NODE", value: ({ nodeId }) => hostnames.get(nodeId) ?? shortId(nodeId) },
    { title: "SIZE", value: ({ sizeBytes }) => formatBytes(sizeBytes) },
    { title: "USED BY", value: ({ services }) => services.join(", ") },
    { title: "REFERENCE", value: ({ ref }) => ref, wide: true },
    { title: "DIGEST", value: ({ digest }) => digest, wide: true },
  ];
}

/** As people write it: `nginx:1.27`, with the beginning of a digest. */
function shortReference(ref: string): string {
  return ref.replace(/^docker\.io\/(library\/)?/, "").replace(/(@sha256:[0-9a-f]{12})[0-9a-f]+$/, "$1");
}

export const registryColumns: readonly Column<RegistryCredential>[] = [
  { title: "REGISTRY", value: ({ registry }) => registry },
  { title: "USER", value: ({ auth }) => auth?.username ?? "" },
];

/** How times are shown: `3s ago`, `in 10s`, or exactly. */
export function timeText(exact: boolean, now: number): (at: Date | undefined) => string {
  return (at) => {
    if (at === undefined) return "";
    if (exact) return at.toISOString();
    const ms = now - at.getTime();
    return ms < 0 ? `in ${formatAge(-ms)}` : `${formatAge(ms)} ago`;
  };
}

export const eventColumns = (when: (at: Date | undefined) => string): readonly Column<Event>[] => [
  { title: "WHEN", value: ({ at }) => when(at) },
  { title: "OBJECT", value: ({ objectName, objectId }) => (objectName === "" ? shortId(objectId) : objectName) },
  { title: "ACTION", value: ({ action }) => action },
  { title: "MESSAGE", value: ({ message }) => message },
];
