import {
  LocalAppendThread,
  LocalApplyThread,
  None,
  type Entry,
  type Message,
  type MessageType,
  type NodeId,
} from "./types.ts";

const noEntries: readonly Entry[] = Object.freeze([]);
const noResponses: readonly Message[] = Object.freeze([]);

/** A message with every field present, so that all of them have one shape to the engine. */
export function message(type: MessageType, fields: Partial<Message> = {}): Message {
  return {
    type,
    to: fields.to ?? 0,
    from: fields.from ?? 0,
    term: fields.term ?? 0,
    logTerm: fields.logTerm ?? 0,
    index: fields.index ?? 0,
    entries: fields.entries ?? noEntries,
    commit: fields.commit ?? 0,
    vote: fields.vote ?? 0,
    snapshot: fields.snapshot,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0,
    context: fields.context,
    responses: fields.responses ?? noResponses,
  };
}

/** Whether the type only ever passes between a node and its own driver. */
export function isLocalMessage(type: MessageType): boolean {
  switch (type) {
    case "MsgHup":
    case "MsgBeat":
    case "MsgUnreachable":
    case "MsgSnapStatus":
    case "MsgCheckQuorum":
    case "MsgStorageAppend":
    case "MsgStorageAppendResp":
    case "MsgStorageApply":
    case "MsgStorageApplyResp":
      return true;
    default:
      return false;
  }
}

/** Whether the type answers another, so that its sender must be a member. */
export function isResponseMessage(type: MessageType): boolean {
  switch (type) {
    case "MsgAppResp":
    case "MsgVoteResp":
    case "MsgHeartbeatResp":
    case "MsgUnreachable":
    case "MsgReadIndexResp":
    case "MsgPreVoteResp":
    case "MsgStorageAppendResp":
    case "MsgStorageApplyResp":
      return true;
    default:
      return false;
  }
}

/** Whether `id` names one of the two local storage threads rather than a member. */
export function isLocalTarget(id: NodeId): boolean {
  return id === LocalAppendThread || id === LocalApplyThread;
}

/** Whether it can be a member's id: a whole number from 1 to 2^53 − 3. */
export function isNodeId(id: unknown): id is NodeId {
  return typeof id === "number" && Number.isSafeInteger(id) && id > None && !isLocalTarget(id);
}
