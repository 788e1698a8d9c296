/** What is found in a member's directory, one thing at a time, in the order in which it is printed. */
import type { ConfChangeSingle, EntryType, SnapshotMetadata } from "../core/index.ts";
import type { ExportedHead } from "../node/index.ts";
import type { Identity } from "../storage/index.ts";
import type { Member } from "../transport/index.ts";

/** Of an entry, what is not its users' data. */
export type EntryContent =
  /** What a new leader begins its term with. */
  | { readonly kind: "empty" }
  | { readonly kind: "command"; readonly proposer: number; readonly data: Uint8Array }
  | { readonly kind: "open session"; readonly proposer: number; readonly ttlMs: number }
  | {
      readonly kind: "command in session";
      readonly proposer: number;
      readonly session: number;
      readonly number: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: "clock"; readonly elapsedMs: number }
  | { readonly kind: "membership"; readonly changes: readonly ConfChangeSingle[]; readonly members: readonly Member[] }
  /** It changes nothing, on any member. */
  | { readonly kind: "unreadable"; readonly why: string; readonly data: Uint8Array };

export type Finding =
  | ({ readonly kind: "identity"; readonly level: number } & Identity)
  | {
      readonly kind: "state";
      readonly term: number;
      /** 0: none. */
      readonly vote: number;
      readonly commit: number;
      readonly compacted: { readonly index: number; readonly term: number };
      readonly last: number;
    }
  /** The marker file: the log was durable up to `last` when it was written. */
  | { readonly kind: "marker"; readonly last: number }
  | {
      readonly kind: "journal";
      /** Numbers of the first and the last record that can be read; `undefined` if there is none. */
      readonly records: { readonly first: number; readonly last: number; readonly count: number } | undefined;
      /** Records of them that LevelDB does not hold. */
      readonly ahead: number;
    }
  | { readonly kind: "peer"; readonly id: number; readonly incarnation: string }
  | ({
      readonly kind: "snapshot";
      readonly bytes: number;
      readonly members: readonly Member[];
      readonly sessions: number;
    } & SnapshotMetadata)
  | {
      readonly kind: "entry";
      readonly index: number;
      readonly term: number;
      readonly type: EntryType;
      /** This member knows it to be committed. */
      readonly committed: boolean;
      readonly content: EntryContent;
    }
  /** A file that a member removes when it starts next. */
  | { readonly kind: "leftover"; readonly file: string }
  /** An exported snapshot's head. */
  | ({ readonly kind: "export" } & ExportedHead)
  | { readonly kind: "damage"; readonly what: string };
