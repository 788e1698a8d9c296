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
  type PortSpec,
  type RegistryCredential,
  type Service,
  type Task,
} from "@warren/api";
import { slotName } from "@warren/api/model";
import type { Column } from "./output.ts";
import { formatAge } from "./units.ts";

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
  { title: "MESSAGE", value: ({ status }) => status?.message ?? "" },
];

export const networkColumns: readonly Column<Network>[] = [
  { title: "NAME", value: ({ spec }) => spec?.name ?? "" },
  { title: "ID", value: ({ meta }) => shortId(meta?.id) },
];

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
