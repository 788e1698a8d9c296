/** The cluster's active level of formats: what may be written now, which managers hold it back, and when it rises. */
import type { Manager } from "@warren/api";

import { StoreError } from "./errors.ts";
import type { Transaction } from "./transaction.ts";
import { idOf } from "./tables.ts";
import type { View } from "./view.ts";

/** The active levels that a program can work with. */
export interface LevelRange {
  readonly level: number;
  readonly minLevel: number;
}

/**
 * The level that the active one may rise to: the highest that every manager both writes and reads. Undefined if it is not
 * above the active one, and before there is a cluster.
 */
export function nextLevel(view: Pick<View, "cluster" | "list">): number | undefined {
  const { cluster } = view;
  const managers = view.list("managers");
  if (cluster === undefined || managers.length === 0) return undefined;
  const level = Math.min(...managers.map((manager) => manager.level));
  const readable = managers.every(({ minLevel }) => minLevel <= level);
  return level > cluster.level && readable ? level : undefined;
}

/** Raises the active level if every manager can; returns the new level, or undefined. To be called wherever `managers` is written. */
export function raiseLevel(tx: Transaction): number | undefined {
  const level = nextLevel(tx);
  const { cluster } = tx;
  if (level === undefined || cluster === undefined) return undefined;
  tx.update("clusters", { ...cluster, level });
  return level;
}

/** Managers that can't write `level`. */
function holdingBack(view: Pick<View, "list">, level: number): readonly Manager[] {
  return view.list("managers").filter((manager) => manager.level < level);
}

/** A manager's name, and the schema of its program. */
export interface Program {
  readonly name: string;
  readonly schema: LevelRange;
}

/** @throws StoreError `STORE_LEVEL_REFUSED` if a manager can't take part where `active` is written */
export function checkProgramLevel({ name: manager, schema: { level, minLevel } }: Program, active: number): void {
  if (active >= minLevel && active <= level) return;
  throw new StoreError(
    { code: "STORE_LEVEL_REFUSED", manager, active, level, minLevel },
    `${manager} reads levels ${minLevel} to ${level} and the cluster's level is ${active}; ` +
      `install ${active > level ? "the version of Warren that the other managers run" : "an earlier version of Warren"} on it`,
  );
}

/** The error of a write that needs a level that not every manager has. */
export function heldBack(view: Pick<View, "list" | "get">, needed: number, active: number): StoreError {
  const managers = holdingBack(view, needed).map((manager) => {
    const id = idOf(manager);
    return { id, name: view.get("nodes", id)?.description?.hostname || id, level: manager.level };
  });
  const named = managers.map(({ name, level }) => `${name} (level ${level})`).join(", ");
  return new StoreError(
    { code: "STORE_LEVEL_HELD_BACK", needed, active, managers: managers.map(({ id }) => id) },
    `this needs level ${needed} and the cluster's level is ${active}; ` +
      (named === ""
        ? "every manager has it, so the cluster's level rises soon: retry in a second"
        : `held back by ${named}: upgrade it`),
  );
}
