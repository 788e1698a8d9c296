/** Random histories: every machine, and every way to a state, must give equal states. */
import { LeaseState, Network, Node, ObjectKind, Service, Slot, StoreCommand, Task, type TaskState } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";

import {
  StoreStateMachine,
  type LogCommand,
  type Store,
  type StoreChange,
  type TableName,
  type Tables,
  type Transaction,
  type View,
} from "../src/index.ts";
import { encodeCommand } from "../src/command.ts";
import { schema } from "../src/schema.ts";
import { definitions, tableNames } from "../src/tables.ts";
import { memoryStore } from "../src/testing/index.ts";

/** Takes seconds on an idle machine, and many more on a busy one. */
const timeoutMs = 60_000;

type Table = "tasks" | "slots" | "networks" | "services" | "nodes";

interface Op {
  readonly kind: "create" | "update" | "delete" | "emit";
  readonly table: Table;
  readonly id: string;
  readonly name: string;
  readonly number: number;
}

const op: fc.Arbitrary<Op> = fc.record({
  kind: fc.constantFrom("create", "create", "update", "update", "delete", "emit"),
  table: fc.constantFrom<Table>("tasks", "slots", "networks", "services", "nodes"),
  id: fc.constantFrom("a", "b", "c", "d", "e", "f"),
  name: fc.constantFrom("x", "y", "z", ""),
  number: fc.nat(4),
});
/** Transactions in turns; those of one turn are called at once. */
const history = fc.array(fc.array(fc.array(op, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }), {
  maxLength: 12,
  size: "max",
});

function objectOf({ table, id, name, number }: Op): Tables[Table] {
  const meta = { id };
  switch (table) {
    case "tasks":
      return Task.create({
        meta,
        serviceId: name,
        slotId: `${name}.${number}`,
        slot: numberedSlot(number + 1),
        nodeId: name,
        status: { state: (number * 10) as TaskState, at: new Date(number * 1_000), container: { exitCode: number } },
      });
    case "slots":
      return Slot.create({
        meta,
        serviceId: name,
        leases: [name, "n"].map((nodeId, index) => ({ epoch: { reign: 1, index }, nodeId, state: LeaseState.HELD })),
      });
    case "networks":
      return Network.create({ meta, spec: { name, labels: { [name]: String(number) } } });
    case "services":
      return Service.create({
        meta,
        spec: { name, update: { maxFailureRatio: number / 3 }, task: { networks: [{ network: name }] } },
      });
    case "nodes":
      return Node.create({ meta, description: { hostname: name, memoryBytes: number * 2 ** 40 } });
  }
}

function run(tx: Transaction, ops: readonly Op[]): void {
  for (const each of ops) {
    const { kind, table, id, name } = each;
    const there = tx.get(table, id);
    if (kind === "emit")
      tx.emit({ kind: ObjectKind.TASK, objectId: id, objectName: name, action: kind, message: name });
    else if (kind === "create") tx.create(table, objectOf(each));
    else if (there === undefined) continue;
    else if (kind === "delete") tx.delete(table, id);
    else tx.update(table, { ...objectOf(each), meta: there.meta });
  }
}

/** Runs a history; refused transactions are part of it. */
async function play(store: Store, turns: readonly (readonly (readonly Op[])[])[]): Promise<void> {
  for (const turn of turns) await Promise.allSettled(turn.map((ops) => store.update((tx) => run(tx, ops))));
}

/** A log's commands as if another leader had computed them after `version`, from index `from` on. */
function following(version: number, from: number, log: readonly LogCommand[]): LogCommand[] {
  return log.map(({ index, term, data }, at) => {
    const command = StoreCommand.decode(data);
    // Every command of these logs is applied, so that the next is based on it.
    const base = at === 0 ? version : from + index - 1;
    return { index: from + index, term, data: StoreCommand.encode({ ...command, base }).finish() };
  });
}

function image(view: View): unknown {
  return [view.version, view.reigns, ...tableNames.map((table) => view.list(table))];
}

function expectIndexesToHold(view: View): void {
  for (const table of tableNames) {
    for (const [index, keysOf] of definitions[table].indexes) {
      const all: readonly Tables[TableName][] = view.list(table);
      for (const value of new Set(all.flatMap((object) => keysOf(object)))) {
        const found = (view.find as (t: TableName, i: string, v: string) => readonly unknown[])(table, index, value);
        expect(found).toEqual(all.filter((object) => keysOf(object).includes(value)));
      }
    }
  }
}

