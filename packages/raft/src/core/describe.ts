/** Text for people, in the very form that etcd's transcripts use. */
import { asV2, decodeConfChange } from "./conf-change.ts";
import {
  LocalAppendThread,
  LocalApplyThread,
  None,
  type ConfChangeSingle,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type NodeId,
  type Ready,
  type Snapshot,
  type SoftState,
} from "./types.ts";

/** How an entry's data is shown. */
export type EntryFormatter = (data: Uint8Array) => string;

const escapes: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};
const notText = /\uFFFD/u;

/** Bytes as a quoted string; what is not printable is escaped. */
function quote(data: Uint8Array): string {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(data);
  const raw = notText.test(text);
  const characters = raw ? Array.from(data, (byte) => String.fromCharCode(byte)) : Array.from(text);
  let quoted = '"';
  for (const character of characters) {
    const code = character.codePointAt(0) as number;
    if (escapes[character] !== undefined) quoted += escapes[character];
    else if (code < 0x20 || code === 0x7f || (raw && code > 0x7f)) quoted += `\\x${code.toString(16).padStart(2, "0")}`;
    else quoted += character;
  }
  return `${quoted}"`;
}

/** `Term:1 Vote:2 Commit:3`, the vote only if there is one. */
export function describeHardState(state: HardState): string {
  return `Term:${state.term}${state.vote === 0 ? "" : ` Vote:${state.vote}`} Commit:${state.commit}`;
}

export function describeSoftState(state: SoftState): string {
  return `Lead:${state.lead} State:${state.raftState}`;
}

export function describeConfState(state: ConfState): string {
  const list = (ids: readonly NodeId[]): string => `[${ids.join(" ")}]`;
  return (
    `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} Learners:${list(state.learners)} ` +
    `LearnersNext:${list(state.learnersNext)} AutoLeave:${state.autoLeave}`
  );
}

export function describeSnapshot({ metadata }: Snapshot): string {
  return `Index:${metadata.index} Term:${metadata.term} ConfState:${describeConfState(metadata.confState)}`;
}

/** `v1 l2 r3 u4`: voter, learner, remove, update. */
function describeChanges(changes: readonly ConfChangeSingle[]): string {
  const letters = {
    ConfChangeAddNode: "v",
    ConfChangeAddLearnerNode: "l",
    ConfChangeRemoveNode: "r",
    ConfChangeUpdateNode: "u",
  } as const;
  return changes.map(({ type, nodeId }) => `${letters[type]}${nodeId}`).join(" ");
}

/** `term/index type data`. */
export function describeEntry(entry: Entry, format: EntryFormatter = quote): string {
  const shown =
    entry.type === "EntryNormal" ? format(entry.data) : describeChanges(asV2(decodeConfChange(entry)).changes);
  return `${entry.term}/${entry.index} ${entry.type}${shown === "" ? "" : ` ${shown}`}`;
}

export function describeEntries(entries: readonly Entry[], format?: EntryFormatter): string {
  return entries.map((entry) => `${describeEntry(entry, format)}\n`).join("");
}

function describeTarget(id: NodeId): string {
  if (id === None) return "None";
  if (id === LocalAppendThread) return "AppendThread";
  return id === LocalApplyThread ? "ApplyThread" : id.toString(16);
}

/** One line, or several if it holds several entries, a snapshot or responses. */
export function describeMessage(message: Message, format?: EntryFormatter, indent: string = ""): string {
  const { entries, snapshot, responses } = message;
  let text =
    `${indent}${describeTarget(message.from)}->${describeTarget(message.to)} ${message.type} ` +
    `Term:${message.term} Log:${message.logTerm}/${message.index}`;
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint})`;
  if (message.commit !== 0) text += ` Commit:${message.commit}`;
  if (message.vote !== 0) text += ` Vote:${message.vote}`;
  if (entries.length === 1) {
    text += ` Entries:[${describeEntry(entries[0] as Entry, format)}]`;
  } else if (entries.length > 1) {
    const lines = entries.map((entry) => `\n${indent}  ${describeEntry(entry, format)}`);
    text += ` Entries:[${lines.join("")}\n${indent}]`;
  }
  if (snapshot !== undefined && snapshot.metadata.index !== 0) {
    text += `\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`;
  }
  if (responses.length > 0) {
    const lines = responses.map((response) => `\n${describeMessage(response, format, `${indent}  `)}`);
    text += ` Responses:[${lines.join("")}\n${indent}]`;
  }
  return text;
}

export function describeReady(ready: Ready, format?: EntryFormatter): string {
  let text = "";
  if (ready.softState !== undefined) text += `${describeSoftState(ready.softState)}\n`;
  if (ready.hardState !== undefined) text += `HardState ${describeHardState(ready.hardState)}\n`;
  if (ready.readStates.length > 0) {
    const states = ready.readStates.map(({ index, context }) => `{${index} [${context.join(" ")}]}`);
    text += `ReadStates [${states.join(" ")}]\n`;
  }
  if (ready.entries.length > 0) text += `Entries:\n${describeEntries(ready.entries, format)}`;
  if (ready.snapshot !== undefined) text += `Snapshot ${describeSnapshot(ready.snapshot)}\n`;
  if (ready.committedEntries.length > 0) {
    text += `CommittedEntries:\n${describeEntries(ready.committedEntries, format)}`;
  }
  if (ready.messages.length > 0) {
    text += `Messages:\n${ready.messages.map((message) => `${describeMessage(message, format)}\n`).join("")}`;
  }
  return text === "" ? "<empty Ready>" : `Ready MustSync=${ready.mustSync}:\n${text}`;
}
