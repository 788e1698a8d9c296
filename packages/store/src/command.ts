/**
 * Commands: transactions as they stand in the log, and applying them.
 *
 * C1: deterministic. Ids and times come with the command, versions and event ids from its place in the log.
 * C2: all or nothing. A conflict leaves the state as it was, and is the result.
 * C3: a command takes effect only in the term that it was computed in and on the state that it was computed from. So no
 *     decision misses an earlier command, and the epoch (reign, base) names the effects of one command only.
 */
import { StoreAction_Kind, StoreCommand, StoreConflict_Kind, type StoreResult } from "@warren/api";

import type { StoreChange } from "./change.ts";
import { damaged } from "./errors.ts";
import { checkProgramLevel, type Program } from "./level.ts";
import { storeObject, type Schema } from "./schema.ts";
import { interned } from "./intern.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";
import { definitions, idOf, type StoredObject, type TableDefinition, type TableName } from "./tables.ts";

/** Events that are kept; each further one removes the oldest. */
const maxEvents = 10_000;

/** What a transaction writes to one object. */
export interface Write {
  readonly kind: "create" | "update" | "delete";
  readonly table: TableName;
  /** With `delete` only the id is used. */
  readonly object: StoredObject;
  /** The version that was read; 0 with `create`. */
  readonly expectedVersion: number;
}

const actionKinds = {
  create: StoreAction_Kind.CREATE,
  update: StoreAction_Kind.UPDATE,
  delete: StoreAction_Kind.DELETE,
} as const;

/** The term, state and time that a command was computed in. */
export interface CommandHead {
  readonly schema: Schema;
  /** The active one. */
  readonly level: number;
  readonly at: Date;
  readonly term: number;
  readonly reign: number;
  /** The version of the state that its transactions ran on. */
  readonly base: number;
}

/** The first command of a term. */
export function encodeReign(head: CommandHead): Uint8Array {
  const { at, level, term, reign, base } = head;
  return StoreCommand.encode({ at, level, term, reign, base, actions: [], beginsReign: true }).finish();
}

export function encodeCommand(head: CommandHead, writes: Iterable<Write>): Uint8Array {
  const actions = Array.from(writes, ({ kind, table, object, expectedVersion }) => {
    const definition = head.schema.table(table);
    const meta = { ...object.meta, id: idOf(object), version: 0, createdAt: undefined, updatedAt: undefined };
    const value = kind === "delete" ? definition.codec.fromPartial({ meta } as StoredObject) : { ...object, meta };
    return { kind: actionKinds[kind], expectedVersion, object: storeObject(definition, value) };
  });
  const { at, level, term, reign, base } = head;
  return StoreCommand.encode({ at, level, term, reign, base, actions, beginsReign: false }).finish();
}

/** @throws StoreError `STORE_LEVEL_REFUSED`, `STORE_DAMAGED` */
export function decodeCommand(bytes: Uint8Array, program: Program): StoreCommand & { readonly at: Date } {
  let command: StoreCommand;
  try {
    command = StoreCommand.decode(bytes);
  } catch (cause) {
    throw damaged("its bytes are not a command", cause);
  }
  checkProgramLevel(program, command.level);
  // Fields beside a command's objects decide what applying it does, so an unknown one can't be ignored.
  if (
    command._unknownFields !== undefined ||
    command.actions.some(({ _unknownFields }) => _unknownFields !== undefined)
  )
    throw damaged("it has a field that is not of its level");
  const { at } = command;
  if (at === undefined) throw damaged("it has no time");
  return { ...command, at };
}

interface Checked {
  readonly kind: StoreAction_Kind;
  readonly definition: TableDefinition;
  readonly id: string;
  readonly before: StoredObject | undefined;
  readonly object: StoredObject;
}

export interface Outcome {
  readonly state: State;
  readonly result: StoreResult;
  readonly changes: readonly StoreChange[];
}

