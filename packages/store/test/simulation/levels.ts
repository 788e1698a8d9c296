/** A history of managers of two programs: restarted as either, any of them leading. */
import { Cluster, Manager as ManagerRow, Network } from "@warren/api";

import { raiseLevel, StoreError, StoreStateMachine, type Transaction, type View } from "../../src/index.ts";
import type { Schema } from "../../src/schema.ts";
import { tableNames } from "../../src/tables.ts";
import { grownLevel1, level1, level2, ownerOf, volumes, withOwner } from "./level-2.ts";
import { Managers, type Manager } from "./managers.ts";

export interface LevelsReport {
  readonly violation: string | undefined;
  /** Acknowledged writes of what only the later program knows. */
  readonly later: number;
  /** Changes by the earlier program to objects with fields of the later one. */
  readonly passed: number;
  /** Writes that were refused because a manager held the level back. */
  readonly heldBack: number;
  /** Starts of an earlier program that were refused because the level had risen. */
  readonly refused: number;
}

const network = (name: string): Network => Network.create({ meta: { id: name }, spec: { name } });

/**
 * @param gated the later program is of level 2, which it writes once the active level has risen; else it is a later one
 *   of level 1, which writes at once what the earlier one does not know
 */
export async function runLevels(seed: number, gated: boolean, steps = 200): Promise<LevelsReport> {
  const later = gated ? level2 : grownLevel1;
  const programs = new Map<Manager, Schema>();
  let onlyLater = false;
  const managers = new Managers(seed, 3, (manager) => {
    const program = onlyLater || managers.random.int(2) === 0 ? later : level1;
    programs.set(manager, program);
    return { machine: () => new StoreStateMachine({ schema: program, name: `m${manager.id}` }) };
  });
  const { random, all } = managers;
  const written = new Map<string, string>();
  const count = { later: 0, passed: 0, heldBack: 0, refused: 0 };
  let violation: string | undefined;
  let calls = 0;
  const open = new Set<Promise<void>>();

  /** As membership does: writes each manager's levels, and raises the active one where every manager can. */
  const register = (tx: Transaction): void => {
    if (tx.cluster === undefined) tx.create("clusters", Cluster.create({ meta: { id: "c" }, level: 1 }));
    for (const manager of managers.running) {
      const { level, minLevel } = programs.get(manager) as Schema;
      const id = `m${manager.id}`;
      const row = tx.get("managers", id);
      if (row === undefined) tx.create("managers", ManagerRow.create({ meta: { id }, level, minLevel }));
      else if (row.level !== level) tx.update("managers", { ...row, level, minLevel });
    }
    if (tx.list("managers").length === all.length) raiseLevel(tx);
  };
  /** The later program creates and changes what only it knows; the earlier one changes the fields that it knows. */
  const write = (tx: Transaction, program: Schema, name: string): string => {
    const networks = tx.list("networks");
    const some = networks[random.int(networks.length)];
    if (program !== later) {
      if (some === undefined) return "";
      const spec = some.spec as NonNullable<Network["spec"]>;
      tx.update("networks", { ...some, spec: { ...spec, labels: { ...spec.labels, [name]: "earlier" } } });
      return "passed";
    }
    tx.create("networks", withOwner(network(name), `${name}'s owner`));
    tx.create(volumes, withOwner(network(name), `${name}'s volume`));
    return "later";
  };
  const call = (): void => {
    const manager = managers.pick();
    if (manager === undefined) return;
    const name = `c${++calls}`;
    const { store } = manager.run;
    const program = programs.get(manager) as Schema;
    const run =
      random.int(3) === 0
        ? store.update(register).then(() => "registered")
        : store.update((tx) => write(tx, program, name));
    const done = run.then(
      (what) => {
        if (what === "passed") count.passed += 1;
        if (what !== "later") return;
        count.later += 1;
        written.set(name, "");
      },
      (error: unknown) => {
        if (!StoreError.is(error)) throw error;
        if (error.code !== "STORE_LEVEL_HELD_BACK") return;
        count.heldBack += 1;
        if (!gated) violation ??= "level 1 was held back";
      },
    );
    open.add(done);
    void done.finally(() => open.delete(done));
  };

  await managers.startAll();
  await managers.settle("a first term", () => managers.agree());
  for (let step = 0; step < steps && violation === undefined; step++) {
    await managers.step(call);
    for (const manager of all) {
      if (manager.refusal === undefined) continue;
      violation ??= judgeRefusal(manager, programs.get(manager) === level1);
      count.refused += 1;
      manager.refusal = undefined;
    }
  }
  onlyLater = true;
  for (const manager of all) await managers.stop(manager);
  await managers.startAll();
  if (violation === undefined) {
    await managers.settle("answers, and one state everywhere", () => open.size === 0 && managers.agree());
    violation = judge(
      managers.running.map(({ run }) => run.store.view()),
      [...written.keys()],
    );
  }
  for (const manager of all) await managers.stop(manager);
  return { violation, ...count };
}

/** Checks that only the earlier program is refused, and by name. */
function judgeRefusal({ id, refusal }: Manager, earlier: boolean): string | undefined {
  let error: unknown = refusal;
  while (error instanceof Error && !StoreError.is(error, "STORE_LEVEL_REFUSED")) error = error.cause;
  if (!(error instanceof StoreError)) return `manager ${id} ended: ${String(refusal)}`;
  return earlier && error.message.startsWith(`m${id} reads levels 1 to 1`) ? undefined : error.message;
}

/** Checks that all that only the later program knows is kept, on every manager. */
function judge(views: readonly View[], names: readonly string[]): string | undefined {
  for (const [at, view] of views.entries())
    for (const name of names) {
      const owner = ownerOf(view.get("networks", name));
      const volume = ownerOf(view.get(volumes, name) as Network | undefined);
      if (owner !== `${name}'s owner` || volume !== `${name}'s volume`)
        return `manager ${at + 1} has "${owner}" and "${volume}" of ${name}`;
    }
  const images = views.map((view) =>
    JSON.stringify([view.version, view.reigns, ...[...tableNames, volumes].map((table) => view.list(table))]),
  );
  return new Set(images).size === 1 ? undefined : "managers of one version differ";
}
