/** Membership changes: their meaning, and their bytes in an entry (protobuf, as etcd writes them). */
import { pushVarint, readVarint } from "@warren/std";
import { RaftError } from "../errors.ts";
import type {
  AnyConfChange,
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  Entry,
} from "./types.ts";

const types: readonly ConfChangeType[] = [
  "ConfChangeAddNode",
  "ConfChangeRemoveNode",
  "ConfChangeUpdateNode",
  "ConfChangeAddLearnerNode",
];
const transitions: readonly ConfChangeTransition[] = [
  "ConfChangeTransitionAuto",
  "ConfChangeTransitionJointImplicit",
  "ConfChangeTransitionJointExplicit",
];

/** The new form of either. */
export function asV2(change: AnyConfChange): ConfChangeV2 {
  if (change.version === 2) return change;
  const v2 = {
    version: 2,
    transition: "ConfChangeTransitionAuto",
    changes: [{ type: change.type, nodeId: change.nodeId }],
  } as const;
  return change.context === undefined ? v2 : { ...v2, context: change.context };
}

/** How a change is carried out: within one configuration, into a joint one, or out of it. */
export function transitionOf(change: ConfChangeV2): "simple" | "enter-joint" | "leave-joint" {
  if (change.transition !== "ConfChangeTransitionAuto" || change.changes.length > 1) return "enter-joint";
  return change.changes.length === 0 ? "leave-joint" : "simple";
}

/** A change as an entry's type and data. @throws RaftError `RAFT_CONF_CHANGE_INVALID` if it names what there can't be */
export function encodeConfChange(change: AnyConfChange): Pick<Entry, "type" | "data"> {
  for (const single of change.version === 1 ? [change] : change.changes) checkSingle(single);
  if (change.version === 2 && !transitions.includes(change.transition))
    throw invalid(`there is no ${change.transition}`);
  const bytes: number[] = [];
  if (change.version === 1) {
    bytes.push(0x10, types.indexOf(change.type), 0x18);
    pushVarint(bytes, change.nodeId);
    if (change.context !== undefined) field(bytes, 0x22, change.context);
    return { type: "EntryConfChange", data: Uint8Array.from(bytes) };
  }
  bytes.push(0x08, transitions.indexOf(change.transition));
  for (const { type, nodeId } of change.changes) {
    const single = [0x08, types.indexOf(type), 0x10];
    pushVarint(single, nodeId);
    field(bytes, 0x12, single);
  }
  if (change.context !== undefined) field(bytes, 0x1a, change.context);
  return { type: "EntryConfChangeV2", data: Uint8Array.from(bytes) };
}

/**
 * The change in an entry of type `EntryConfChange` or `EntryConfChangeV2`.
 * @throws RaftError `RAFT_CONF_CHANGE_INVALID` if the bytes are not one
 */
export function decodeConfChange(entry: Pick<Entry, "type" | "data">): AnyConfChange {
  return entry.type === "EntryConfChange" ? decodeV1(entry.data) : decodeV2(entry.data);
}

function decodeV1(data: Uint8Array): ConfChange {
  const single = decodeSingle(data, 2, 3);
  const context = fields(data).findLast(({ number }) => number === 4)?.bytes;
  return context === undefined ? { version: 1, ...single } : { version: 1, ...single, context };
}

function decodeV2(data: Uint8Array): ConfChangeV2 {
  let transition: ConfChangeTransition = "ConfChangeTransitionAuto";
  let context: Uint8Array | undefined;
  const changes: ConfChangeSingle[] = [];
  for (const { number, value, bytes } of fields(data)) {
    if (number === 1) transition = known(transitions, value);
    else if (number === 2) changes.push(decodeSingle(bytes ?? malformed(), 1, 2));
    else if (number === 3) context = bytes;
  }
  return context === undefined ? { version: 2, transition, changes } : { version: 2, transition, changes, context };
}

function decodeSingle(data: Uint8Array, typeField: number, idField: number): ConfChangeSingle {
  let type: ConfChangeType = "ConfChangeAddNode";
  let nodeId = 0;
  for (const { number, value } of fields(data)) {
    if (number === typeField) type = known(types, value);
    else if (number === idField) nodeId = value;
  }
  return { type, nodeId };
}

interface Field {
  readonly number: number;
  readonly value: number;
  readonly bytes: Uint8Array | undefined;
}

function fields(data: Uint8Array): Field[] {
  const found: Field[] = [];
  let at = 0;
  const read = (): number => {
    const { value, end } = readVarint(data, at) ?? malformed();
    at = end;
    return value;
  };
  while (at < data.length) {
    const tag = read();
    const number = tag >>> 3;
    const value = read();
    if ((tag & 7) === 0) {
      found.push({ number, value, bytes: undefined });
    } else if ((tag & 7) === 2 && at + value <= data.length) {
      found.push({ number, value: 0, bytes: data.subarray(at, at + value) });
      at += value;
    } else {
      malformed();
    }
  }
  return found;
}

function known<T>(names: readonly T[], value: number): T {
  return names[value] ?? malformed();
}

function checkSingle({ type, nodeId }: ConfChangeSingle): void {
  if (!types.includes(type)) throw invalid(`there is no ${type}`);
  if (!Number.isSafeInteger(nodeId) || nodeId < 0)
    throw invalid(`${String(nodeId)} is no member's id: that is a whole number above 0`);
}

function malformed(): never {
  throw invalid("a membership change in the log can't be decoded: it was written by another version or is damaged");
}

function invalid(why: string): RaftError {
  return new RaftError({ code: "RAFT_CONF_CHANGE_INVALID" }, why);
}

function field(bytes: number[], tag: number, content: ArrayLike<number>): void {
  bytes.push(tag);
  pushVarint(bytes, content.length);
  for (let i = 0; i < content.length; i++) bytes.push(content[i] as number);
}
