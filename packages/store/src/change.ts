import type { State } from "./state.ts";
import { idOf, type TableName, type Tables } from "./tables.ts";

/** What a transaction did to one object. `object` of a delete is the object as it last was. */
export type StoreChange = {
  [T in TableName]: {
    readonly table: T;
    readonly kind: "create" | "update" | "delete";
    readonly object: Tables[T];
    /** Absent with `create`. */
    readonly before?: Tables[T];
  };
}[TableName];

/** What was applied in one step. */
export interface ChangeBatch {
  /** The version of the state after it. */
  readonly version: number;
  readonly changes: readonly StoreChange[];
}

/** The changes that turn one state into another: for watchers, when a snapshot replaces the state. */
export function difference(from: State, to: State): StoreChange[] {
  const changes: StoreChange[] = [];
  for (const { name: table } of to.schema.tables) {
    const old = from.table(table);
    const now = to.table(table);
    if (old === now) continue;
    for (const before of old.values()) {
      if (now.get(idOf(before)) === undefined)
        changes.push({ table, kind: "delete", object: before, before } as StoreChange);
    }
    for (const object of now.values()) {
      const before = old.get(idOf(object));
      if (before === undefined) changes.push({ table, kind: "create", object } as StoreChange);
      else if (before.meta?.version !== object.meta?.version)
        changes.push({ table, kind: "update", object, before } as StoreChange);
    }
  }
  return changes;
}