test(
  "two machines that apply one log, in any batches, have equal states and correct indexes",
  async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat(5), async (turns, batch) => {
        const { store, machine, proposer } = memoryStore();
        await play(store, turns);
        const replayed = new StoreStateMachine();
        for (let from = 0; from < proposer.applied.length; from += batch + 1)
          replayed.apply(proposer.applied.slice(from, from + batch + 1));
        expect(image(replayed.view())).toEqual(image(machine.view()));
        expectIndexesToHold(machine.view());
      }),
      { numRuns: 150 },
    );
  },
  timeoutMs,
);

test(
  "a snapshot at any point and the log after it lead to the same state as the whole log",
  async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.double({ min: 0, max: 1, noNaN: true }), async (turns, share) => {
        const { store, machine, proposer } = memoryStore();
        await play(store, turns);
        const cut = Math.floor(share * proposer.applied.length);
        const first = new StoreStateMachine();
        first.apply(proposer.applied.slice(0, cut));
        const second = new StoreStateMachine();
        await second.restore(first.snapshot());
        expect(image(second.view())).toEqual(image(first.view()));
        second.apply(proposer.applied.slice(cut));
        expect(image(second.view())).toEqual(image(machine.view()));
        expectIndexesToHold(second.view());
      }),
      { numRuns: 150 },
    );
  },
  timeoutMs,
);

test(
  "a watcher's snapshot with its changes equals the view, also across a restored snapshot",
  async () => {
    await fc.assert(
      fc.asyncProperty(history, history, history, async (before, during, beyond) => {
        const { store, machine, proposer } = memoryStore();
        await play(store, before);
        const stop = new AbortController();
        const { view, changes } = store.watch({ signal: stop.signal });
        await play(store, during);
        const ahead = new StoreStateMachine();
        await ahead.restore(machine.snapshot());
        const elsewhere = memoryStore();
        await play(elsewhere.store, beyond);
        const from = (proposer.applied.at(-1)?.index ?? 0) + 1;
        ahead.apply(following(ahead.view().version, from, elsewhere.proposer.applied));
        await machine.restore(ahead.snapshot());
        // The last write, which the watcher waits for.
        const head = {
          schema,
          level: 1,
          at: new Date(),
          term: 9,
          reign: machine.state.reign,
          base: machine.view().version,
        };
        const last = { kind: "create", table: "networks", object: Network.create({ meta: { id: "last" } }) } as const;
        const index = machine.view().version + 1;
        machine.apply([{ index, term: 9, data: encodeCommand(head, [{ ...last, expectedVersion: 0 }]) }]);
        const folded = new Map(
          tableNames.map((table) => [
            table,
            new Map(view.list(table).map((object) => [object.meta?.id, object as unknown])),
          ]),
        );
        let { version } = view;
        const fold = ({ table, kind, object, before: old }: StoreChange): void => {
          const rows = folded.get(table)!;
          expect(rows.get(object.meta?.id)).toEqual(old);
          if (kind === "delete") rows.delete(object.meta?.id);
          else rows.set(object.meta?.id, object);
        };
        for await (const batch of changes) {
          expect(batch.version).toBeGreaterThan(version);
          version = batch.version;
          batch.changes.forEach(fold);
          if (version === index) break;
        }
        stop.abort();
        for (const table of tableNames)
          expect(new Map(folded.get(table))).toEqual(
            new Map(
              machine
                .view()
                .list(table)
                .map((object) => [object.meta?.id, object]),
            ),
          );
      }),
      { numRuns: 100 },
    );
  },
  timeoutMs,
);

test(
  "a view never changes, whatever is written later",
  async () => {
    await fc.assert(
      fc.asyncProperty(history, history, async (before, after) => {
        const { store } = memoryStore();
        await play(store, before);
        const view = store.view();
        const taken = structuredClone(image(view));
        await play(store, after);
        expect(image(view)).toEqual(taken);
        expectIndexesToHold(view);
      }),
      { numRuns: 100 },
    );
  },
  timeoutMs,
);
