/** Keys and ids that managers and nodes compute independently of each other. */
import { hash } from "node:crypto";
import type { Epoch } from "../generated/warren/v1/meta.ts";
import type { SlotKey } from "../generated/warren/v1/slot.ts";

/** Base-36 digits of a task's id: as many as `newId` gives other objects. */
const taskIdLength = 25;

/** `3` of a replicated service, `node-ID` of a global one, `2-17` of a job's second iteration. */
export function slotKeyText(key: SlotKey | undefined): string {
  switch (key?.key?.$case) {
    case "number":
      return String(key.key.value);
    case "nodeId":
      return `node-${key.key.value}`;
    case "index":
      return `${key.key.value.iteration}-${key.key.value.index}`;
    case undefined:
      return "";
  }
}

/** The key that `slotKeyText` wrote; undefined for any other text. */
export function parseSlotKey(text: string): SlotKey | undefined {
  if (/^[1-9]\d{0,9}$/.test(text)) return numberedSlot(Number(text));
  const index = /^(\d{1,10})-(\d{1,10})$/.exec(text);
  if (index !== null)
    return { key: { $case: "index", value: { iteration: Number(index[1]), index: Number(index[2]) } } };
  return text.startsWith("node-") && text.length > 5 ? { key: { $case: "nodeId", value: text.slice(5) } } : undefined;
}

/** The key of a replicated service's slot. */
export function numberedSlot(number: number): SlotKey {
  return { key: { $case: "number", value: number } };
}

/** The number of a replicated service's slot; 0 of any other. */
export function slotNumber(key: SlotKey | undefined): number {
  return key?.key?.$case === "number" ? key.key.value : 0;
}

/** The order in which people read slots: by number, by iteration and index, by node. */
export function compareSlotKeys(a: SlotKey | undefined, b: SlotKey | undefined): number {
  const [left, right] = [a?.key, b?.key];
  if (left?.$case === "number" && right?.$case === "number") return left.value - right.value;
  if (left?.$case === "index" && right?.$case === "index")
    return left.value.iteration - right.value.iteration || left.value.index - right.value.index;
  const [one, other] = [slotKeyText(a), slotKeyText(b)];
  return one < other ? -1 : Number(one > other);
}

/** The order in which people read tasks of several services: by the service's name, then as `compareSlotKeys`. */
export function compareByService(a: OfSlot, b: OfSlot): number {
  if (a.serviceName !== b.serviceName) return a.serviceName < b.serviceName ? -1 : 1;
  return compareSlotKeys(a.slot, b.slot);
}

interface OfSlot {
  readonly serviceName: string;
  readonly slot: SlotKey | undefined;
}

/** The id of a service's slot: `SERVICE_ID.KEY`. */
export function slotIdOf(serviceId: string, key: SlotKey): string {
  return `${serviceId}.${slotKeyText(key)}`;
}

/** The service that a slot's id names. */
export function serviceOfSlot(slotId: string): string {
  const dot = slotId.indexOf(".");
  return dot === -1 ? slotId : slotId.slice(0, dot);
}

/** The key in a slot's id; undefined if the text is not a slot's id. */
export function keyOfSlot(slotId: string): SlotKey | undefined {
  const dot = slotId.indexOf(".");
  return dot === -1 ? undefined : parseSlotKey(slotId.slice(dot + 1));
}

/** `web.3`: a slot's name for people and DNS. */
export function slotName(task: OfSlot): string {
  return `${task.serviceName}.${slotKeyText(task.slot)}`;
}

/** `1z141z4-2s`: reign and index, base 36. */
export function epochText(epoch: Epoch | undefined): string {
  return epoch === undefined ? "" : `${epoch.reign.toString(36)}-${epoch.index.toString(36)}`;
}

/** The epoch that `epochText` wrote; undefined for any other text. */
export function parseEpoch(text: string): Epoch | undefined {
  const parts = /^([0-9a-z]{1,11})-([0-9a-z]{1,11})$/.exec(text);
  if (parts === null) return undefined;
  const [reign, index] = [parseInt(parts[1] as string, 36), parseInt(parts[2] as string, 36)];
  return Number.isSafeInteger(reign) && Number.isSafeInteger(index) ? { reign, index } : undefined;
}

export function sameEpoch(a: Epoch | undefined, b: Epoch | undefined): boolean {
  return a?.reign === b?.reign && a?.index === b?.index;
}

/** The key of a lease and of its backend among a node's assignments: `SLOT_ID/EPOCH`. */
export function leaseKey(slotId: string, epoch: Epoch | undefined): string {
  return `${slotId}/${epochText(epoch)}`;
}

/** What `leaseKey` joined; undefined for any other text. */
export function parseLeaseKey(key: string): { readonly slotId: string; readonly epoch: Epoch } | undefined {
  const slash = key.indexOf("/");
  const epoch = slash === -1 ? undefined : parseEpoch(key.slice(slash + 1));
  return epoch === undefined ? undefined : { slotId: key.slice(0, slash), epoch };
}

/** Which run of a lease a task is. */
export interface RunKey {
  /** A random number that a worker makes at each start; 0 for the run that the manager names. */
  readonly life: number;
  /** From 1. */
  readonly run: number;
}

/** The first run of every lease, which the manager names. */
export const firstRun: RunKey = Object.freeze({ life: 0, run: 1 });

/** The id of the task of a lease's run: 25 characters of `[0-9a-z]`, the same wherever it is computed. */
export function taskIdOf(slotId: string, epoch: Epoch | undefined, { life, run }: RunKey): string {
  const digest = hash("sha256", `${leaseKey(slotId, epoch)}/${life}/${run}`, "hex");
  // 128 bits, 32 hexadecimal digits, are at most 25 of base 36.
  const digits = BigInt(`0x${digest.slice(0, 32)}`).toString(36);
  return digits.padStart(taskIdLength, "0");
}
