/**
 * Formats have levels: one integer names what may be written to disk, sent to members and put into the log.
 *
 * A program reads every level from its `minLevel` to its `level`, and keeps the fields that it does not know where it
 * stores or passes them on. It writes at the active level, which the user of the library sets and which every member can
 * read. What is laid out at a level says so in its first field.
 */
import type { Message } from "./core/index.ts";
import { RaftError } from "./errors.ts";

export interface Levels {
  /** The lowest level that is read. */
  readonly minLevel: number;
  /** The highest one. */
  readonly level: number;
}

/** What a program reads and writes. */
export interface Formats extends Levels {
  /** A batch of messages as a frame of `level`, which is within the range. */
  encodeMessages(messages: readonly Message[], level: number): Buffer;
  /** @throws RaftError `RAFT_WIRE_INVALID`, `RAFT_LEVEL_UNREADABLE` */
  decodeMessages(frame: Uint8Array): Message[];
}

/** This program's levels. */
export const levels: Levels = { minLevel: 1, level: 1 };

/** @throws RaftError `RAFT_LEVEL_UNREADABLE` if `found` is not within the range */
export function checkLevel(found: unknown, what: string, { minLevel, level }: Levels = levels): void {
  if (typeof found === "number" && found >= minLevel && found <= level) return;
  const range = minLevel === level ? `level ${level} alone` : `levels ${minLevel} to ${level}`;
  const remedy =
    typeof found === "number" && found < minLevel
      ? "start an older one, and upgrade step by step"
      : "start the one that wrote it, or a newer one";
  throw new RaftError(
    { code: "RAFT_LEVEL_UNREADABLE", found: Number(found), minLevel, level },
    `${what} is of level ${String(found)}, and this program reads ${range}; ${remedy}`,
  );
}

/** Why a member that reads `theirs` can't take part where `active` is written by a program that reads `ours`; or nothing. */
export function unfit(
  peer: number,
  theirs: Levels & { readonly activeLevel: number },
  active: number,
  ours: Levels,
): string | undefined {
  if (!(theirs.level >= active)) {
    return `member ${peer} reads no level above ${theirs.level}, and level ${active} is in use here; upgrade member ${peer}`;
  }
  if (!(theirs.activeLevel <= ours.level)) {
    return `member ${peer} uses level ${theirs.activeLevel}, and this program reads none above ${ours.level}; upgrade this member`;
  }
  if (!(theirs.activeLevel >= ours.minLevel)) {
    return `member ${peer} uses level ${theirs.activeLevel}, and this program reads none below ${ours.minLevel}; upgrade member ${peer}`;
  }
  return undefined;
}