/** @throws StoreError for commands that no transaction writes */
export function applyCommand(
  state: State,
  command: StoreCommand & { readonly at: Date },
  entry: { readonly index: number; readonly term: number },
): Outcome {
  const { at, actions, reign, base } = command;
  const { index, term } = entry;
  if (command.term !== term) return overtaken(state);
  if (command.beginsReign) {
    if (actions.length > 0) throw damaged("it begins a reign and writes objects");
    return { state: state.withReign({ reign, term, firstIndex: index }), result: { conflicts: [] }, changes: [] };
  }
  if (reign !== state.reign || base !== state.version) return overtaken(state);
  const conflicts: StoreResult["conflicts"] = [];
  const checked: Checked[] = [];
  const seen = new Map<TableDefinition, Set<string>>();
  let events = 0;
  for (const { kind, expectedVersion, object: wrapped } of actions) {
    if (wrapped === undefined) throw damaged("it writes no object");
    const { table: definition, object } = state.schema.read(wrapped);
    const id = definition.name === "events" ? eventId(index, events++) : idOf(object);
    if (id === "") throw damaged(`an object of ${definition.name} has no id`);
    // A table that this program does not know is created with its first object.
    const before = (state.table(definition.name) as Table | undefined)?.get(id);
    let ids = seen.get(definition);
    if (ids === undefined) seen.set(definition, (ids = new Set<string>()));
    const conflict = check(kind, before, expectedVersion, ids.has(id));
    if (conflict !== undefined) conflicts.push({ table: definition.name, id, kind: conflict });
    ids.add(id);
    checked.push({ kind, definition, id, before, object });
  }
  const draft = state.copy(index);
  // Only known tables have readers.
  const changes: StoreChange[] = [];
  if (conflicts.length === 0) {
    for (const action of checked) {
      const change = perform(draft, action, at, index);
      if (action.definition.opaque !== true) changes.push(change);
    }
    // Checked after all writes, so that a name may pass from one object to another in any order.
    for (const { kind, definition, id, object } of checked) {
      if (kind === StoreAction_Kind.DELETE || !definition.uniqueNames) continue;
      const name = definition.indexes.get("name")?.(object)[0];
      if (name === undefined || draft.table(definition.name).find("name", name).length < 2) continue;
      conflicts.push({ table: definition.name, id, kind: StoreConflict_Kind.NAME_TAKEN });
    }
  }
  if (conflicts.length > 0) return { state, result: { conflicts }, changes: [] };
  if (events > 0) trimEvents(draft, changes);
  return { state: checked.length === 0 ? state : draft, result: { conflicts }, changes };
}

function check(
  kind: StoreAction_Kind,
  before: StoredObject | undefined,
  expectedVersion: number,
  repeated: boolean,
): StoreConflict_Kind | undefined {
  if (repeated) throw damaged("it writes one object twice");
  switch (kind) {
    case StoreAction_Kind.CREATE:
      return before === undefined ? undefined : StoreConflict_Kind.ID_TAKEN;
    case StoreAction_Kind.UPDATE:
    case StoreAction_Kind.DELETE:
      if (before === undefined) return StoreConflict_Kind.MISSING;
      return before.meta?.version === expectedVersion ? undefined : StoreConflict_Kind.STALE;
    default:
      throw damaged("it has an action of a kind that is not known");
  }
}

function overtaken(state: State): Outcome {
  const conflict = { table: "", id: "", kind: StoreConflict_Kind.OVERTAKEN };
  return { state, result: { conflicts: [conflict] }, changes: [] };
}

function perform(
  draft: State,
  { kind, definition, id, before, object }: Checked,
  at: Date,
  index: number,
): StoreChange {
  const table = draft.own(definition);
  if (kind === StoreAction_Kind.DELETE) {
    table.remove(id);
    return { table: definition.name, kind: "delete", object: before, before } as StoreChange;
  }
  const createdAt = before === undefined ? at : before.meta?.createdAt;
  // Both were created by the decoder, and have no other reference.
  object.meta = { ...object.meta, id: before?.meta?.id ?? id, version: index, createdAt, updatedAt: at };
  if (definition.name === "events") (object as { at?: Date }).at = at;
  const after = interned(object, before ?? draft.like(definition, object), draft.pool);
  table.put(after);
  return before === undefined
    ? ({ table: definition.name, kind: "create", object: after } as StoreChange)
    : ({ table: definition.name, kind: "update", object: after, before } as StoreChange);
}

function trimEvents(draft: State, changes: StoreChange[]): void {
  const events = draft.own(definitions.events);
  while (events.size > maxEvents) {
    const oldest = events.first();
    if (oldest === undefined) return;
    events.remove(idOf(oldest));
    changes.push({ table: "events", kind: "delete", object: oldest, before: oldest } as StoreChange);
  }
}

/** 25 characters in the order of the log, then of the command. */
function eventId(index: number, ordinal: number): string {
  return index.toString(36).padStart(19, "0") + ordinal.toString(36).padStart(6, "0");
}
