import { WarrenError } from "@warren/std";

import type { TableName } from "./tables.ts";

/** Why an object could not be written. */
export type ConflictKind =
  /** It was changed since it was read. */
  | "stale"
  /** It does not exist any more. */
  | "missing"
  | "id-taken"
  | "name-taken"
  /** Another command was applied first: the term or the state that it was computed from is no longer the current one. */
  | "overtaken";

/** What can go wrong in operation; `code` is public API. */
export type StoreFailure =
  /** This manager has begun no term, or its term is over, so it accepts no writes. Nothing was written. */
  | { readonly code: "STORE_NOT_LEADER"; readonly leader: string | undefined }
  /** The transaction may be applied or not: read before you retry. */
  | { readonly code: "STORE_OUTCOME_UNKNOWN" }
  /** Nothing was written; retry later. */
  | { readonly code: "STORE_UNAVAILABLE"; readonly reason: string }
  /** Another writer was first at every attempt, or the object was changed since `work`'s caller read it. */
  | {
      readonly code: "STORE_CONFLICT";
      /** Absent with `overtaken`, which concerns no single object. */
      readonly table: TableName | undefined;
      readonly id: string;
      readonly kind: ConflictKind;
      readonly attempts: number;
    }
  /** Names are unique in `table`; `id` holds this one. */
  | { readonly code: "STORE_NAME_TAKEN"; readonly table: TableName; readonly name: string; readonly id: string }
  | { readonly code: "STORE_NOT_FOUND"; readonly table: TableName; readonly ref: string }
  | {
      readonly code: "STORE_AMBIGUOUS";
      readonly table: TableName;
      readonly ref: string;
      /** Ids of the first ten. */
      readonly candidates: readonly string[];
    }
  /** One transaction has more bytes than the log accepts in one command. */
  | { readonly code: "STORE_TOO_LARGE"; readonly bytes: number; readonly limit: number }
  /** A watcher left more than `limit` batches unread. */
  | { readonly code: "STORE_WATCH_LAGGED"; readonly limit: number }
  /** The program on `manager` does not read the level of the log, of a snapshot or of the cluster: it can't take part. */
  | {
      readonly code: "STORE_LEVEL_REFUSED";
      readonly manager: string;
      readonly active: number;
      readonly level: number;
      readonly minLevel: number;
    }
  /** The write needs a level that not every manager has. Nothing was written. */
  | {
      readonly code: "STORE_LEVEL_HELD_BACK";
      readonly needed: number;
      readonly active: number;
      /** Ids of the managers that can't write that level. */
      readonly managers: readonly string[];
    }
  /** Bytes of the log or of a snapshot differ from what was written. */
  | { readonly code: "STORE_DAMAGED"; readonly what: "command" | "snapshot"; readonly why: string };

export class StoreError extends WarrenError<StoreFailure> {}

export function notLeader(leader: string | undefined, cause?: unknown): StoreError {
  return new StoreError(
    { code: "STORE_NOT_LEADER", leader },
    leader === undefined
      ? "this manager does not lead, and no leader is known; retry in a second, or check that a majority of managers is up"
      : `this manager does not lead in the term of this write; manager ${leader} leads: retry there`,
    { cause },
  );
}

export function damaged(why: string, cause?: unknown, what: "command" | "snapshot" = "command"): StoreError {
  return new StoreError(
    { code: "STORE_DAMAGED", what, why },
    `the ${what} is damaged: ${why}; restore this manager from another or from a backup`,
    { cause },
  );
}

export function unavailable(reason: string, cause?: unknown): StoreError {
  return new StoreError({ code: "STORE_UNAVAILABLE", reason }, `nothing was done (${reason}); retry in a second`, {
    cause,
  });
}
